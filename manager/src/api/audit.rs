//! The audit log: every request that may change how the server and its apps are set up, or that takes all of it away, is
//! written down before it is done, and how it ended after it.

use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock};

use axum::Json;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::Method;
use http::request::Parts;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use picloud_host::ingress::request_id;
use picloud_host::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tracing::Instrument as _;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{Admin, Needs};
use crate::api::caller::{Caller, client_ip};
use crate::api::query::{List, Query, cursor, invalid, limit, time};
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::scope::Permission;
use crate::store::audit::{self, Filter, NewEntry};

/// How many entries a page has when the client does not say, and at most.
const PAGE: (u32, u32) = (100, 1000);

/// A path is written down up to this length, in bytes: more than the longest name of anything.
const MAX_PATH: usize = 2048;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_audit))
}

/// Somebody who may has changed something, or taken a copy of everything, or has tried to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    /// Its number; later entries have larger ones.
    seq: u64,
    /// When the request came.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// What kind of principal has sent it: `token` or `user`; `dev` in dev mode; `server` for what it has done by itself.
    kind: String,
    /// The principal's name; null in dev mode, and where somebody tried to log in as nobody whom there is.
    #[schema(required)]
    name: Option<String>,
    /// The address that it came from.
    #[schema(required)]
    client_ip: Option<String>,
    /// The method.
    #[schema(example = "PUT")]
    method: String,
    /// The path, without the query.
    #[schema(example = "/api/v1/apps/shop/scripts/order")]
    path: String,
    /// The app in the path.
    #[schema(required)]
    app: Option<String>,
    /// What came as `X-Request-Id`.
    #[schema(required)]
    request_id: Option<String>,
    /// The status of the answer; null when the server ended before there was one: then it has happened or not.
    #[schema(required)]
    status: Option<u16>,
    /// The code of the problem, if the answer was one.
    #[schema(required)]
    code: Option<String>,
}

impl From<audit::Entry> for AuditEntry {
    fn from(entry: audit::Entry) -> Self {
        let NewEntry { kind, name, client_ip, method, path, app, request_id } = entry.request;
        let (seq, status, code) = (entry.seq, entry.status, entry.code);
        Self {
            seq,
            at: timestamp(entry.at_ms),
            kind,
            name,
            client_ip,
            method,
            path,
            app,
            request_id,
            status,
            code,
        }
    }
}

/// Which entries.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only about this app, also one that is gone.
    app: Option<String>,
    /// Only by the principal of this name.
    name: Option<String>,
    /// Only from then on, as a time such as 2026-01-31T12:00:00Z.
    from: Option<String>,
    /// Only before then.
    to: Option<String>,
    /// How many entries at most. 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next_cursor` of the page before; the first page without it.
    cursor: Option<String>,
}

/// Read the audit log, the newest entry first.
///
/// Every request that was allowed and may have changed something, but for those that set keys or send events, which are what
/// apps work with; those that take a backup or an archive; and every password that is tried at a login. Of each app the newest 10 000 are kept.
#[utoipa::path(
    get, path = "/api/v1/audit", tag = "audit", security(("token" = ["admin"])), params(AuditQuery),
    responses(
        (status = 200, description = "A page of the log.", body = List<AuditEntry>),
        (status = 400, description = "`query-invalid`"),
    ),
)]
async fn list_audit(
    _: Admin,
    state: State,
    Query(query): Query<AuditQuery>,
) -> Result<Json<List<AuditEntry>>, Problem> {
    let AuditQuery { app, name, from, to, limit: entries, cursor: after } = query;
    if let Some(app) = &app {
        Name::parse(app).map_err(|error| invalid(format!("app: {error}")))?;
    }
    let filter = Filter {
        app,
        name,
        since_ms: from.map(|from| time("from", &from)).transpose()?,
        until_ms: to.map(|to| time("to", &to)).transpose()?,
    };
    let entries = limit(entries, PAGE.0, PAGE.1)?;
    let before = cursor(after.as_deref(), |seq| seq.parse().ok())?;
    let log = state.store.audit_log(&filter, before, entries + 1).await?;
    Ok(Json(List::new(log, entries, |entry| entry.seq.to_string())))
}

/// The number of the entry of a request, once there is one.
#[derive(Debug, Clone, Default)]
struct Slot(Arc<OnceLock<u64>>);

/// How many entries are written at the same time. They share one connection with everything else that is stored, so those who
/// change much must not be all who stand there.
static TURNS: Semaphore = Semaphore::const_new(8);

/// Write down what a request that was allowed is about to do, if it may change something or takes everything away. Values of keys and events that are
/// sent are what apps work with, not how they are set up: they are not written down.
///
/// # Errors
///
/// It cannot be written: then nothing may be changed. Or it is about an app that is not there: nothing can be done to that, and
/// names that somebody has made up must not fill the log.
pub(super) async fn begin(
    parts: &Parts,
    state: &State,
    caller: &Caller,
    needs: Needs,
) -> Result<(), Problem> {
    let is_data = matches!(needs, Needs::App(Permission::Invoke)) || collection(parts) == Some("kv");
    match entry(parts, caller) {
        Some(entry) if !is_data && parts.extensions.get::<Slot>().is_some() => {
            if let (Needs::App(_), Some(app)) = (needs, &entry.app) {
                state.app_id(&Name::parse(app)?).await?;
            }
            write(parts, state, &entry).await
        }
        _ => Ok(()),
    }
}

/// Write down that somebody tries to log in as `user`; none if there is no such user: what was typed in its place may be a
/// password.
///
/// # Errors
///
/// It cannot be written: then nobody is let in.
pub(super) async fn begin_login(parts: &Parts, state: &State, user: Option<&Name>) -> Result<(), Problem> {
    write(parts, state, &entry_of(parts, "user", user.map(Name::to_string))).await
}

async fn write(parts: &Parts, state: &State, entry: &NewEntry) -> Result<(), Problem> {
    let Some(slot) = parts.extensions.get::<Slot>() else { return Ok(()) };
    let _turn = TURNS.acquire().await;
    let seq = state.store.audit(entry).await?;
    let _ = slot.0.set(seq);
    Ok(())
}

/// The middleware that writes down how it has ended.
pub(crate) async fn record(
    axum::extract::State(state): axum::extract::State<State>,
    mut request: Request,
    next: Next,
) -> Response {
    let method = request.method();
    let reads = matches!(*method, Method::GET | Method::HEAD);
    if *method == Method::OPTIONS || (reads && !takes_all(request.uri().path())) {
        return next.run(request).await;
    }
    let slot = Slot::default();
    request.extensions_mut().insert(slot.clone());
    // To its end even if the client has gone: what it asked for may have happened.
    let whole = async move {
        let response = next.run(request).await;
        if let Some(seq) = slot.0.get() {
            let code = response.extensions().get::<Problem>().map(|problem| problem.code().as_str());
            let _turn = TURNS.acquire().await;
            // The store logs why it fails, and the entry says then that nothing is known.
            let _ = state.store.audit_ended(*seq, response.status().as_u16(), code).await;
        }
        response
    };
    match tokio::spawn(whole.in_current_span()).await {
        Ok(response) => response,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(_) => Problem::new(Code::ShuttingDown).into_response(),
    }
}

/// Whether who reads this takes away everything that there is of the server or of an app: who did that must be known
/// afterwards. No other way to write these paths leads there.
fn takes_all(path: &str) -> bool {
    let of_app = path.strip_prefix("/api/v1/apps/").and_then(|rest| rest.split_once('/'));
    path == "/api/v1/backup" || of_app.is_some_and(|(_, rest)| rest == "archive")
}

/// What to write down of a request; none if it comes from nobody who is known.
fn entry(parts: &Parts, caller: &Caller) -> Option<NewEntry> {
    match caller {
        Caller::Dev => Some(entry_of(parts, "dev", None)),
        Caller::Known(known) => Some(entry_of(parts, &known.kind, Some(known.name.clone()))),
        Caller::Nobody | Caller::Unknown | Caller::Limited { .. } | Caller::Forged(_) => None,
    }
}

fn entry_of(parts: &Parts, kind: &str, name: Option<String>) -> NewEntry {
    let path = parts.uri.path();
    // Handlers decode it, too: nobody hides from the log of an app by another way to write its name.
    let app = path.strip_prefix("/api/v1/apps/").and_then(|rest| rest.split('/').next());
    let app = app.and_then(|app| percent_decode_str(app).decode_utf8().ok());
    NewEntry {
        kind: kind.to_owned(),
        name,
        client_ip: Some(client_ip(&parts.extensions).to_string()),
        method: parts.method.to_string(),
        path: path.get(..MAX_PATH).unwrap_or(path).to_owned(),
        app: app.filter(|app| Name::parse(app).is_ok()).map(std::borrow::Cow::into_owned),
        request_id: request_id(&parts.headers),
    }
}

/// What of an app the path is about, such as `kv`.
fn collection(parts: &Parts) -> Option<&str> {
    parts.uri.path().strip_prefix("/api/v1/apps/")?.split('/').nth(1)
}
