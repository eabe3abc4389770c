//! The policy of an app for requests to other servers, over REST.

mod body;

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use http::header;
use picloud_host::outbound::policy;
use picloud_host::problem::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{AppAdmin, Reader};
use crate::api::path::AppPath;
use crate::api::precondition::{answer, etag};
use crate::store::Precondition;
use crate::store::http_policy::tag;
use body::{Body, HttpPolicy};

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_http_policy, put_http_policy))
}

/// Get the policy of an app: which requests its scripts may send to other servers.
///
/// One that was never set has no rules.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/http-policy", tag = "http", security(("token" = ["app:{app}:read"])),
    params(AppPath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The policy.", body = HttpPolicy, headers(("ETag" = String))),
        (status = 304, description = "The policy is as the client has it."),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn get_http_policy(
    _: Reader,
    state: State,
    path: AppPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let policy = state.store.http_policy(app).await?;
    answer(&precondition, &tag(&policy), Json(HttpPolicy::from(policy)))
}

/// Replace the policy of an app.
///
/// From the answer on, it applies to calls that have not sent a request yet.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/http-policy", tag = "http", security(("token" = ["app:{app}:admin"])),
    params(
        AppPath,
        ("If-Match" = Option<String>, Header, description = "Replace only what has one of these `ETag`s."),
    ),
    request_body(description = "All that is to be allowed.", content((HttpPolicy = "application/json"))),
    responses(
        (status = 200, description = "The policy is so now, as requests are compared with it.", body = HttpPolicy,
         headers(("ETag" = String))),
        (status = 404, description = "`app-not-found`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`policy-invalid`"),
    ),
)]
async fn put_http_policy(
    _: AppAdmin,
    state: State,
    path: AppPath,
    precondition: Precondition,
    Body(new): Body,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let (store, stored): (_, policy::HttpPolicy) = (state.store, new.clone());
    let change = async move { store.put_http_policy(app, &stored, &precondition).await };
    state.publisher.change(change).await?;
    Ok(([(header::ETAG, etag(&tag(&new)))], Json(HttpPolicy::from(new))).into_response())
}
