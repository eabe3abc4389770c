//! Triggers over REST: what makes events, and for which script.

pub(in crate::api) mod body;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use picloud_host::call::AppId;
use picloud_host::problem::{Code, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{Deployer, Reader};
use crate::api::path::{AppPath, TriggerPath};
use crate::api::precondition::{answer, etag};
use crate::api::query::{List, PageQuery, Query};
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::schedule::{RunNowError, Scheduler};
use crate::store::script::Put;
use crate::store::trigger::{self, TriggerConfig};
use crate::store::{ChangeError, Precondition};
use body::{Body, TriggerBody};

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(list_triggers))
        .routes(routes!(get_trigger, put_trigger, delete_trigger))
        .routes(routes!(run_trigger))
}

/// What makes events, and for which script.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trigger {
    app: String,
    name: String,
    /// The script that is called. It may be uploaded later.
    script: String,
    /// What its kind needs to know, and the kind.
    #[serde(flatten)]
    #[schema(inline, value_type = TriggerBody)]
    config: TriggerConfig,
    /// How often an event is tried at most.
    attempts: u32,
    /// One that is not enabled makes no events.
    enabled: bool,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// When a schedule that is enabled is due the next times, at most five.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>, format = DateTime, required = false)]
    next_runs: Vec<Timestamp>,
}

/// How many of the next times of a schedule are shown.
const NEXT_RUNS: usize = 5;

impl From<trigger::Trigger> for Trigger {
    fn from(stored: trigger::Trigger) -> Self {
        // The first is what is stored: a time that has come is due until its event is made.
        let first = stored.next_ms.filter(|_| stored.enabled);
        let next = first.map(|first| {
            let more = Scheduler::preview(&stored.config, NEXT_RUNS - 1, first).unwrap_or_default();
            std::iter::once(first).chain(more).map(timestamp).collect()
        });
        Self {
            next_runs: next.unwrap_or_default(),
            app: stored.app,
            name: stored.name,
            script: stored.script,
            config: stored.config,
            attempts: stored.attempts,
            enabled: stored.enabled,
            created_at: timestamp(stored.created_ms),
            updated_at: timestamp(stored.updated_ms),
        }
    }
}

/// List the triggers of an app, by name.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/triggers", tag = "triggers", security(("token" = ["app:{app}:read"])), params(AppPath, PageQuery),
    responses(
        (status = 200, description = "A page of the list.", body = List<Trigger>),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_triggers(
    _: Reader,
    state: State,
    path: AppPath,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Trigger>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|cursor| Name::parse(cursor).ok())?);
    let app = state.app_id(&path.app).await?;
    let triggers = state.store.triggers(app, after.as_ref(), limit + 1).await?;
    Ok(Json(List::new(triggers, limit, |trigger: &trigger::Trigger| trigger.name.clone())))
}

/// Get a trigger.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/triggers/{name}", tag = "triggers", security(("token" = ["app:{app}:read"])),
    params(TriggerPath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The trigger.", body = Trigger, headers(("ETag" = String))),
        (status = 304, description = "The trigger is as the client has it."),
        (status = 404, description = "`app-not-found`, `trigger-not-found`"),
    ),
)]
async fn get_trigger(
    _: Reader,
    state: State,
    path: TriggerPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let found = state.store.trigger(app, &path.name).await?;
    let found = found.ok_or_else(|| Problem::new(Code::TriggerNotFound))?;
    let tag = found.tag();
    answer(&precondition, &tag, Json(Trigger::from(found)))
}

/// Make a trigger, or give it another form.
///
/// From the answer on, changes and messages are compared with it as it is now. Events that it has made before stay.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/triggers/{name}", tag = "triggers", security(("token" = ["app:{app}:deploy"])),
    params(
        TriggerPath,
        ("If-Match" = Option<String>, Header, description = "Replace only what has one of these `ETag`s."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
    ),
    request_body(description = "What it is to be.", content((TriggerBody = "application/json"))),
    responses(
        (status = 201, description = "The trigger is new.", body = Trigger,
         headers(("ETag" = String), ("Location" = String))),
        (status = 200, description = "The trigger is so now.", body = Trigger, headers(("ETag" = String))),
        (status = 400, description = "`name-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 409, description = "`too-many-triggers`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`trigger-invalid`"),
    ),
)]
async fn put_trigger(
    _: Deployer,
    state: State,
    path: TriggerPath,
    precondition: Precondition,
    Body(new): Body,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    check_secret(&state, app, &new.config)?;
    let (store, name) = (state.store.clone(), path.name.clone());
    let change = async move { store.put_trigger(app, &name, &new, &precondition).await };
    let (put, stored) = state.publisher.change(change).await?;
    state.schedules.changed();
    let tag = [(header::ETAG, etag(&stored.tag()))];
    let body = Json(Trigger::from(stored));
    Ok(match put {
        Put::Created => {
            let location = format!("/api/v1/apps/{}/triggers/{}", path.app, path.name);
            (StatusCode::CREATED, tag, [(header::LOCATION, location)], body).into_response()
        }
        Put::Replaced | Put::Unchanged => (tag, body).into_response(),
    })
}

/// A webhook without its secret would refuse everything that is delivered: who sets it up should know at once.
fn check_secret(state: &State, app: AppId, config: &TriggerConfig) -> Result<(), Problem> {
    let TriggerConfig::Webhook(webhook) = config else { return Ok(()) };
    let set = state.active.current();
    match set.app(app).and_then(|app| app.secrets.0.get(webhook.secret.as_str())) {
        Some(Some(_)) => Ok(()),
        found => {
            let what = if found.is_some() { "a readable secret" } else { "a secret" };
            let detail = format!("The app has not {what} {:?}: set it first.", webhook.secret);
            Err(Problem::new(Code::TriggerInvalid).detail(detail))
        }
    }
}

/// Delete a trigger. Events that it has made stay.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/triggers/{name}", tag = "triggers", security(("token" = ["app:{app}:deploy"])),
    params(
        TriggerPath,
        ("If-Match" = Option<String>, Header, description = "Delete only what has one of these `ETag`s."),
    ),
    responses(
        (status = 204, description = "The trigger is gone."),
        (status = 404, description = "`app-not-found`, `trigger-not-found`"),
        (status = 412, description = "`precondition-failed`"),
    ),
)]
async fn delete_trigger(
    _: Deployer,
    state: State,
    path: TriggerPath,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    let app = state.app_id(&path.app).await?;
    let (store, name) = (state.store.clone(), path.name);
    let change = async move {
        store.delete_trigger(app, &name, &precondition).await?;
        Ok::<_, ChangeError>(())
    };
    state.publisher.change(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Run a schedule now, whatever its times are. When it is due next stays as it is.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/triggers/{name}/run", tag = "triggers", security(("token" = ["app:{app}:deploy"])), params(TriggerPath),
    responses(
        (status = 202, description = "There is an event."),
        (status = 404, description = "`app-not-found`, `trigger-not-found`"),
        (status = 503, description = "`storage-unavailable`"),
        (status = 507, description = "`events-quota-exceeded`"),
    ),
)]
async fn run_trigger(_: Deployer, state: State, path: TriggerPath) -> Result<StatusCode, Problem> {
    let app = state.app_id(&path.app).await?;
    state.schedules.run_now(app, &path.name).await.map_err(|error| match error {
        RunNowError::NoTrigger => Problem::new(Code::TriggerNotFound),
        RunNowError::NoSchedule => Problem::new(Code::TriggerNotFound).detail("The trigger is no schedule."),
        RunNowError::Quota(exceeded) => exceeded.into(),
        RunNowError::Store(error) => error.into(),
    })?;
    Ok(StatusCode::ACCEPTED)
}
