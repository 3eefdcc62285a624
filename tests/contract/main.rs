//! The contract: every row and every form of error that clients of the Django service know, walked from the outside.
//!
//! Each test bears the name of the row that it proves: `row_` with method and path for an endpoint, `form_` for a form
//! that answers have, `rule_` for what happens behind them. `tests/tidy.rs` fails when a row has none.
//!
//! Bodies are compared as texts, so that the order of their keys counts; numbers and times by their pattern.
#![expect(clippy::expect_used, clippy::panic, reason = "a story that cannot go on fails, loudly and where it stands")]

mod authentication;
mod bodies;
mod conversations;
mod files;
mod frame;
mod gone;
mod matching;
mod messages;
mod other_errors;
mod paging;
mod profile;
mod reported;
mod rules;
mod schema;
mod shape;
mod site;
#[path = "../support/mod.rs"]
#[expect(dead_code, unreachable_pub, reason = "each story uses its own part of the verbs")]
mod support;
mod tokens;
mod users;
mod validation;
mod wrong;

use std::collections::BTreeSet;

/// Every endpoint.
pub(crate) const ROWS: &[(&str, &str)] = &[
    ("POST", "/api/token/"),
    ("POST", "/api/token/refresh/"),
    ("POST", "/api/v1/auth/register/"),
    ("POST", "/api/v1/auth/logout/"),
    ("GET", "/api/v1/auth/profile/"),
    ("PUT", "/api/v1/auth/profile/"),
    ("PATCH", "/api/v1/auth/profile/"),
    ("GET", "/api/v1/auth/users/<id>/"),
    ("PUT", "/api/v1/auth/change-password/"),
    ("PATCH", "/api/v1/auth/change-password/"),
    ("POST", "/api/v1/auth/update-status/"),
    ("GET", "/api/v1/"),
    ("GET", "/api/v1/conversations/"),
    ("POST", "/api/v1/conversations/"),
    ("GET", "/api/v1/conversations/<id>/"),
    ("PUT", "/api/v1/conversations/<id>/"),
    ("PATCH", "/api/v1/conversations/<id>/"),
    ("DELETE", "/api/v1/conversations/<id>/"),
    ("DELETE", "/api/v1/conversations/<id>/leave/"),
    ("GET", "/api/v1/conversations/<id>/messages/"),
    ("POST", "/api/v1/conversations/<id>/messages/"),
    ("GET", "/api/v1/conversations/<id>/messages/<id>/"),
    ("PUT", "/api/v1/conversations/<id>/messages/<id>/"),
    ("PATCH", "/api/v1/conversations/<id>/messages/<id>/"),
    ("DELETE", "/api/v1/conversations/<id>/messages/<id>/"),
    ("POST", "/api/v1/conversations/<id>/messages/<id>/mark_read/"),
    ("GET", "/api/v1/matching/preferences/"),
    ("PUT", "/api/v1/matching/preferences/"),
    ("PATCH", "/api/v1/matching/preferences/"),
    ("GET", "/api/v1/matching/potential-matches/"),
    ("POST", "/api/v1/matching/like/"),
    ("POST", "/api/v1/matching/unlike/"),
    ("POST", "/api/v1/matching/block/"),
    ("POST", "/api/v1/matching/unblock/"),
    ("GET", "/api/v1/matches/"),
    ("GET", "/api/v1/matches/<id>/"),
    // Not of the contract, but about it.
    ("GET", "/api/schema/"),
];

/// The paths that answer without a token.
pub(crate) const OPEN: &[&str] = &["/api/token/", "/api/token/refresh/", "/api/v1/auth/register/", "/api/schema/"];

/// The methods of a path as its answers name them: in the order of Django REST framework, HEAD beside each GET.
pub(crate) fn allow(path: &str) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let path = path.strip_suffix(".json").unwrap_or(path).trim_matches('/');
    let same = |row: &str| {
        let (row, path): (Vec<&str>, Vec<&str>) =
            (row.trim_matches('/').split('/').collect(), path.split('/').collect());
        row.len() == path.len() && row.iter().zip(path).all(|(row, path)| row.starts_with('<') || *row == path)
    };
    let methods: BTreeSet<&str> = ROWS.iter().filter(|(_, row)| same(row)).map(|(method, _)| *method).collect();
    let order = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    let mut named: Vec<&str> = order.into_iter().filter(|method| methods.contains(method)).collect();
    named.extend(methods.contains("GET").then_some("HEAD"));
    named.push("OPTIONS");
    (!methods.is_empty()).then(|| named.join(", "))
}

#[test]
fn the_server_has_these_endpoints_and_no_others() {
    let routes: BTreeSet<_> = duet::http::django::ROUTES.iter().copied().collect();
    let rows: BTreeSet<_> = ROWS.iter().copied().collect();
    let lacking: Vec<_> = rows.difference(&routes).collect();
    let unknown: Vec<_> = routes.difference(&rows).collect();
    assert!(lacking.is_empty() && unknown.is_empty(), "lacking: {lacking:?}, not of the contract: {unknown:?}");
}
