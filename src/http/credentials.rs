//! The `Authorization` header.

use warp::http::HeaderMap;
use warp::http::header::AUTHORIZATION;

/// What a request shows to say who sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown<'a> {
    /// Nothing, or something of another scheme.
    Nothing,
    /// The scheme alone, or more than one word after it.
    Malformed,
    /// A token.
    Token(&'a str),
}

/// Reads `Authorization: Bearer <token>`; the name of the scheme may be written in any case.
pub(super) fn bearer(headers: &HeaderMap) -> Shown<'_> {
    let header = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut words = header.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(scheme), ..) if !scheme.eq_ignore_ascii_case("bearer") => Shown::Nothing,
        (Some(_), Some(token), None) => Shown::Token(token),
        (Some(_), ..) => Shown::Malformed,
        (None, ..) => Shown::Nothing,
    }
}
