//! Grants over REST: which directories of the host the scripts of an app may use. The operator makes them, in the
//! configuration of the server; where they are is nobody else's business.

use axum::Json;
use picloud_host::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::Reader;
use crate::api::path::AppPath;
use crate::api::query::{List, PageQuery, Query};
use crate::name::Name;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_grants))
}

/// A directory of the host that scripts may use.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Grant {
    /// Its name: what paths in `fs` start with.
    #[schema(example = "data")]
    name: String,
    /// Whether scripts may change what is in it.
    writable: bool,
}

/// List the grants of an app, by name.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/grants", tag = "grants", security(("token" = ["app:{app}:read"])), params(AppPath, PageQuery),
    responses(
        (status = 200, description = "A page of the list.", body = List<Grant>),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_grants(
    _: Reader,
    state: State,
    path: AppPath,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Grant>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|cursor| Name::parse(cursor).ok())?);
    state.app_id(&path.app).await?;
    let grants = state.grants.of_app(path.app.as_str());
    let grants = grants.filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after.as_str()));
    let grants = grants.map(|(name, grant)| Grant { name: name.to_owned(), writable: grant.writable });
    let rows = grants.take(limit as usize + 1).collect();
    Ok(Json(List::new(rows, limit, |grant: &Grant| grant.name.clone())))
}
