//! The pages of the error codes, where the `type` of every problem leads.

use axum::response::{IntoResponse, Response};
use http::header;
use http::request::Parts;
use picloud_host::problem::{Code, Problem};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::path::parameters;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_error_page))
}

/// Which error.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct ErrorPath {
    /// The `code` of a problem.
    #[param(example = "script-not-found")]
    code: String,
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
async fn get_error_page(mut parts: Parts) -> Result<Response, Problem> {
    let path: ErrorPath = parameters(&mut parts).await?;
    let code = Code::try_from(path.code)
        .map_err(|_| Problem::new(Code::RouteNotFound).detail("There is no such error code."))?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], code.page()).into_response())
}
