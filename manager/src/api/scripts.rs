//! Scripts over REST: upload, read, list, delete.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use picloud_host::problem::{Code, Problem};
use picloud_host::route::Access;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{AppAdmin, Deployer, Reader};
use crate::api::body::Source;
use crate::api::path::{AppPath, ScriptPath};
use crate::api::precondition::{answer, etag};
use crate::api::query::{List, PageQuery, Query, invalid};
use crate::api::routes::body::{AccessBody, RouteAccess};
use crate::api::routes::check_secret;
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::scope::Permission;
use crate::store::Precondition;
use crate::store::script::{self, Put, Upload};

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(list_scripts))
        .routes(routes!(get_script, put_script, delete_script))
        .routes(routes!(get_script_source))
        .routes(routes!(put_script_access))
}

/// A script with the facts of its active version.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Script {
    /// The app that owns it.
    app: String,
    /// Its name, unique in the app.
    name: String,
    /// The number of the active version.
    version: u32,
    /// The path under which it is called, behind the `public_url` of the server.
    #[schema(example = "/default/hello")]
    url: String,
    /// It answers HTTP requests.
    handles_requests: bool,
    /// It handles events.
    handles_events: bool,
    /// SHA-256 of the source, in hexadecimal: the `ETag` without its quotes.
    source_hash: String,
    /// Length of the source in bytes.
    source_bytes: u64,
    /// Bytes of the memory image that each call starts from.
    image_bytes: u64,
    /// Fuel that compiling the source and running its top level took.
    load_fuel: u64,
    /// Who has to be there for a request to be taken.
    #[schema(value_type = RouteAccess)]
    access: Access,
    /// When the script was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When its active version last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<script::Script> for Script {
    fn from(script: script::Script) -> Self {
        Self {
            url: url(&script.app, &script.name),
            version: script.version,
            handles_requests: script.handles_requests,
            handles_events: script.handles_events,
            source_hash: script.source_hash,
            source_bytes: script.source_bytes,
            image_bytes: script.image_bytes,
            load_fuel: script.load_fuel,
            access: script.access,
            created_at: timestamp(script.created_ms),
            updated_at: timestamp(script.updated_ms),
            app: script.app,
            name: script.name,
        }
    }
}

/// The path of the route that every script has. Names need no escaping.
fn url(app: &str, name: &str) -> String {
    format!("/{app}/{name}")
}

/// List the scripts of an app, in the order of their names.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/scripts", tag = "scripts", security(("token" = ["app:{app}:read"])), params(AppPath, PageQuery),
    responses(
        (status = 200, description = "A page of the list.", body = List<Script>),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_scripts(
    _: Reader,
    state: State,
    path: AppPath,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Script>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|name| Name::parse(name).ok())?);
    let app = state.app_id(&path.app).await?;
    let scripts = state.store.scripts(app, after.as_ref(), limit + 1).await?;
    Ok(Json(List::new(scripts, limit, |script| script.name.clone())))
}

/// What goes with a source.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// What to say of the version, 1000 bytes at most.
    #[param(example = "Round prices up")]
    message: Option<String>,
}

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 1000;

/// What is said of a version, if it may be.
///
/// # Errors
///
/// `query-invalid`.
pub(in crate::api) fn check_message(message: Option<String>) -> Result<Option<String>, Problem> {
    match message {
        Some(message)
            if message.len() > MAX_MESSAGE || message.chars().any(|c| c.is_control() && c != '\n') =>
        {
            Err(invalid(format!("message must be text of {MAX_MESSAGE} bytes at most")))
        }
        message => Ok(message.filter(|message| !message.is_empty())),
    }
}

/// Create a script or give it a new source.
///
/// The source is loaded first: one that does not compile, or whose top level fails, changes nothing. A new source becomes
/// a new version, which is called from then on; calls under way end with the version they began with. Uploading the
/// active source again makes no new version. Of many versions the oldest go, as the quota `versions` says.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/scripts/{name}", tag = "scripts", security(("token" = ["app:{app}:deploy"])),
    params(
        ScriptPath, UploadQuery,
        ("If-Match" = Option<String>, Header, description = "Replace only what has one of these `ETag`s."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
    ),
    request_body(content = String, content_type = "text/plain", description = "The source, in UTF-8."),
    responses(
        (status = 200, description = "The script has the source.", body = Script, headers(("ETag" = String))),
        (status = 201, description = "The script is new.", body = Script,
         headers(("ETag" = String), ("Location" = String))),
        (status = 400, description = "`name-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`source-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`compile-failed`, `top-level-failed`, `top-level-limit`, `source-invalid`"),
    ),
)]
async fn put_script(
    who: Deployer,
    state: State,
    path: ScriptPath,
    Query(query): Query<UploadQuery>,
    precondition: Precondition,
    Source(source): Source,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let (message, author) = (check_message(query.message)?, who.caller.name());
    let keep = state.quotas_of(&path.app).versions;
    let report = state.load((app, &path.app), &source).await?;
    let upload = Upload { source, report, message, author, keep, smoke_fuel: None, activate: true };
    let store = state.store;
    let location = format!("/api/v1/apps/{}/scripts/{}", path.app, path.name);
    let change = async move { store.put_script(app, &path.name, &upload, &precondition).await };
    let (put, script) = state.publisher.change(change).await?;
    let answer = ([(header::ETAG, etag(&script.source_hash))], Json(Script::from(script)));
    Ok(match put {
        Put::Created => (StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response(),
        Put::Replaced | Put::Unchanged => answer.into_response(),
    })
}

/// Get a script.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/scripts/{name}", tag = "scripts", security(("token" = ["app:{app}:read"])),
    params(ScriptPath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The script.", body = Script, headers(("ETag" = String))),
        (status = 304, description = "The source is the one that the client has."),
        (status = 404, description = "`app-not-found`, `script-not-found`"),
    ),
)]
async fn get_script(
    _: Reader,
    state: State,
    path: ScriptPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let script =
        state.store.script(app, &path.name).await?.ok_or_else(|| Problem::new(Code::ScriptNotFound))?;
    let hash = script.source_hash.clone();
    answer(&precondition, &hash, Json(Script::from(script)))
}

/// Delete a script with all its versions.
///
/// Calls under way end as if it were still there. One that asks who calls takes the scope `app:{app}:admin`, since a new one of
/// the name would ask nobody.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/scripts/{name}", tag = "scripts", security(("token" = ["app:{app}:deploy"])),
    params(
        ScriptPath,
        ("If-Match" = Option<String>, Header, description = "Delete only what has one of these `ETag`s."),
    ),
    responses(
        (status = 204, description = "The script is gone."),
        (status = 404, description = "`app-not-found`, `script-not-found`"),
        (status = 412, description = "`precondition-failed`"),
    ),
)]
async fn delete_script(
    who: Deployer,
    state: State,
    path: ScriptPath,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    let app = state.app_id(&path.app).await?;
    let asks = state.store.script(app, &path.name).await?.is_some_and(|script| !script.access.is_none());
    if asks && !who.caller.may(path.app.as_str(), Permission::Admin) {
        let detail =
            format!("The script asks who calls: to delete it needs the scope app:{}:admin.", path.app);
        return Err(Problem::new(Code::Forbidden).detail(detail));
    }
    let store = state.store;
    let change = async move { store.delete_script(app, &path.name, &precondition).await };
    state.publisher.change(change).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get the source of a script.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/scripts/{name}/source", tag = "scripts", security(("token" = ["app:{app}:read"])),
    params(ScriptPath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The source of the active version.", body = String, content_type = "text/plain",
         headers(("ETag" = String))),
        (status = 304, description = "The source is the one that the client has."),
        (status = 404, description = "`app-not-found`, `script-not-found`"),
    ),
)]
async fn get_script_source(
    _: Reader,
    state: State,
    path: ScriptPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let source = state.store.source_of(app, &path.name, None).await?;
    let source = source.ok_or_else(|| Problem::new(Code::ScriptNotFound))?;
    answer(&precondition, &source.source_hash, source.source)
}

/// Say who has to be there for a request for a script to be taken.
///
/// It holds at `/{app}/{script}` and below it, and for every route that asks for nobody. Other scripts of the app call it as
/// before.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/scripts/{name}/access", tag = "scripts", security(("token" = ["app:{app}:admin"])),
    params(
        ScriptPath,
        ("If-Match" = Option<String>, Header, description = "Only if the script has one of these `ETag`s."),
    ),
    request_body(description = "Who has to be there.", content((RouteAccess = "application/json"))),
    responses(
        (status = 200, description = "The script.", body = Script, headers(("ETag" = String))),
        (status = 404, description = "`app-not-found`, `script-not-found`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`access-invalid`"),
    ),
)]
async fn put_script_access(
    _: AppAdmin,
    state: State,
    path: ScriptPath,
    precondition: Precondition,
    AccessBody(access): AccessBody,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let refused = |detail: String| Problem::new(Code::AccessInvalid).detail(detail);
    check_secret(&state, app, &access).map_err(refused)?;
    let store = state.store;
    let change = async move { store.put_access(app, &path.name, &access, &precondition).await };
    let script = state.publisher.change(change).await?;
    Ok(([(header::ETAG, etag(&script.source_hash))], Json(Script::from(script))).into_response())
}
