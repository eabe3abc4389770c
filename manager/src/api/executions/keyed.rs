//! Executions for those who have no token: the key in the address that a caller was given.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use picloud_host::problem::{Code, Problem};
use uuid::Uuid;

use crate::api::auth::key;

/// The address of an execution with the key to its answer, for whoever has made the call.
#[must_use]
pub fn execution_location(app: &str, id: Uuid, key: &str) -> String {
    format!("/api/v1/apps/{app}/executions/{id}?key={key}")
}

/// The middleware that hides what is opened by a key from those who have none.
pub(crate) async fn only_with_key(request: Request, next: Next) -> Response {
    match key(request.uri()) {
        Some(_) => next.run(request).await,
        None => Problem::new(Code::RouteNotFound).into_response(),
    }
}
