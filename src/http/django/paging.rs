//! Lists: whole, up to a limit; in pages for clients that ask for version 2 of the API, or where the operator's setting
//! says that all clients mean it. Clients of version 1 may send `?page` or `?limit`, which the older server ignored.

use schemars::JsonSchema;
use serde::Serialize;
use warp::http::StatusCode;
use warp::reply::Response;

use super::Call;
use super::answers::{Refusal, TOTAL_COUNT, json};
use crate::sentence;

/// Most items of a list that is not paged; of longer ones the newest are told.
const LIST_MAX: i64 = 1000;
/// Items of a page, where the client does not say.
const PAGE_SIZE: i64 = 100;

/// Which end of a list holds the newest items.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Newest {
    First,
    Last,
}

/// What of a list was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    All,
    Page { number: i64, size: i64 },
    Window { offset: i64, limit: i64 },
}

/// The part of a list to read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slice {
    wanted: Wanted,
    total: i64,
    pub(super) offset: i64,
    pub(super) limit: i64,
}

/// A list: bare, or in pages.
#[derive(Serialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum List<T> {
    /// The default.
    Whole(Vec<T>),
    /// Where pages were asked for.
    Paged(Envelope<T>),
}

/// A page of a list.
#[derive(Serialize, JsonSchema)]
pub(super) struct Envelope<T> {
    count: i64,
    next: Option<String>,
    previous: Option<String>,
    results: Vec<T>,
}

impl Slice {
    /// What a request asks of a list of so many items.
    pub(super) fn of(call: &Call, total: i64, newest: Newest) -> Result<Slice, Refusal> {
        let asked = |name: &str| call.asked(name).filter(|_| call.paged);
        let number = |name: &str| asked(name).and_then(|text| text.trim().parse::<i64>().ok());
        let sized = number("page_size").filter(|size| *size > 0).map(|size| size.min(LIST_MAX));
        let wanted = match (asked("page"), asked("limit")) {
            (Some(page), _) => {
                let size = sized.unwrap_or(PAGE_SIZE);
                Wanted::Page { number: page_number(page, size, total)?, size }
            }
            (None, _) if sized.is_some() => Wanted::Page { number: 1, size: sized.unwrap_or(PAGE_SIZE) },
            (None, Some(_)) => {
                let limit = number("limit").filter(|limit| *limit > 0).unwrap_or(PAGE_SIZE).min(LIST_MAX);
                Wanted::Window { offset: number("offset").unwrap_or(0).max(0), limit }
            }
            (None, None) => Wanted::All,
        };
        let (offset, limit) = match wanted {
            Wanted::All if newest == Newest::Last => ((total - LIST_MAX).max(0), LIST_MAX),
            Wanted::All => (0, LIST_MAX),
            Wanted::Page { number, size } => ((number - 1).saturating_mul(size), size),
            Wanted::Window { offset, limit } => (offset, limit),
        };
        Ok(Slice { wanted, total, offset, limit })
    }

    /// The part of a list that is in memory.
    pub(super) fn cut<T>(&self, items: Vec<T>) -> Vec<T> {
        let at = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
        items.into_iter().skip(at(self.offset)).take(at(self.limit)).collect()
    }

    /// The answer with these items.
    pub(super) fn answer<T: Serialize>(&self, call: &Call, results: Vec<T>) -> Response {
        let list = match self.wanted {
            Wanted::All => List::Whole(results),
            Wanted::Page { number, size } => {
                let next = number.saturating_mul(size) < self.total;
                let next = next.then(|| call.link(&[("page", Some(number + 1))]));
                // The link to the first page does not name it.
                let before = Some(number - 1).filter(|before| *before > 1);
                let previous = (number > 1).then(|| call.link(&[("page", before)]));
                List::Paged(Envelope { count: self.total, next, previous, results })
            }
            Wanted::Window { offset, limit } => {
                let link =
                    |offset: i64| call.link(&[("limit", Some(limit)), ("offset", Some(offset).filter(|at| *at > 0))]);
                let next = offset.saturating_add(limit);
                let next = (next < self.total).then(|| link(next));
                let previous = (offset > 0).then(|| link((offset - limit).max(0)));
                List::Paged(Envelope { count: self.total, next, previous, results })
            }
        };
        let mut response = json(StatusCode::OK, &list);
        response.headers_mut().insert(TOTAL_COUNT, self.total.into());
        response
    }
}

fn page_number(asked: &str, size: i64, total: i64) -> Result<i64, Refusal> {
    // The first page is there even if nothing is on it.
    let last = ((total + size - 1) / size).max(1);
    let number = if asked == "last" { Some(last) } else { asked.trim().parse().ok() };
    let no_page = || Refusal::Detail(StatusCode::NOT_FOUND, sentence!("invalid-page"));
    number.filter(|number| (1..=last).contains(number)).ok_or_else(no_page)
}

impl Call {
    /// An absolute URL of a path of this server.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.app.config.base_url())
    }

    /// The URL of this request with some numbers of its query set, or taken out.
    fn link(&self, set: &[(&str, Option<i64>)]) -> String {
        let kept = self.query.iter().filter(|(name, _)| !set.iter().any(|(other, _)| other == name));
        let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
        let new = set.iter().filter_map(|(name, value)| Some(((*name).to_owned(), value.as_ref()?.to_string())));
        let mut pairs: Vec<(String, String)> = kept.chain(new).collect();
        // DRF sorts nothing, but the same question should have the same links.
        pairs.sort();
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
        match query.is_empty() {
            true => self.url(&self.path),
            false => format!("{}?{query}", self.url(&self.path)),
        }
    }
}
