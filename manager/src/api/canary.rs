//! Canaries over REST: let some of the calls of a script go to a new version, see how it does, stop that.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use picloud_host::call::AppId;
use picloud_host::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{Deployer, Reader};
use crate::api::body::{object, read_as};
use crate::api::path::ScriptPath;
use crate::api::timestamp::timestamp;
use crate::canary::{CanaryResult, Counted};
use crate::name::Name;
use crate::store::canary::{self, Ending, Rules};
use crate::store::column::to_u64;
use crate::store::script::Put;

/// The longest body, in bytes.
const MAX_BYTES: u64 = 4 << 10;

/// From fewer calls nothing can be concluded, and more would never be there.
const MIN_CALLS: std::ops::RangeInclusive<u32> = 5..=1_000_000;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_canary, put_canary, delete_canary))
}

/// A version that some of the calls of a script go to, or went to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Canary {
    /// The number of the version.
    version: u32,
    /// The number of the version that it is compared with, which was the active one when it began.
    active_version: u32,
    /// How many of a hundred calls go to it.
    percent: u8,
    /// Nothing is concluded from fewer calls of either version.
    min_calls: u32,
    /// How many more of a hundred calls may fail than of the active version's.
    max_faults_percent: f64,
    /// How much more fuel a typical call may take, in percent of the active version's; null for any.
    #[schema(required)]
    max_fuel_percent: Option<f64>,
    /// `running`; `promoted`: it is the active version now; `stopped`: somebody has ended it; `rolled-back`: it did worse.
    #[schema(example = "running")]
    state: String,
    /// In what it did worse, if that is why it ended: `faults` or `fuel`.
    #[schema(required)]
    reason: Option<String>,
    /// What was counted of the active version's calls; null when nobody has written that down.
    #[schema(required)]
    active_calls: Option<Counted>,
    /// What was counted of its own calls; null when nobody has written that down.
    #[schema(required)]
    canary_calls: Option<Counted>,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When it ended; null while it runs.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
}

impl Canary {
    fn new(state: &State, canary: canary::Canary) -> Self {
        // What has ended is kept as it was then, also until nothing more is counted.
        let running = match canary.ended_ms {
            None => state.publisher.canaries().counted(&canary).map(|counted| counted.result(None)),
            Some(_) => None,
        };
        let kept = || serde_json::from_str::<CanaryResult>(canary.result.as_deref()?).ok();
        let (reason, active, own) = match running.or_else(kept) {
            Some(result) => (result.reason, Some(result.active), Some(result.canary)),
            None => (None, None, None),
        };
        Self {
            version: canary.version,
            active_version: canary.active_version,
            percent: canary.rules.percent,
            min_calls: canary.rules.min_calls,
            max_faults_percent: canary.rules.max_faults_percent,
            max_fuel_percent: canary.rules.max_fuel_percent,
            state: canary.outcome.unwrap_or_else(|| "running".to_owned()),
            reason,
            active_calls: active,
            canary_calls: own,
            started_at: timestamp(canary.started_ms),
            ended_at: canary.ended_ms.map(|at_ms| timestamp(to_u64(at_ms))),
        }
    }
}

/// Which version, how many of the calls, and what it takes to go back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CanaryBody {
    /// The number of the version.
    #[schema(example = 2)]
    version: u32,
    /// How many of a hundred calls go to it.
    #[schema(minimum = 1, maximum = 99, example = 10)]
    percent: u8,
    /// Nothing is concluded from fewer calls of either version.
    #[serde(default = "min_calls")]
    #[schema(minimum = 5, maximum = 1_000_000, default = 20)]
    min_calls: u32,
    /// How many more of a hundred calls may fail than of the active version's.
    #[serde(default = "max_faults_percent")]
    #[schema(minimum = 0, maximum = 100, default = 1.0)]
    max_faults_percent: f64,
    /// How much more fuel a typical call may take, in percent of the active version's; null for any.
    #[serde(default = "max_fuel_percent")]
    #[schema(minimum = 0, maximum = 10_000, default = 20.0)]
    max_fuel_percent: Option<f64>,
}

fn min_calls() -> u32 {
    Rules::DEFAULT.min_calls
}

fn max_faults_percent() -> f64 {
    Rules::DEFAULT.max_faults_percent
}

fn max_fuel_percent() -> Option<f64> {
    Rules::DEFAULT.max_fuel_percent
}

impl CanaryBody {
    fn rules(&self) -> Result<Rules, &'static str> {
        let Self { percent, min_calls, max_faults_percent, max_fuel_percent, .. } = *self;
        if !(1..=99).contains(&percent) {
            return Err("percent: 1 to 99");
        }
        if !MIN_CALLS.contains(&min_calls) {
            return Err("min_calls: 5 to 1000000");
        }
        if !(0.0..=100.0).contains(&max_faults_percent) {
            return Err("max_faults_percent: 0 to 100");
        }
        if max_fuel_percent.is_some_and(|most| !(0.0..=10_000.0).contains(&most)) {
            return Err("max_fuel_percent: 0 to 10000, or null");
        }
        Ok(Rules { percent, min_calls, max_faults_percent, max_fuel_percent })
    }
}

/// What is sent.
#[derive(Debug)]
pub(crate) struct Body {
    version: u32,
    rules: Rules,
}

impl FromRequest<State> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_as("application/json", "canary", &parts.headers, body, MAX_BYTES).await?;
        let invalid = |detail: String| Problem::new(Code::CanaryInvalid).detail(detail);
        let body: CanaryBody = object(&bytes).map_err(|error| invalid(error.to_string()))?;
        let rules = body.rules().map_err(|why| invalid(why.to_owned()))?;
        Ok(Self { version: body.version, rules })
    }
}

/// Get the canary of a script: the one that runs, or the last one.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/scripts/{name}/canary", tag = "versions",
    security(("token" = ["app:{app}:read"])), params(ScriptPath),
    responses(
        (status = 200, description = "The canary.", body = Canary),
        (status = 404, description = "`app-not-found`, `script-not-found`, `canary-not-found`"),
    ),
)]
async fn get_canary(_: Reader, state: State, path: ScriptPath) -> Result<Json<Canary>, Problem> {
    let app = state.app_id(&path.app).await?;
    let canary = found(&state, app, &path.name).await?;
    Ok(Json(Canary::new(&state, canary)))
}

/// Let some of the calls of a script go to another version of it, or change how many.
///
/// Requests, events and calls by other scripts are meant alike. The version is loaded first. From the answer on the calls of both
/// versions are counted; when it can be told that more of the canary's calls fail than of the active version's, or that they take
/// more fuel, and by more than is allowed here, all calls go to the active version again. To make the canary the active version,
/// activate it; activating another one, or uploading one, stops the canary.
///
/// What was counted goes on to count when the same version is sent again, with other rules. It begins anew when the server starts.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/scripts/{name}/canary", tag = "versions",
    security(("token" = ["app:{app}:deploy"])), params(ScriptPath),
    request_body(description = "What it is to be.", content((CanaryBody = "application/json"))),
    responses(
        (status = 201, description = "The canary runs.", body = Canary, headers(("Location" = String))),
        (status = 200, description = "It ran already, and has these rules now.", body = Canary),
        (status = 400, description = "`name-invalid`"),
        (status = 404, description = "`app-not-found`, `script-not-found`, `version-not-found`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`canary-invalid`, `compile-failed`, `top-level-failed`, `top-level-limit`"),
    ),
)]
async fn put_canary(
    _: Deployer,
    state: State,
    path: ScriptPath,
    Body { version, rules }: Body,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let Some(source) = state.store.source_of(app, &path.name, Some(version)).await? else {
        return Err(super::versions::missing(&state, app, &path.name).await);
    };
    state.load_again((app, &path.app), &source.source).await?;
    let store = state.store.clone();
    let change = async move { store.put_canary(source.id, &rules).await };
    let (put, canary) = state.publisher.change(change).await?;
    let location = format!("/api/v1/apps/{}/scripts/{}/canary", path.app, path.name);
    let answer = Json(Canary::new(&state, canary));
    Ok(match put {
        Put::Created => (StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response(),
        Put::Replaced | Put::Unchanged => answer.into_response(),
    })
}

/// Stop the canary of a script: all calls go to the active version.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/scripts/{name}/canary", tag = "versions",
    security(("token" = ["app:{app}:deploy"])), params(ScriptPath),
    responses(
        (status = 204, description = "It does not run any more."),
        (status = 404, description = "`app-not-found`, `script-not-found`, `canary-not-found`"),
    ),
)]
async fn delete_canary(_: Deployer, state: State, path: ScriptPath) -> Result<StatusCode, Problem> {
    let app = state.app_id(&path.app).await?;
    let canary = found(&state, app, &path.name).await?;
    let counted = state.publisher.canaries().counted(&canary).map(|counted| counted.result(None).to_json());
    let store = state.store.clone();
    let change = async move { store.end_canary(canary.id, Ending::Stopped, counted.as_deref()).await };
    state.publisher.change(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The last canary of a script, or why there is none.
async fn found(state: &State, app: AppId, name: &Name) -> Result<canary::Canary, Problem> {
    if let Some(canary) = state.store.canary(app, name).await? {
        return Ok(canary);
    }
    let script = state.store.script(app, name).await?;
    Err(Problem::new(if script.is_some() { Code::CanaryNotFound } else { Code::ScriptNotFound }))
}
