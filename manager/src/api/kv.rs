//! Keys and values over REST.

mod body;
mod change;

use std::sync::Arc;

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderName, StatusCode, header};
use jiff::Timestamp;
use picloud_host::ports::{KeyRange, KvEntry, KvValue, KvWrite, Page};
use picloud_host::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{Deployer, Reader};
use crate::api::path::{AppPath, KeyPath};
use crate::api::precondition::{answer, etag};
use crate::api::query::{List, PageQuery, Query};
use crate::api::timestamp::{LATEST_MS, timestamp};
use crate::store::Precondition;
use body::Value;
use change::{Decision, transact};

/// When the value expires: RFC 3339.
const EXPIRES_AT: HeaderName = HeaderName::from_static("picloud-expires-at");

/// Keys and values on one page of a list, in bytes; the entry that goes over is the last.
const PAGE_BYTES: usize = 4 << 20;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_keys)).routes(routes!(get_key, put_key, delete_key))
}

/// A key with its value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entry {
    /// The key.
    #[schema(value_type = String)]
    key: Arc<str>,
    /// What the value is.
    kind: Kind,
    /// The value of kind `json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    value: Option<Box<RawValue>>,
    /// The value of kind `blob`, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    /// The number of the commit that wrote it: the `ETag` without its quotes.
    version: u64,
    /// When it expires; null when it does not.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    expires_at: Option<Timestamp>,
}

/// What a value is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Any JSON value.
    Json,
    /// Bytes.
    Blob,
}

impl Entry {
    fn new(key: Arc<str>, entry: KvEntry) -> Result<Self, Problem> {
        let (kind, value, value_base64) = match entry.value {
            KvValue::Json(text) => (Kind::Json, Some(raw(&key, &text)?), None),
            KvValue::Blob(bytes) => (Kind::Blob, None, Some(STANDARD.encode(bytes))),
        };
        let expires_at = entry.expires_ms.map(timestamp);
        Ok(Self { key, kind, value, value_base64, version: entry.version, expires_at })
    }
}

/// Stored text as it is. Everything that writes to storage has made sure that it is JSON.
fn raw(key: &str, text: &str) -> Result<Box<RawValue>, Problem> {
    RawValue::from_string(text.to_owned()).map_err(|error| {
        tracing::error!(%error, key, "a stored value is not JSON");
        Problem::new(Code::Internal)
    })
}

/// Which keys to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct KeysQuery {
    /// What the keys start with. Without it every key is listed.
    #[serde(default)]
    #[param(required = false)]
    prefix: String,
    /// How many entries at most. 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before; the first page without it.
    cursor: Option<String>,
}

/// How to write a value.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct PutQuery {
    /// Milliseconds after which the key is gone. Without it the key stays until it is deleted, even if it had a time to
    /// live before.
    #[param(minimum = 1)]
    ttl_ms: Option<u64>,
}

/// List keys with their values, in byte order of the keys.
///
/// A page can have fewer entries than `limit`, even none, and not be the last: keys that have expired are left out, and
/// large values make it end early. Go by `next_cursor`. A page shows one moment; a later page shows a later one.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/kv", tag = "kv", security(("token" = ["app:{app}:read"])), params(AppPath, KeysQuery),
    responses(
        (status = 200, description = "A page of the list.", body = List<Entry>),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 503, description = "`kv-conflict`, `storage-unavailable`"),
    ),
)]
async fn list_keys(
    _: Reader,
    state: State,
    path: AppPath,
    Query(query): Query<KeysQuery>,
) -> Result<Json<List<Entry>>, Problem> {
    let page = PageQuery { limit: query.limit, cursor: query.cursor };
    let prefix: Arc<str> = query.prefix.into();
    let (limit, after) = (page.limit()?, page.cursor(|cursor| key_of(cursor, &prefix))?);
    let app = state.app_id(&path.app).await?;
    let range = KeyRange { prefix, after, until: None };
    let entries = usize::try_from(limit).unwrap_or(usize::MAX);
    let page = change::list(&state, app, range, Page { entries, bytes: PAGE_BYTES }).await?;

    let last = page.entries.last().filter(|_| page.more);
    let next_cursor = last.map(|(key, _)| URL_SAFE_NO_PAD.encode(&**key));
    let now = state.clock.now_ms();
    let live = page.entries.into_iter().filter(|(_, entry)| !entry.expired(now));
    let items = live.map(|(key, entry)| Entry::new(key, entry)).collect::<Result<_, _>>()?;
    Ok(Json(List { items, next_cursor }))
}

/// The key in a cursor of a list of keys with this prefix.
fn key_of(cursor: &str, prefix: &str) -> Option<Arc<str>> {
    let key = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    key.starts_with(prefix).then(|| key.into())
}

/// Get the value of a key, as it is.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/kv/{key}", tag = "kv", security(("token" = ["app:{app}:read"])),
    params(
        KeyPath,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has."),
    ),
    responses(
        (status = 200, description = "The value.",
         content((serde_json::Value = "application/json"), (Vec<u8> = "application/octet-stream")),
         headers(
             ("ETag" = String, description = "The number of the commit that wrote it, in quotes."),
             ("PiCloud-Expires-At" = String, description = "When it expires, if it does: RFC 3339."),
         )),
        (status = 304, description = "The value is the one that the client has."),
        (status = 400, description = "`kv-key-invalid`"),
        (status = 404, description = "`app-not-found`, `key-not-found`"),
        (status = 503, description = "`storage-unavailable`"),
    ),
)]
async fn get_key(
    _: Reader,
    state: State,
    path: KeyPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let entry = transact(&state, app, &path.key, |entry, _| {
        Decision::only(entry.cloned().ok_or_else(|| Problem::new(Code::KeyNotFound)))
    });
    let (entry, _) = entry.await?;
    let expires_at = entry.expires_ms.map(|at| [(EXPIRES_AT, timestamp(at).to_string())]);
    let (media_type, value) = match entry.value {
        KvValue::Json(text) => ("application/json", text.as_bytes().to_vec().into()),
        KvValue::Blob(bytes) => ("application/octet-stream", bytes),
    };
    let value = ([(header::CONTENT_TYPE, media_type)], expires_at, value);
    answer(&precondition, &entry.version.to_string(), value)
}

/// Set the value of a key.
///
/// With the media type `application/json`, or one that ends in `+json`, the body must be JSON and is stored without the
/// white space around its tokens; numbers stay as they are written. With `application/octet-stream` any bytes will do.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/kv/{key}", tag = "kv", security(("token" = ["app:{app}:deploy"])),
    params(
        KeyPath,
        PutQuery,
        ("If-Match" = Option<String>, Header, description = "Replace only what has one of these `ETag`s."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
    ),
    request_body(
        description = "The value.",
        content((serde_json::Value = "application/json"), (Vec<u8> = "application/octet-stream")),
    ),
    responses(
        (status = 201, description = "The key is new.", headers(("ETag" = String))),
        (status = 204, description = "The key has the value.", headers(("ETag" = String))),
        (status = 400, description = "`kv-key-invalid`, `query-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`kv-value-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`kv-value-invalid`"),
        (status = 503, description = "`kv-conflict`, `storage-unavailable`"),
        (status = 507, description = "`kv-quota-exceeded`, `events-quota-exceeded`"),
    ),
)]
async fn put_key(
    _: Deployer,
    state: State,
    path: KeyPath,
    Query(query): Query<PutQuery>,
    precondition: Precondition,
    Value(value): Value,
) -> Result<Response, Problem> {
    if query.ttl_ms == Some(0) {
        return Err(Problem::new(Code::QueryInvalid).detail("ttl_ms is 0, but must be at least 1"));
    }
    let app = state.app_id(&path.app).await?;
    let put = transact(&state, app, &path.key, |entry, now| {
        let holds = precondition.check(entry.map(|entry| entry.version.to_string()).as_deref());
        let expires_ms = query.ttl_ms.map(|ttl| now.saturating_add(ttl).min(LATEST_MS));
        match holds {
            Ok(()) => Decision::write(Some(KvWrite { value: value.clone(), expires_ms }), entry.is_none()),
            Err(refused) => Decision::only(Err(refused.into())),
        }
    });
    let (created, version) = put.await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
    Ok((status, [(header::ETAG, etag(&version.to_string()))]).into_response())
}

/// Delete a key.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/kv/{key}", tag = "kv", security(("token" = ["app:{app}:deploy"])),
    params(
        KeyPath,
        ("If-Match" = Option<String>, Header, description = "Delete only what has one of these `ETag`s."),
    ),
    responses(
        (status = 204, description = "The key is gone."),
        (status = 400, description = "`kv-key-invalid`"),
        (status = 404, description = "`app-not-found`, `key-not-found`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 503, description = "`kv-conflict`, `storage-unavailable`"),
        (status = 507, description = "`events-quota-exceeded`"),
    ),
)]
async fn delete_key(
    _: Deployer,
    state: State,
    path: KeyPath,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    let app = state.app_id(&path.app).await?;
    let delete = transact(&state, app, &path.key, |entry, _| {
        let Some(entry) = entry else { return Decision::only(Err(Problem::new(Code::KeyNotFound))) };
        match precondition.check(Some(&entry.version.to_string())) {
            Ok(()) => Decision::write(None, ()),
            Err(refused) => Decision::only(Err(refused.into())),
        }
    });
    delete.await?;
    Ok(StatusCode::NO_CONTENT)
}
