//! What the query of a request says, and the lists that are answered page by page. What cannot be understood is
//! `query-invalid`, with a sentence that says which parameter and why.

use axum::extract::FromRequestParts;
use http::request::Parts;
use jiff::Timestamp;
use picloud_host::problem::{Code, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::name::Name;

/// How many entries a page has when the client does not say.
const DEFAULT_LIMIT: u32 = 100;
/// The most entries that a page can have.
const MAX_LIMIT: u32 = 1000;

/// The parameters of the query. What cannot be understood is `query-invalid`; give `T` the attribute
/// `#[serde(deny_unknown_fields)]`, so that a misspelt parameter is, too.
#[derive(Debug)]
pub(crate) struct Query<T>(pub(crate) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = axum::extract::Query::try_from_uri(&parts.uri)
            .map_err(|rejection| Problem::new(Code::QueryInvalid).detail(rejection.body_text()))?;
        Ok(Self(query.0))
    }
}

/// Which page of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// How many entries at most. 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u32>,
    /// The `next_cursor` of the page before; the first page without it.
    pub(crate) cursor: Option<String>,
}

impl PageQuery {
    /// How many entries at most.
    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        limit(self.limit, DEFAULT_LIMIT, MAX_LIMIT)
    }

    /// Where the page before ended, in the words of the list.
    pub(crate) fn cursor<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        cursor(self.cursor.as_deref(), parse)
    }
}

/// How many entries at most.
pub(crate) fn limit(given: Option<u32>, default: u32, maximum: u32) -> Result<u32, Problem> {
    let limit = given.unwrap_or(default);
    if limit == 0 || limit > maximum {
        return Err(invalid(format!("limit is {limit}, but must be 1 to {maximum}")));
    }
    Ok(limit)
}

/// Where the page before ended, in the words of the list.
pub(crate) fn cursor<T>(
    given: Option<&str>,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(cursor) = given else { return Ok(None) };
    parse(cursor).map(Some).ok_or_else(|| invalid("cursor is not one that this list gave"))
}

/// A time in RFC 3339, as milliseconds since the Unix epoch; times before it count as it.
pub(crate) fn time(name: &str, text: &str) -> Result<u64, Problem> {
    // In a query a `+` stands for a blank, and in a time no blank comes before an offset.
    let time: Result<Timestamp, _> = text.replace(' ', "+").parse();
    let time = time.map_err(|_| invalid(format!("{name} must be a time such as 2026-01-31T12:00:00Z")))?;
    Ok(u64::try_from(time.as_millisecond()).unwrap_or(0))
}

/// The name of a script.
pub(crate) fn script(text: &str) -> Result<String, Problem> {
    Name::parse(text).map(|name| name.to_string()).map_err(|error| invalid(format!("script: {error}")))
}

/// One of a few words.
pub(crate) fn among<T: Copy>(name: &str, text: &str, words: &[(&str, T)]) -> Result<T, Problem> {
    words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        invalid(format!("{name} must be one of: {}", words.join(", ")))
    })
}

/// The problem of a parameter that is not understood.
pub(crate) fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::QueryInvalid).detail(detail)
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The entries, in the order of the list.
    pub(crate) items: Vec<T>,
    /// Give it as `cursor` to get the next page; null when this page is the last.
    #[schema(required)]
    pub(crate) next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A page of `limit` entries, made from the rows that were found when asking for one more: whether it is there tells
    /// whether there is a next page, which starts after the `position` of the last entry.
    pub(crate) fn new<R: Into<T>>(mut rows: Vec<R>, limit: u32, position: impl Fn(&R) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(position);
        Self { items: rows.into_iter().map(Into::into).collect(), next_cursor }
    }
}
