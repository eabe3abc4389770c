//! The pages of the error codes, where the `type` of every problem leads.

use axum::response::{IntoResponse, Response};
use http::header;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::path::ErrorPath;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_error_page))
}

/// Read what an error code means.
///
/// What happened, why, and how to fix it.
#[utoipa::path(
    get, path = "/api/v1/errors/{code}", tag = "meta", params(ErrorPath), security(()),
    responses(
        (status = 200, description = "The page of the code.", body = String, content_type = "text/markdown"),
        (status = 404, description = "`route-not-found`"),
    ),
)]
async fn get_error_page(path: ErrorPath) -> Response {
    ([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], path.code.page()).into_response()
}
