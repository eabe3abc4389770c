//! Apps over REST: create, configure, list, delete.

mod body;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use picloud_host::ingress::is_script_path;
use picloud_host::limits::{Limits, OwnLimits};
use picloud_host::problem::{Code, Problem};
use picloud_host::quota::Quotas;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{Admin, Reader, Somebody};
use crate::api::path::AppPath;
use crate::api::precondition::{answer, etag};
use crate::api::query::{List, PageQuery, Query};
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::scope::Permission;
use crate::store::Precondition;
use crate::store::app;
use crate::store::script::Put;
use body::{AppBody, Body};

pub(in crate::api) use body::check_settings;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_apps)).routes(routes!(get_app, put_app, delete_app))
}

/// An app: what owns scripts, keys and quotas.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct App {
    /// Its name.
    name: String,
    /// What it is for.
    description: String,
    /// The limits that were chosen for it. Only those can be sent back.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    limits: OwnLimits,
    /// All limits that apply to it.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    effective_limits: Limits,
    /// The quotas that were chosen for it. Only those can be sent back.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    quotas: Quotas,
    /// All quotas that apply to it; one that is not there is no bound.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    effective_quotas: Quotas,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last configured.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl App {
    pub(in crate::api) fn new(app: app::App, state: &State) -> Self {
        Self {
            effective_limits: state.limits.narrowed(&app.settings.limits),
            effective_quotas: app.settings.quotas.over(state.publisher.quotas()),
            name: app.name,
            description: app.settings.description,
            limits: app.settings.limits,
            quotas: app.settings.quotas,
            created_at: timestamp(app.created_ms),
            updated_at: timestamp(app.updated_ms),
        }
    }
}

/// List the apps that the token may read, in the order of their names.
#[utoipa::path(
    get, path = "/api/v1/apps", tag = "apps", security(("token" = [])), params(PageQuery),
    responses((status = 200, description = "A page of the list.", body = List<App>)),
)]
async fn list_apps(
    who: Somebody,
    state: State,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<App>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|name| Name::parse(name).ok())?);
    // All that come after, since the names of the others must not be told by a cursor either.
    let mut apps = state.store.apps(after.as_ref(), app::MAX_APPS).await?;
    apps.retain(|app| who.caller.may(&app.name, Permission::Read));
    apps.truncate(limit as usize + 1);
    let page = List::<app::App>::new(apps, limit, |app| app.name.clone());
    let items = page.items.into_iter().map(|app| App::new(app, &state)).collect();
    Ok(Json(List { items, next_cursor: page.next_cursor }))
}

/// Get an app.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}", tag = "apps", security(("token" = ["app:{app}:read"])),
    params(AppPath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The app.", body = App, headers(("ETag" = String))),
        (status = 304, description = "The app is as the client has it."),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn get_app(
    _: Reader,
    state: State,
    path: AppPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.store.app(&path.app).await?.ok_or_else(|| Problem::new(Code::AppNotFound))?;
    answer(&precondition, &app.tag(), Json(App::new(app, &state)))
}

/// Create an app or configure it.
///
/// What is not given is as if it had never been set. From the answer on, limits apply to new calls.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}", tag = "apps", security(("token" = ["admin"])),
    params(
        AppPath,
        ("If-Match" = Option<String>, Header, description = "Configure only what has one of these `ETag`s."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
    ),
    request_body(description = "All that is to be chosen.", content((AppBody = "application/json"))),
    responses(
        (status = 200, description = "The app is so now.", body = App, headers(("ETag" = String))),
        (status = 201, description = "The app is new.", body = App,
         headers(("ETag" = String), ("Location" = String))),
        (status = 400, description = "`name-invalid`"),
        (status = 409, description = "`too-many-apps`; `name-taken` by a route of another app"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`app-invalid`"),
    ),
)]
async fn put_app(
    _: Admin,
    state: State,
    path: AppPath,
    precondition: Precondition,
    Body(settings): Body,
) -> Result<Response, Problem> {
    check_address(&path.app)?;
    let location = format!("/api/v1/apps/{}", path.app);
    let store = state.store.clone();
    let change = async move { store.put_app(&path.app, &settings, &precondition).await };
    let (put, app) = state.publisher.change(change).await?;
    let answer = ([(header::ETAG, etag(&app.tag()))], Json(App::new(app, &state)));
    Ok(match put {
        Put::Created => (StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response(),
        Put::Replaced | Put::Unchanged => answer.into_response(),
    })
}

/// Whether requests for an app of this name would get to it.
///
/// # Errors
///
/// `name-invalid`.
pub(in crate::api) fn check_address(app: &Name) -> Result<(), Problem> {
    if is_script_path(&format!("/{app}")) {
        return Ok(());
    }
    let detail = format!("/{app} is the address of something else; an app cannot have this name.");
    Err(Problem::new(Code::NameInvalid).detail(detail))
}

/// What deleting an app asks for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeletionQuery {
    /// The app's name once more.
    #[param(example = "shop", required)]
    confirm: Option<String>,
}

/// Delete an app with everything in it.
///
/// Scripts, versions, keys, events, triggers, secrets, configuration, answers, records and tokens for it alone: nothing
/// can be had back. From the answer on nobody can reach any of it, and the name is free; calls under way change nothing
/// any more.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}", tag = "apps", security(("token" = ["admin"])),
    params(
        AppPath, DeletionQuery,
        ("If-Match" = Option<String>, Header, description = "Delete only what has one of these `ETag`s."),
    ),
    responses(
        (status = 204, description = "The app is gone."),
        (status = 400, description = "`confirmation-missing`"),
        (status = 404, description = "`app-not-found`"),
        (status = 412, description = "`precondition-failed`"),
    ),
)]
async fn delete_app(
    _: Admin,
    state: State,
    path: AppPath,
    Query(query): Query<DeletionQuery>,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    if query.confirm.as_deref() != Some(path.app.as_str()) {
        let detail = format!("Add ?confirm={} to delete the app with everything in it.", path.app);
        return Err(Problem::new(Code::ConfirmationMissing).detail(detail));
    }
    let removals = state.removals;
    state.publisher.change(async move { removals.delete(&path.app, &precondition).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
