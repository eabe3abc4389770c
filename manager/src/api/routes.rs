//! Routes over REST: which requests an app takes beside those for its scripts.

pub(in crate::api) mod body;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use picloud_host::call::AppId;
use picloud_host::problem::{Code, Problem};
use picloud_host::route::{Access, RouteConfig};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{AppAdmin, Reader};
use crate::api::path::{AppPath, RoutePath};
use crate::api::precondition::{answer, etag};
use crate::api::query::{List, PageQuery, Query};
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::store::Precondition;
use crate::store::route::{MayClaim, StoredRoute};
use crate::store::script::Put;
use body::{Body, RouteBody};

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_routes)).routes(routes!(get_route, put_route, delete_route))
}

/// A route.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
pub(crate) struct Shown {
    /// Its name, unique in the app.
    name: String,
    #[serde(flatten)]
    #[schema(value_type = RouteBody)]
    config: RouteConfig,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<StoredRoute> for Shown {
    fn from(stored: StoredRoute) -> Self {
        Self {
            created_at: timestamp(stored.created_ms),
            updated_at: timestamp(stored.updated_ms),
            name: stored.name,
            config: stored.config,
        }
    }
}

/// List the routes of an app, by name.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/routes", tag = "routes", security(("token" = ["app:{app}:read"])),
    params(AppPath, PageQuery),
    responses(
        (status = 200, description = "A page of the list.", body = List<Shown>),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_routes(
    _: Reader,
    state: State,
    path: AppPath,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Shown>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|cursor| Name::parse(cursor).ok())?);
    let app = state.app_id(&path.app).await?;
    let routes = state.store.routes(app, after.as_ref(), limit + 1).await?;
    Ok(Json(List::new(routes, limit, |route: &StoredRoute| route.name.clone())))
}

/// Get a route.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/routes/{name}", tag = "routes", security(("token" = ["app:{app}:read"])),
    params(RoutePath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The route.", body = Shown, headers(("ETag" = String))),
        (status = 304, description = "The route is as the client has it."),
        (status = 404, description = "`app-not-found`, `route-unknown`"),
    ),
)]
async fn get_route(
    _: Reader,
    state: State,
    path: RoutePath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let found = state.store.route(app, &path.name).await?.ok_or_else(|| Problem::new(Code::RouteUnknown))?;
    let tag = found.tag();
    answer(&precondition, &tag, Json(Shown::from(found)))
}

/// Make a route, or give it another form.
///
/// From the answer on, requests are compared with it as it is now. Paths that begin with the app's name are the app's own; a
/// host, or what begins with something else, is given to it with the scope `admin` by the first route there.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/routes/{name}", tag = "routes", security(("token" = ["app:{app}:admin"])),
    params(
        RoutePath,
        ("If-Match" = Option<String>, Header, description = "Replace only what has one of these `ETag`s."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
    ),
    request_body(description = "What it is to be.", content((RouteBody = "application/json"))),
    responses(
        (status = 201, description = "The route is new.", body = Shown,
         headers(("ETag" = String), ("Location" = String))),
        (status = 200, description = "The route is so now.", body = Shown, headers(("ETag" = String))),
        (status = 400, description = "`name-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 409, description = "`route-conflict`, `too-many-routes`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`route-invalid`"),
    ),
)]
async fn put_route(
    who: AppAdmin,
    state: State,
    path: RoutePath,
    precondition: Precondition,
    Body(config): Body,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let invalid = |detail: String| Problem::new(Code::RouteInvalid).detail(detail);
    let route = config.understood(app, path.app.as_str(), path.name.as_str()).map_err(invalid)?;
    body::check_address(&route).map_err(invalid)?;
    check_secret(&state, app, &route.access).map_err(invalid)?;
    let location = format!("/api/v1/apps/{}/routes/{}", path.app, path.name);
    let may_claim = if who.caller.may_all() { MayClaim::Anything } else { MayClaim::Nothing };
    let store = state.store;
    let change = async move { store.put_route(&route, &config, may_claim, &precondition).await };
    let (put, stored) = state.publisher.change(change).await?;
    let answer = ([(header::ETAG, etag(&stored.tag()))], Json(Shown::from(stored)));
    Ok(match put {
        Put::Created => (StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response(),
        Put::Replaced | Put::Unchanged => answer.into_response(),
    })
}

/// A route without its secret would refuse everything: who sets it up should know at once.
pub(in crate::api) fn check_secret(state: &State, app: AppId, access: &Access) -> Result<(), String> {
    let Some(name) = access.secret() else { return Ok(()) };
    let set = state.active.current();
    match set.app(app).and_then(|app| app.secrets.0.get(name)) {
        Some(Some(_)) => Ok(()),
        Some(None) => Err(format!("access: the secret {name} cannot be read: set it again")),
        None => Err(format!("access: the app has no secret {name}: set it first")),
    }
}

/// Delete a route.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/routes/{name}", tag = "routes", security(("token" = ["app:{app}:admin"])),
    params(
        RoutePath,
        ("If-Match" = Option<String>, Header, description = "Delete only what has one of these `ETag`s."),
    ),
    responses(
        (status = 204, description = "The route is gone."),
        (status = 404, description = "`app-not-found`, `route-unknown`"),
        (status = 412, description = "`precondition-failed`"),
    ),
)]
async fn delete_route(
    _: AppAdmin,
    state: State,
    path: RoutePath,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    let app = state.app_id(&path.app).await?;
    let store = state.store;
    state.publisher.change(async move { store.delete_route(app, &path.name, &precondition).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
