//! The server itself, as far as everybody may know it.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_server))
}

/// What there is to know of the server.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Server {
    /// Where scripts are, without a slash at the end: paths such as the `url` of a script go behind it. Null if they are where
    /// the API is and nothing else is configured.
    #[schema(example = "https://pi.example")]
    public_url: Option<String>,
}

/// Read where scripts are called.
#[utoipa::path(
    get, path = "/api/v1/server", tag = "meta", security(()),
    responses((status = 200, description = "What there is to know of the server.", body = Server)),
)]
async fn get_server(state: State) -> Json<Server> {
    Json(Server { public_url: state.public_url.as_deref().map(str::to_owned) })
}
