//! Versions of scripts over REST: read, list, activate an older one.

mod create;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header;
use jiff::Timestamp;
use picloud_host::call::{AppId, VersionId};
use picloud_host::problem::{Code, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{Deployer, Reader};
use crate::api::path::{ScriptPath, VersionPath};
use crate::api::precondition::{answer, etag};
use crate::api::query::{List, PageQuery, Query};
use crate::api::scripts::Script;
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::store::Precondition;
use crate::store::column::to_u64;
use crate::store::version::{self, Source};

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(list_versions, create::create_version))
        .routes(routes!(get_version))
        .routes(routes!(get_version_source))
        .routes(routes!(activate_version))
        .routes(routes!(rollback_script))
}

/// An immutable version of a script.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Version {
    /// Counted from 1 for each script.
    number: u32,
    /// Whether it is the one that is called.
    active: bool,
    /// It answers HTTP requests.
    handles_requests: bool,
    /// It handles events.
    handles_events: bool,
    /// SHA-256 of the source, in hexadecimal.
    source_hash: String,
    /// Length of the source in bytes.
    source_bytes: u64,
    /// Bytes of the memory image that each call starts from.
    image_bytes: u64,
    /// Fuel that compiling the source and running its top level took.
    load_fuel: u64,
    /// What whoever uploaded it has said of it.
    #[schema(required)]
    message: Option<String>,
    /// The name of the principal that has uploaded it; null in dev mode.
    #[schema(required)]
    author: Option<String>,
    /// Fuel that its smoke call took; null if there was none.
    #[schema(required)]
    smoke_fuel: Option<u64>,
    /// How many of a hundred calls go to it, while it is a canary; null else.
    #[schema(required)]
    canary_percent: Option<u8>,
    /// When it was uploaded.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl Version {
    /// The tag of this document. A version never changes, but what is called does. The active version has the tag of its
    /// script, so that it can be sent there as `If-Match`.
    fn tag(&self) -> String {
        match self.canary_percent {
            Some(percent) => format!("{}-canary-{percent}", self.source_hash),
            None if self.active => self.source_hash.clone(),
            None => format!("{}-inactive", self.source_hash),
        }
    }
}

impl From<version::Version> for Version {
    fn from(version: version::Version) -> Self {
        Self {
            number: version.number,
            active: version.active,
            handles_requests: version.handles_requests,
            handles_events: version.handles_events,
            source_hash: version.source_hash,
            source_bytes: version.source_bytes,
            image_bytes: version.image_bytes,
            load_fuel: version.load_fuel,
            message: version.message,
            author: version.author,
            smoke_fuel: version.smoke_fuel.map(to_u64),
            canary_percent: version.canary_percent.and_then(|percent| percent.try_into().ok()),
            created_at: timestamp(version.created_ms),
        }
    }
}

/// List the versions of a script, the newest first.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/scripts/{name}/versions", tag = "versions", security(("token" = ["app:{app}:read"])), params(ScriptPath, PageQuery),
    responses(
        (status = 200, description = "A page of the list.", body = List<Version>),
        (status = 404, description = "`app-not-found`, `script-not-found`"),
    ),
)]
async fn list_versions(
    _: Reader,
    state: State,
    path: ScriptPath,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Version>>, Problem> {
    let (limit, before) = (page.limit()?, page.cursor(|number| number.parse().ok())?);
    let app = state.app_id(&path.app).await?;
    let versions = state.store.versions(app, &path.name, before, limit + 1).await?;
    if versions.is_empty() && state.store.script(app, &path.name).await?.is_none() {
        return Err(Problem::new(Code::ScriptNotFound));
    }
    Ok(Json(List::new(versions, limit, |version| version.number.to_string())))
}

/// Get a version of a script.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/scripts/{name}/versions/{number}", tag = "versions", security(("token" = ["app:{app}:read"])),
    params(VersionPath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The version.", body = Version, headers(("ETag" = String))),
        (status = 304, description = "The version is as the client has it."),
        (status = 404, description = "`app-not-found`, `script-not-found`, `version-not-found`"),
    ),
)]
async fn get_version(
    _: Reader,
    state: State,
    path: VersionPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let Some(version) = state.store.version(app, &path.name, path.number).await? else {
        return Err(missing(&state, app, &path.name).await);
    };
    let version = Version::from(version);
    answer(&precondition, &version.tag(), Json(version))
}

/// Get the source of a version.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/scripts/{name}/versions/{number}/source", tag = "versions", security(("token" = ["app:{app}:read"])),
    params(VersionPath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The source.", body = String, content_type = "text/plain",
         headers(("ETag" = String))),
        (status = 304, description = "The source is the one that the client has."),
        (status = 404, description = "`app-not-found`, `script-not-found`, `version-not-found`"),
    ),
)]
async fn get_version_source(
    _: Reader,
    state: State,
    path: VersionPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let source = source(&state, app, &path).await?;
    answer(&precondition, &source.source_hash, source.source)
}

/// Make a version the one that is called.
///
/// It is loaded first, as at its upload: a version that does not load any more is refused. Activating the active version
/// changes nothing.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/scripts/{name}/versions/{number}/activate", tag = "versions", security(("token" = ["app:{app}:deploy"])),
    params(
        VersionPath,
        ("If-Match" = Option<String>, Header, description = "Only if the script has one of these `ETag`s now."),
    ),
    responses(
        (status = 200, description = "The script with the version.", body = Script, headers(("ETag" = String))),
        (status = 404, description = "`app-not-found`, `script-not-found`, `version-not-found`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 422, description = "`compile-failed`, `top-level-failed`, `top-level-limit`"),
    ),
)]
async fn activate_version(
    _: Deployer,
    state: State,
    path: VersionPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let source = source(&state, app, &path).await?;
    state.load_again((app, &path.app), &source.source).await?;
    let store = state.store;
    let change = async move { store.activate(VersionId(source.id), &precondition).await };
    let script = state.publisher.change(change).await?;
    Ok(([(header::ETAG, etag(&script.source_hash))], Json(Script::from(script))).into_response())
}

/// Go back to the version that was active before.
///
/// The same as activating it: going back twice leads to where it began.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/scripts/{name}/rollback", tag = "versions",
    security(("token" = ["app:{app}:deploy"])),
    params(
        ScriptPath,
        ("If-Match" = Option<String>, Header, description = "Only if the script has one of these `ETag`s now."),
    ),
    responses(
        (status = 200, description = "The script with the version.", body = Script, headers(("ETag" = String))),
        (status = 404, description = "`app-not-found`, `script-not-found`, `version-not-found`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 422, description = "`compile-failed`, `top-level-failed`, `top-level-limit`"),
    ),
)]
async fn rollback_script(
    who: Deployer,
    state: State,
    path: ScriptPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let Some(number) = state.store.previous_version(app, &path.name).await? else {
        let problem = missing(&state, app, &path.name).await;
        return Err(match problem.code() {
            Code::VersionNotFound => {
                problem.detail("No version was active before, or it is not kept any more.")
            }
            _ => problem,
        });
    };
    let ScriptPath { app, name } = path;
    activate_version(who, state, VersionPath { app, name, number }, precondition).await
}

async fn source(state: &State, app: AppId, path: &VersionPath) -> Result<Source, Problem> {
    match state.store.source_of(app, &path.name, Some(path.number)).await? {
        Some(source) => Ok(source),
        None => Err(missing(state, app, &path.name).await),
    }
}

/// Why there is no such version: no script, or a script without it.
pub(super) async fn missing(state: &State, app: AppId, name: &Name) -> Problem {
    match state.store.script(app, name).await {
        Ok(Some(_)) => Problem::new(Code::VersionNotFound),
        Ok(None) => Problem::new(Code::ScriptNotFound),
        Err(error) => error.into(),
    }
}
