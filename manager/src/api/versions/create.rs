//! Versions with a smoke call: a request that a source has to answer well before it becomes a version.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use picloud_host::call::{AppId, BUILT_IN_ROUTE, HttpCall, Outcome};
use picloud_host::loader::Trial;
use picloud_host::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::Version;
use crate::api::State;
use crate::api::auth::Deployer;
use crate::api::body::{app_limits, check_json, object};
use crate::api::path::ScriptPath;
use crate::api::scripts::check_message;
use crate::store::Precondition;
use crate::store::script::{Put, Upload};

/// What JSON adds to a source and to the body of a smoke call at most, beside the escapes, in bytes.
const MAX_ENVELOPE: u64 = 64 << 10;

/// The most headers of a smoke call.
const MAX_HEADERS: usize = 64;

/// A version to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VersionBody {
    /// The source.
    #[schema(example = "\"Hello\"")]
    source: String,
    /// What to say of the version, 1000 bytes at most.
    #[serde(default)]
    message: Option<String>,
    /// Whether it is called from then on; true when not given. The first version of a script always is.
    #[serde(default = "yes")]
    #[schema(default = true)]
    activate: bool,
    /// A request that it has to answer well. Without one it is not tried.
    #[serde(default, deserialize_with = "picloud_host::object::optional")]
    smoke: Option<SmokeCall>,
}

fn yes() -> bool {
    true
}

/// A request to try a version with. It changes nothing: what the script writes and sends is not done.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SmokeCall {
    /// `GET` when not given, or `POST` with a body.
    #[serde(default)]
    method: Option<String>,
    /// What follows the script in the URL; `/` when not given.
    #[serde(default)]
    path: Option<String>,
    /// Without the `?`.
    #[serde(default)]
    query: Option<String>,
    /// By name.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A text is the body as it is; anything else is JSON.
    #[serde(default)]
    #[schema(value_type = Option<serde_json::Value>)]
    body: Option<Box<RawValue>>,
    /// The status that the answer must have; any under 400 when not given.
    #[serde(default)]
    status: Option<u16>,
}

/// How a smoke call went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SmokeReport {
    /// The status of the answer.
    status: u16,
    /// Fuel that it took.
    fuel: u64,
    /// Fuel that the same request takes with the version that was active; null when there was none, it fails there, or the
    /// source is the active one.
    #[schema(required)]
    active_fuel: Option<u64>,
    /// How much more that is in percent of the active version's; less than 0 when it is less.
    #[schema(required)]
    fuel_change_percent: Option<f64>,
}

/// A version that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeVersion {
    #[serde(flatten)]
    version: Version,
    /// How its smoke call went; null without one.
    #[schema(required)]
    smoke: Option<SmokeReport>,
}

impl FromRequest<State> for VersionBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let limits = app_limits(&mut parts, state).await?;
        check_json(&parts.headers, "version")?;
        // Twice, for escapes.
        let most = 2 * (limits.source_bytes + limits.request_body_bytes) + MAX_ENVELOPE;
        let held = state.bodies.read(body, most).await.map_err(|problem| match problem.code() {
            Code::Saturated => problem.retry_after(1),
            _ => problem,
        })?;
        let bytes = &held.body;
        let body: Self = object(bytes).map_err(|error| invalid(error.to_string()))?;
        if body.source.len() as u64 > limits.source_bytes {
            let detail = format!("More than {} bytes.", limits.source_bytes);
            return Err(Problem::new(Code::SourceTooLarge).detail(detail));
        }
        Ok(body)
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::VersionInvalid).detail(detail)
}

/// Make a version, after trying it if there is a smoke call.
///
/// The source is loaded as by `PUT .../scripts/{name}`. Then the smoke call is made, to it and to the active version for
/// comparison; if it fails, or is not answered with the status that is wanted, no version is made.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/scripts/{name}/versions", tag = "versions",
    security(("token" = ["app:{app}:deploy"])),
    params(
        ScriptPath,
        ("If-Match" = Option<String>, Header, description = "Only if the script has one of these `ETag`s now."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is no such script."),
    ),
    request_body(description = "The version.", content((VersionBody = "application/json"))),
    responses(
        (status = 201, description = "The version is new.", body = MadeVersion, headers(("Location" = String))),
        (status = 200, description = "The source was the active one already.", body = MadeVersion),
        (status = 400, description = "`name-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`source-too-large`, `body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`compile-failed`, `top-level-failed`, `top-level-limit`, `smoke-failed`, `version-invalid`"),
        (status = 429, description = "`quota-exceeded`, `too-many-attempts`"),
        (status = 503, description = "`saturated`, `storage-unavailable`"),
    ),
)]
pub(super) async fn create_version(
    who: Deployer,
    state: State,
    path: ScriptPath,
    precondition: Precondition,
    body: VersionBody,
) -> Result<Response, Problem> {
    let VersionBody { source, message, activate, smoke } = body;
    let app = state.app_id(&path.app).await?;
    let message =
        check_message(message).map_err(|_| invalid("message must be text of 1000 bytes at most"))?;
    let report = state.load((app, &path.app), &source).await?;
    let smoke = match smoke {
        Some(smoke) => Some(try_it(&state, app, &path, &source, &smoke).await?),
        None => None,
    };
    let upload = Upload {
        source,
        report,
        message,
        author: who.caller.name(),
        keep: state.quotas_of(&path.app).versions,
        smoke_fuel: smoke.as_ref().map(|smoke| smoke.fuel),
        activate,
    };
    let (store, name) = (state.store.clone(), path.name.clone());
    let change = async move { store.add_version(app, &name, &upload, &precondition).await };
    let (put, version) = state.publisher.change(change).await?;
    let location = format!("/api/v1/apps/{}/scripts/{}/versions/{}", path.app, path.name, version.number);
    let answer = Json(MadeVersion { version: version.into(), smoke });
    Ok(match put {
        Put::Unchanged => answer.into_response(),
        Put::Created | Put::Replaced => {
            (StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response()
        }
    })
}

/// Make the smoke call.
async fn try_it(
    state: &State,
    app: AppId,
    path: &ScriptPath,
    source: &str,
    smoke: &SmokeCall,
) -> Result<SmokeReport, Problem> {
    let (limits, quotas) = (state.limits_of(&path.app), state.quotas_of(&path.app));
    let call = call(smoke, limits.request_body_bytes)?;
    let trial = |source: &str| Trial {
        app,
        app_name: path.app.as_str().into(),
        script: path.name.as_str().into(),
        source: source.into(),
        call: call.clone(),
        limits,
        quotas,
    };
    let outcome = state.loader.trial(trial(source)).await?;
    let (status, fuel) = (outcome.status(), outcome.fuel());
    if outcome.result.is_err() || !smoke.status.map_or(status < 400, |wanted| wanted == status) {
        return Err(failed(outcome, smoke.status));
    }
    let active = state.store.source_of(app, &path.name, None).await?;
    let active = match active.filter(|active| active.source != source) {
        Some(active) => Some(state.loader.trial(trial(&active.source)).await?),
        None => None,
    };
    let active_fuel = active.filter(|outcome| outcome.result.is_ok()).map(|outcome| outcome.fuel());
    let change =
        active_fuel.filter(|active| *active > 0).map(|active| (fuel as f64 / active as f64 - 1.0) * 100.0);
    Ok(SmokeReport { status, fuel, active_fuel, fuel_change_percent: change.map(|change| change.round()) })
}

/// The problem of a smoke call that went wrong, with what the script has logged last.
fn failed(outcome: Outcome, wanted: Option<u16>) -> Problem {
    let status = outcome.status();
    let why = match &outcome.result {
        Err(failure) => format!("The smoke call failed with {}: {}", failure.code.as_str(), failure.message),
        Ok(_) => {
            let wanted = wanted.map_or_else(|| "a status under 400".to_owned(), |wanted| wanted.to_string());
            format!("The smoke call was answered with {status}, not with {wanted}.")
        }
    };
    let last = outcome.log.last().map(|line| format!(" The last that it logged: {}", line.message));
    let position = outcome.result.err().and_then(|failure| failure.position);
    Problem::new(Code::SmokeFailed).detail(why + &last.unwrap_or_default()).position(position)
}

/// The request of a smoke call.
fn call(smoke: &SmokeCall, most: u64) -> Result<HttpCall, Problem> {
    let (body, media_type) = match &smoke.body {
        None => (Vec::new(), None),
        Some(json) if json.get().starts_with('"') => {
            let text: String =
                serde_json::from_str(json.get()).map_err(|error| invalid(error.to_string()))?;
            (text.into_bytes(), Some("text/plain; charset=utf-8"))
        }
        Some(json) => (json.get().as_bytes().to_vec(), Some("application/json")),
    };
    if body.len() as u64 > most {
        return Err(invalid(format!("smoke: the body has more than {most} bytes")));
    }
    let method = smoke.method.as_deref().unwrap_or(if smoke.body.is_some() { "POST" } else { "GET" });
    Method::from_bytes(method.as_bytes()).map_err(|_| invalid("smoke: the method is none"))?;
    let path = smoke.path.clone().unwrap_or_else(|| "/".to_owned());
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if !path.starts_with('/') || !visible(&path) || path.contains(['?', '#']) {
        return Err(invalid("smoke: the path must begin with / and be as in a URL"));
    }
    if smoke.query.as_deref().is_some_and(|query| !visible(query) || query.contains('#')) {
        return Err(invalid("smoke: the query must be as in a URL"));
    }
    if smoke.headers.len() > MAX_HEADERS {
        return Err(invalid(format!("smoke: there are more than {MAX_HEADERS} headers")));
    }
    let mut headers = HeaderMap::new();
    if let Some(media_type) = media_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    for (name, value) in &smoke.headers {
        let wrong = || invalid(format!("smoke: the header {name:?} cannot be sent"));
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        headers.insert(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    Ok(HttpCall {
        method: method.to_owned(),
        path,
        route: BUILT_IN_ROUTE.into(),
        query: smoke.query.clone(),
        params: Vec::new(),
        headers,
        body: body.into(),
        client_ip: None,
        request_id: "smoke".to_owned(),
    })
}
