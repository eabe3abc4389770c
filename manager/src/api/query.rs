//! What the query of a request says, and the lists that are answered page by page.

use axum::extract::FromRequestParts;
use http::request::Parts;
use picloud_host::problem::{Code, Problem};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

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
    limit: Option<u32>,
    /// The `next_cursor` of the page before; the first page without it.
    cursor: Option<String>,
}

impl PageQuery {
    /// How many entries at most.
    pub(crate) fn limit(&self) -> Result<u32, Problem> {
        match self.limit.unwrap_or(DEFAULT_LIMIT) {
            limit @ 1..=MAX_LIMIT => Ok(limit),
            limit => {
                let detail = format!("limit is {limit}, but must be 1 to {MAX_LIMIT}");
                Err(Problem::new(Code::QueryInvalid).detail(detail))
            }
        }
    }

    /// Where the page before ended, in the words of the list.
    pub(crate) fn cursor<T>(&self, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        match parse(cursor) {
            Some(position) => Ok(Some(position)),
            None => Err(Problem::new(Code::QueryInvalid).detail("cursor is not one that this list gave")),
        }
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct List<T> {
    /// The entries, in the order of the list.
    items: Vec<T>,
    /// Give it as `cursor` to get the next page; null when this page is the last.
    #[schema(required)]
    next_cursor: Option<String>,
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
