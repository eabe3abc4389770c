//! Executions over REST: the records of calls, newest first, and each with its log; asynchronous calls before they have
//! ended, and their answers.

mod cancel;
mod follow;
mod kept;
mod keyed;

use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::Timestamp;
use picloud_host::call::{Fault, LogLevel, LogLine, Position};
use picloud_host::event::EventKind;
use picloud_host::ingress::AnswerRoom;
use picloud_host::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::api::State;
use crate::api::auth::{Access, ExecutionAccess, Reader};
use crate::api::path::{AppPath, ExecutionPath};
use crate::api::query::{List, Query, among, cursor, invalid, limit, script, time};
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::store::execution::{self, FaultFilter, Filter, Order, Page, StatusFilter};
use crate::telemetry::Pending;
use kept::AsyncCall;

pub use keyed::execution_location;
pub(crate) use keyed::only_with_key;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_executions)).merge(keyed_router())
}

/// What the key of an execution opens, too.
pub(crate) fn keyed_router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_execution, cancel_execution)).routes(routes!(get_answer))
}

/// The record of one call of one script version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Execution {
    /// UUIDv7.
    id: Uuid,
    /// UUIDv7 of the execution that started the chain of triggers; the same as `id` for a direct call.
    root_id: Uuid,
    /// The execution that made the event; null for a direct call and for an event from outside.
    #[schema(required)]
    parent_id: Option<Uuid>,
    /// 0 for a direct call, one more for each trigger on the way.
    trigger_depth: u32,
    app: String,
    script: String,
    /// The number of the script's version, from 1.
    version: u32,
    /// What made it run: `http`, `call` (another script), or the kind of the event: `kv`, `schedule`, `topic`, `queue`,
    /// `timer`, `webhook`, `mqtt`.
    trigger: String,
    /// When it was accepted.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// The status of the answer.
    status: u16,
    /// Whose fault it was that it failed, `script`, `limit` or `platform`; null when it did not fail.
    fault: Option<String>,
    /// The code of the error.
    code: Option<String>,
    /// What went wrong.
    message: Option<String>,
    /// Where in the script's source.
    position: Option<Place>,
    /// Fuel used.
    fuel: u64,
    /// The most memory the sandbox had, in bytes.
    memory_bytes: u64,
    /// Microseconds spent waiting for admission.
    queue_us: u64,
    /// Microseconds in the sandbox, all runs together.
    sandbox_us: u64,
    /// Microseconds spent committing the effects.
    commit_us: u64,
    /// How many times a conflict made the call run again.
    reruns: u32,
    /// Of the request; null for events.
    method: Option<String>,
    /// Of the request; null for events.
    path: Option<String>,
    request_id: Option<String>,
    /// Log lines that were over the limit and are lost.
    log_dropped: u32,
}

/// A place in a script's source.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = Position)]
pub(crate) struct Place {
    /// From 1.
    line: u32,
    /// In characters, from 1.
    column: u32,
}

impl From<Position> for Place {
    fn from(Position { line, column }: Position) -> Self {
        Self { line, column }
    }
}

/// A line that a script logged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LoggedLine {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// `debug`, `info`, `warn` or `error`.
    #[schema(value_type = String)]
    level: LogLevel,
    message: String,
}

impl From<LogLine> for LoggedLine {
    fn from(line: LogLine) -> Self {
        Self { at: timestamp(line.at_ms), level: line.level, message: line.message }
    }
}

/// An execution with what it logged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExecutionWithLog {
    #[serde(flatten)]
    execution: Execution,
    /// `done`: what has not ended has no record.
    #[schema(value_type = String)]
    state: &'static str,
    log: Vec<LoggedLine>,
}

impl Execution {
    /// As the API tells it.
    pub(crate) fn new(app: &Name, found: execution::Execution) -> Self {
        let execution::Execution { cost, .. } = found;
        Self {
            id: found.id,
            root_id: found.root_id,
            parent_id: found.parent_id,
            trigger_depth: found.trigger_depth,
            app: app.to_string(),
            script: found.script,
            version: found.version,
            trigger: found.trigger,
            started_at: timestamp(found.started_ms),
            status: found.status,
            fault: found.fault,
            code: found.code,
            message: found.message,
            position: found.position.map(Place::from),
            fuel: cost.fuel,
            memory_bytes: cost.memory_bytes,
            queue_us: cost.queue_us,
            sandbox_us: cost.sandbox_us,
            commit_us: cost.commit_us,
            reruns: cost.reruns,
            method: found.method,
            path: found.path,
            request_id: found.request_id,
            log_dropped: found.log_dropped,
        }
    }
}

/// Which executions to list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListParameters {
    /// Only those of this script.
    script: Option<String>,
    /// Only those with this status, such as `404`, or of this class, such as `4xx`.
    status: Option<String>,
    /// Only those with this fault: `script`, `limit`, `platform`, `any` (all that failed) or `none`.
    fault: Option<String>,
    /// Only those that failed with this code.
    code: Option<String>,
    /// Only those of this version of the script.
    version: Option<u32>,
    /// Only those that this made run: `http`, `call`, `kv`, `schedule`, `topic`, `queue`, `timer`, `webhook`, `mqtt`
    /// or `event`, which stands for all but the first two.
    trigger: Option<String>,
    /// Only this execution and those that its triggers led to.
    root: Option<Uuid>,
    /// Only those that started at this time (RFC 3339) or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Only those that started before this time (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
    /// How many at most: 1 to 200, 50 when it is not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// `desc` (the default) for the newest first, `asc` for the oldest. An execution is recorded when it has ended but
    /// listed by when it started; to follow what happens, use the log, which misses nothing.
    order: Option<String>,
}

impl ListParameters {
    fn filter(&self) -> Result<Filter, Problem> {
        let filter = Filter {
            script: self.script.as_deref().map(script).transpose()?,
            status: self.status.as_deref().map(status).transpose()?,
            fault: self.fault.as_deref().map(fault).transpose()?,
            code: self.code.as_deref().map(code).transpose()?,
            version: self.version,
            trigger: self.trigger.as_deref().map(trigger).transpose()?,
            root: self.root,
            from_ms: self.from.as_deref().map(|text| time("from", text)).transpose()?,
            to_ms: self.to.as_deref().map(|text| time("to", text)).transpose()?,
        };
        if filter.from_ms.zip(filter.to_ms).is_some_and(|(from, to)| from >= to) {
            return Err(invalid("from must be before to"));
        }
        Ok(filter)
    }

    fn page(&self) -> Result<Page, Problem> {
        let order = self.order.as_deref().unwrap_or("desc");
        Ok(Page {
            after: cursor(self.cursor.as_deref(), read_cursor)?,
            limit: limit(self.limit, 50, 200)?,
            order: among("order", order, &[("desc", Order::Descending), ("asc", Order::Ascending)])?,
        })
    }
}

fn status(text: &str) -> Result<StatusFilter, Problem> {
    let wrong = || invalid("status must be a number from 100 to 599, or such as 4xx");
    let class = text.strip_suffix("xx").or_else(|| text.strip_suffix("XX"));
    let number = class.unwrap_or(text);
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    match (class, number.parse()) {
        (Some(_), Ok(number @ 1..=5)) => Ok(StatusFilter::Class(number)),
        (None, Ok(number @ 100..=599)) => Ok(StatusFilter::Exactly(number)),
        _ => Err(wrong()),
    }
}

fn fault(text: &str) -> Result<FaultFilter, Problem> {
    let of = |fault: Fault| (fault.as_str(), FaultFilter::Of(fault));

    let (any, none) = (("any", FaultFilter::Any), ("none", FaultFilter::None));
    among("fault", text, &[of(Fault::Script), of(Fault::Limit), of(Fault::Platform), any, none])
}

fn code(text: &str) -> Result<Code, Problem> {
    let wrong = |_| invalid("code is not one of the documented error codes");
    Code::try_from(text.to_owned()).map_err(wrong)
}

fn trigger(text: &str) -> Result<String, Problem> {
    let kinds = EventKind::ALL.iter().map(|kind| kind.as_str()).chain(["call"]);
    among("trigger", text, &kinds.map(|kind| (kind, kind)).collect::<Vec<_>>()).map(str::to_owned)
}

/// An id without hyphens, as the list gives it.
fn read_cursor(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 32)
}

/// List the executions of an app, the newest first.
///
/// Each record is there as soon as the call has ended. At most a few thousand a second are kept, failed ones first; the
/// metrics of scripts count every call.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/executions", tag = "executions", security(("token" = ["app:{app}:read"])), params(AppPath, ListParameters),
    responses(
        (status = 200, description = "A page of the list.", body = List<Execution>),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_executions(
    _: Reader,
    state: State,
    path: AppPath,
    Query(parameters): Query<ListParameters>,
) -> Result<Json<List<Execution>>, Problem> {
    let (filter, page) = (parameters.filter()?, parameters.page()?);
    let app_id = state.app_id(&path.app).await?;
    state.telemetry.flush(Pending::Records).await;
    let one_more = Page { limit: page.limit + 1, ..page };
    let found = execution::list(state.telemetry.database()?, app_id, &filter, one_more).await?;
    let items = found.into_iter().map(|found| Execution::new(&path.app, found)).collect();
    Ok(Json(List::new(items, page.limit, |last: &Execution| last.id.simple().to_string())))
}

/// An execution as whoever asks may see it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "it is written at once")]
pub(crate) enum SeenExecution {
    /// With a token, once its record is there.
    Record(ExecutionWithLog),
    /// With the key of an asynchronous call, or before there is a record.
    Call(AsyncCall),
}

/// Get an execution with its log, or how far an asynchronous call is.
///
/// With `Accept: text/event-stream` the states of an asynchronous call come as server-sent events: the present one, then
/// each other one, until it is `done`. The name of an event is the state, its data the same document.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/executions/{id}", tag = "executions", params(ExecutionPath),
    security(("token" = ["app:{app}:read"]), ("key" = [])),
    responses(
        (status = 200, description = "The execution.", content(
            (SeenExecution = "application/json"), (String = "text/event-stream"),
        )),
        (status = 404, description = "`app-not-found`, `execution-not-found`"),
        (status = 503, description = "`saturated`, `storage-unavailable`"),
    ),
)]
async fn get_execution(
    access: ExecutionAccess,
    state: State,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if follow::is_wanted(&headers) {
        return follow::follow(state, access).await;
    }
    let call = state.answers.call(access.app_id, access.id).await?;
    if let (Access::Key, Some(call)) = (access.by, &call) {
        return Ok(Json(SeenExecution::Call(AsyncCall::new(&access, call.clone()))).into_response());
    }
    state.telemetry.flush(Pending::Records).await;
    let found = execution::get(state.telemetry.database()?, access.app_id, access.id).await?;
    let seen = match (found, call) {
        (Some((found, log)), _) => SeenExecution::Record(ExecutionWithLog {
            execution: Execution::new(&access.app, found),
            state: "done",
            log: log.into_iter().map(LoggedLine::from).collect(),
        }),
        (None, Some(call)) => SeenExecution::Call(AsyncCall::new(&access, call)),
        (None, None) => {
            return Err(Problem::new(Code::ExecutionNotFound).detail(
                "It never happened, or its record is no longer kept, or more calls came than records are kept of.",
            ));
        }
    };
    Ok(Json(seen).into_response())
}

/// Get the answer of an asynchronous call as it is: with its status, its headers and its body.
///
/// Also that of a call with an idempotency key, as long as it is kept.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/executions/{id}/answer", tag = "executions", params(ExecutionPath),
    security(("token" = ["app:{app}:read"]), ("key" = [])),
    responses(
        (status = 200, description = "What the script has answered; the status is the script's, too."),
        (status = 404, description = "`answer-pending`, `app-not-found`, `execution-not-found`"),
        (status = 410, description = "`cancelled`"),
        (status = 503, description = "`saturated`, `storage-unavailable`"),
    ),
)]
async fn get_answer(
    access: ExecutionAccess,
    state: State,
    Extension(room): Extension<AnswerRoom>,
) -> Result<Response, Problem> {
    let mut response = room.read(kept::answer(&state, &access)).await?.into_response();
    // What a script says is not to run as a page of the control plane.
    response.headers_mut().append(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(response)
}

/// Cancel an asynchronous call that waits or runs.
///
/// Either it is cancelled and has had no effects, or it was faster and this is refused. Its answer is the problem
/// `cancelled` from then on.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/executions/{id}", tag = "executions", params(ExecutionPath),
    security(("token" = ["app:{app}:deploy"]), ("key" = [])),
    responses(
        (status = 204, description = "It has had no effects, and will have none."),
        (status = 404, description = "`app-not-found`, `execution-not-found`"),
        (status = 409, description = "`not-cancellable`"),
        (status = 503, description = "`storage-unavailable`"),
    ),
)]
async fn cancel_execution(access: ExecutionAccess, state: State) -> Result<StatusCode, Problem> {
    cancel::cancel(&state, &access).await?;
    Ok(StatusCode::NO_CONTENT)
}
