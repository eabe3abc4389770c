//! What happens to every answer of the control plane: panics become problems, problems say which request they are of.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use http::{HeaderValue, header};
use picloud_host::problem::{Code, Problem};

/// The middleware around every route.
pub(crate) async fn finish(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    // Whatever a panic left half done belonged to this request alone, and is dropped with it.
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|panic| {
        tracing::error!(panic = panic_message(&*panic), path, "a handler panicked");
        Problem::new(Code::Internal).into_response()
    });
    // Sources and values are whatever users uploaded: a browser must not guess that they are a page.
    // An address may have a key in it.
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    name_instance(response, path)
}

/// For paths under `/api` that are no route.
pub(crate) async fn not_found() -> Problem {
    Problem::new(Code::RouteNotFound)
}

/// For paths of the API where scripts are, if it is not.
pub(crate) async fn elsewhere() -> Problem {
    Problem::new(Code::RouteNotFound).detail("The API has an address of its own, and this is not it.")
}

/// For routes that do not have the method. The router adds the header `Allow`.
pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(Code::MethodNotAllowed)
}

/// Let the problem in a response, if there is one, say which request it is about.
fn name_instance(mut response: Response, path: String) -> Response {
    let Some(problem) = response.extensions_mut().remove::<Problem>() else { return response };
    let body = problem.instance(path).into_response().into_body();
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = body;
    response
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
