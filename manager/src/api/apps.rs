//! Apps over REST.

use axum::Json;
use jiff::Timestamp;
use picloud_host::problem::{Code, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::Admin;
use crate::api::path::AppPath;
use crate::api::query::{List, PageQuery, Query};
use crate::name::Name;
use crate::store::app;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_apps)).routes(routes!(get_app))
}

/// An app: what owns scripts, keys and quotas.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct App {
    /// Its name.
    name: String,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<app::App> for App {
    fn from(app: app::App) -> Self {
        Self { name: app.name, created_at: timestamp(app.created_ms) }
    }
}

/// List the apps, in the order of their names.
#[utoipa::path(
    get, path = "/api/v1/apps", tag = "apps", params(PageQuery),
    responses((status = 200, description = "A page of the list.", body = List<App>)),
)]
async fn list_apps(
    _: Admin,
    state: State,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<App>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|name| Name::parse(name).ok())?);
    let apps = state.store.apps(after.as_ref(), limit + 1).await?;
    Ok(Json(List::new(apps, limit, |app| app.name.clone())))
}

/// Get an app.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}", tag = "apps", params(AppPath),
    responses(
        (status = 200, description = "The app.", body = App),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn get_app(_: Admin, state: State, path: AppPath) -> Result<Json<App>, Problem> {
    let app = state.store.app(&path.app).await?.ok_or_else(|| Problem::new(Code::AppNotFound))?;
    Ok(Json(app.into()))
}

/// A moment as the database has it, as documents show it.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}
