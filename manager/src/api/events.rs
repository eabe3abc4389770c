//! Events over REST: send one, see what waits and what has failed, take events back, replay dead ones.

mod incoming;
mod removal;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use picloud_host::event::{EventKind, EventState, Lane, StoredEvent};
use picloud_host::problem::{Code, Problem};
use picloud_host::{callback, deferred};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::api::State;
use crate::api::auth::{Deployer, Invoker, Reader};
use crate::api::path::{AppPath, EventPath};
use crate::api::query::{List, Query, among, cursor, invalid, limit, script};
use crate::api::timestamp::timestamp;
use crate::store::event::list::Filter as EventFilter;
use incoming::{Destination, Incoming};
pub(super) use removal::commit_failed;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(list_events, post_event, remove_events))
        .routes(routes!(get_event, remove_event))
        .routes(routes!(replay_event))
        .routes(routes!(replay_events))
}

/// A stored event: a call that is still to come, that runs, or that has failed for good.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Event {
    /// UUIDv7.
    id: Uuid,
    /// `kv`, `schedule`, `topic`, `queue`, `timer`, `webhook`, `mqtt`, `publish` for a message to the MQTT broker,
    /// `http` for an asynchronous call, or `callback` for telling a URL of its answer.
    kind: String,
    /// `waiting`, `running` or `dead`.
    #[schema(value_type = String)]
    state: EventState,
    /// The script that is called.
    script: String,
    /// The queue it is in; null when it is in none.
    #[schema(required)]
    queue: Option<String>,
    /// Of one that waits: when it may run. Of one that runs: when its claim ends. Of a dead one: when it died.
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// How often it was tried.
    attempt: u32,
    /// How often it is tried at most.
    max_attempts: u32,
    /// Another event with this key is not added to the queue before this one is done.
    dedupe_key: Option<String>,
    /// UUIDv7 of the execution, or of the change from outside, that started the chain of triggers.
    root_id: Uuid,
    /// The execution that made it; null when it came from outside.
    #[schema(required)]
    parent_id: Option<Uuid>,
    /// The `trigger_depth` of the call that will handle it.
    trigger_depth: u32,
    /// Why the last attempt failed; null when none has.
    #[schema(required)]
    failure: Option<Failure>,
    /// What the script sees.
    event: Seen,
}

/// Why an attempt failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EventFailure)]
pub(crate) struct Failure {
    /// The code of the error.
    code: String,
    message: String,
    /// The execution that failed; null when there was none, as for a script that is not there.
    #[schema(required)]
    execution_id: Option<Uuid>,
}

/// An event in the words of CloudEvents 1.0.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CloudEvent)]
pub(crate) struct Seen {
    id: String,
    source: String,
    r#type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    time: Timestamp,
    #[schema(value_type = serde_json::Value)]
    data: Box<RawValue>,
}

impl From<StoredEvent> for Event {
    fn from(stored: StoredEvent) -> Self {
        let StoredEvent { event, attempt, state, failure, .. } = stored;
        let trigger_depth = event.trigger_depth();
        let queue = match event.lane {
            Lane::Queue(name) => Some(name.to_string()),
            Lane::Script(_) | Lane::Mqtt | Lane::Callback(_) => None,
        };
        let data = match event.call.trigger {
            EventKind::Http => deferred::outline(&event.call.data),
            EventKind::Callback => callback::outline(&event.call.data),
            _ => event.call.data.to_string(),
        };
        // Whatever is stored was checked to be JSON.
        let data = RawValue::from_string(data).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self {
            id: event.id,
            kind: event.call.trigger.as_str().to_owned(),
            state,
            script: event.script.to_string(),
            queue,
            due_at: timestamp(event.due_ms),
            attempt,
            max_attempts: event.max_attempts,
            dedupe_key: event.dedupe_key.map(|key| key.to_string()),
            root_id: event.cause.root,
            parent_id: event.cause.parent,
            trigger_depth,
            failure: failure.map(|failure| Failure {
                code: failure.code,
                message: failure.message,
                execution_id: failure.execution,
            }),
            event: Seen {
                id: event.call.id,
                source: event.call.source,
                r#type: event.call.kind,
                subject: event.call.subject,
                time: timestamp(event.call.time_ms),
                data,
            },
        }
    }
}

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventsQuery {
    /// Only those that are `waiting`, `running` or `dead`.
    state: Option<String>,
    /// Only those for this script.
    script: Option<String>,
    /// Only those in this queue.
    queue: Option<String>,
    /// Only those of this kind: `kv`, `schedule`, `topic`, `queue`, `timer`, `webhook`, `mqtt`, `publish`,
    /// `callback` or `http`.
    kind: Option<String>,
    /// Only those of the chain of triggers with this root.
    root: Option<Uuid>,
    /// How many at most. 100 when not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

impl EventsQuery {
    fn filter(&self) -> Result<EventFilter, Problem> {
        let states = [EventState::Waiting, EventState::Running, EventState::Dead];
        let states = states.map(|state| (state.as_str(), state));
        let kinds: Vec<_> = EventKind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
        Ok(EventFilter {
            state: self.state.as_deref().map(|text| among("state", text, &states)).transpose()?,
            script: self.script.as_deref().map(script).transpose()?,
            lane: self.queue.as_deref().map(|queue| Lane::Queue(queue.into())),
            kind: self.kind.as_deref().map(|text| among("kind", text, &kinds)).transpose()?,
            root: self.root,
        })
    }
}

/// The position of an event in lists: when it is due, and in which order it was stored.
fn read_cursor(text: &str) -> Option<(u64, i64)> {
    let (due_ms, seq) = text.split_once('-')?;
    Some((due_ms.parse().ok()?, seq.parse().ok()?))
}

/// List events: those that wait or run by when they are due, dead ones with the last first, and without `state` the
/// newest first.
///
/// A page can have fewer events than `limit` and not be the last, when their data is large: go by `next_cursor`. An event
/// that is done is not there any more: what became of it is in the executions.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/events", tag = "events", security(("token" = ["app:{app}:read"])), params(AppPath, EventsQuery),
    responses(
        (status = 200, description = "A page of the list.", body = List<Event>),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_events(
    _: Reader,
    state: State,
    path: AppPath,
    Query(query): Query<EventsQuery>,
) -> Result<Json<List<Event>>, Problem> {
    let (filter, limit) = (query.filter()?, limit(query.limit, 100, 1000)?);
    let after = cursor(query.cursor.as_deref(), read_cursor)?;
    let app = state.app_id(&path.app).await?;
    let page = state.store.events(app, &filter, after, limit).await?;
    let last = page.events.last().filter(|_| page.more);
    let next_cursor = last.map(|stored| format!("{}-{}", stored.event.due_ms, stored.seq));
    Ok(Json(List { items: page.events.into_iter().map(Event::from).collect(), next_cursor }))
}

/// Get an event.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/events/{id}", tag = "events", security(("token" = ["app:{app}:read"])), params(EventPath),
    responses(
        (status = 200, description = "The event.", body = Event),
        (status = 404, description = "`app-not-found`, `event-not-found`"),
    ),
)]
async fn get_event(_: Reader, state: State, path: EventPath) -> Result<Json<Event>, Problem> {
    let app = state.app_id(&path.app).await?;
    let found = state.events.event(app, path.id).await?;
    found.map(|event| Json(event.into())).ok_or_else(|| Problem::new(Code::EventNotFound))
}

/// What became of an event that was sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// The ids of the events that were made: for a topic one for each subscriber, and none if there is none.
    pub(super) ids: Vec<Uuid>,
}

/// Send an event: to everybody who subscribes to a topic, to a queue, or to a script.
///
/// The body is a CloudEvent 1.0 in structured form (`application/cloudevents+json`), or its data in binary form
/// (`application/json`, with the headers `ce-id`, `ce-source`, `ce-type` and `ce-specversion`, which may be left out all
/// together). When the answer arrives the events are stored.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/events", tag = "events", security(("token" = ["app:{app}:invoke"])), params(AppPath, Destination),
    request_body(
        description = "The event.",
        content((serde_json::Value = "application/cloudevents+json"), (serde_json::Value = "application/json")),
    ),
    responses(
        (status = 202, description = "The events are stored.", body = Accepted),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 413, description = "`event-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`event-invalid`"),
        (status = 503, description = "`storage-unavailable`"),
        (status = 507, description = "`events-quota-exceeded`"),
    ),
)]
async fn post_event(
    _: Invoker,
    state: State,
    path: AppPath,
    Query(destination): Query<Destination>,
    Incoming(call): Incoming,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let ids = incoming::store(&state, app, destination, call).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { ids })).into_response())
}

/// Take back an event that waits, or purge a dead one.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/events/{id}", tag = "events", security(("token" = ["app:{app}:deploy"])), params(EventPath),
    responses(
        (status = 204, description = "The event will not run."),
        (status = 404, description = "`app-not-found`, `event-not-found`"),
        (status = 409, description = "`event-busy`"),
        (status = 503, description = "`storage-unavailable`"),
    ),
)]
async fn remove_event(_: Deployer, state: State, path: EventPath) -> Result<StatusCode, Problem> {
    let app = state.app_id(&path.app).await?;
    removal::remove(&state, app, path.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Let a dead event wait again, as if it were new.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/events/{id}/replay", tag = "events", security(("token" = ["app:{app}:deploy"])), params(EventPath),
    responses(
        (status = 202, description = "It will run.", headers(("Location" = String))),
        (status = 404, description = "`app-not-found`, `event-not-found`"),
        (status = 409, description = "`event-busy`"),
        (status = 503, description = "`storage-unavailable`"),
    ),
)]
async fn replay_event(_: Deployer, state: State, path: EventPath) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    removal::replay(&state, app, path.id).await?;
    let location = format!("/api/v1/apps/{}/events/{}", path.app, path.id);
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)]).into_response())
}

/// How many events were changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed {
    events: u64,
}

/// Remove all events that fit. `state` must be given: `dead` to purge, `waiting` to take back.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/events", tag = "events", security(("token" = ["app:{app}:deploy"])), params(AppPath, EventsQuery),
    responses(
        (status = 200, description = "How many were removed.", body = Changed),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 503, description = "`storage-unavailable`"),
    ),
)]
async fn remove_events(
    _: Deployer,
    state: State,
    path: AppPath,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Changed>, Problem> {
    let filter = query.filter()?;
    if !matches!(filter.state, Some(EventState::Dead | EventState::Waiting)) {
        return Err(invalid("state must be dead or waiting"));
    }
    let app = state.app_id(&path.app).await?;
    let events = removal::remove_all(&state, app, &filter).await?;
    Ok(Json(Changed { events }))
}

/// Let all dead events that fit wait again.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/events/replay", tag = "events", security(("token" = ["app:{app}:deploy"])), params(AppPath, EventsQuery),
    responses(
        (status = 200, description = "How many will run.", body = Changed),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 503, description = "`storage-unavailable`"),
    ),
)]
async fn replay_events(
    _: Deployer,
    state: State,
    path: AppPath,
    Query(query): Query<EventsQuery>,
) -> Result<Json<Changed>, Problem> {
    let filter = query.filter()?;
    if !matches!(filter.state, None | Some(EventState::Dead)) {
        return Err(invalid("only dead events can be replayed"));
    }
    let app = state.app_id(&path.app).await?;
    let events = removal::replay_all(&state, app, filter).await?;
    Ok(Json(Changed { events }))
}
