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

/// The latest moment, in milliseconds since the Unix epoch: 9999-12-30T22:00:00Z, the last full second of a
/// [`Timestamp`], whose year has four digits in every time zone, as RFC 3339 demands. Keys that are set over REST expire
/// then at the latest, and documents show it for whatever is stored as later.
pub(crate) const LATEST_MS: u64 = 253_402_207_200_000;

/// A moment as the database has it, as documents show it.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    let ms = i64::try_from(ms.min(LATEST_MS)).ok();
    ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_stored_is_shown_as_a_time() {
        assert_eq!(timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(LATEST_MS - 1).to_string(), "9999-12-30T21:59:59.999Z");
        for ms in [LATEST_MS, LATEST_MS + 1, i64::MAX.cast_unsigned(), u64::MAX] {
            let shown = timestamp(ms).to_string();
            assert_eq!(shown, "9999-12-30T22:00:00Z", "{ms}");
            assert_eq!(shown.parse::<Timestamp>().unwrap().as_second(), Timestamp::MAX.as_second());
        }
    }
}
