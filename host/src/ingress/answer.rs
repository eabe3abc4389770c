//! The outcome of a call becomes an HTTP answer, with headers that tell what it cost.

use std::fmt::Write as _;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode};

use crate::call::{Cost, ExecRequest, Outcome};
use crate::problem::Problem;

const EXECUTION_ID: HeaderName = HeaderName::from_static("picloud-execution-id");
const FUEL_USED: HeaderName = HeaderName::from_static("picloud-fuel-used");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The answer to a call over HTTP, or what it would be for another call.
#[must_use]
pub fn respond(request: &ExecRequest, outcome: &Outcome) -> Response {
    let mut response = match &outcome.result {
        Ok(answer) => {
            let mut response = Response::new(Body::from(answer.body.clone()));
            // Checked when the answer was made.
            *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
            *response.headers_mut() = answer.headers.clone();
            response
        }
        Err(failure) => {
            let problem = Problem::of_failure(failure, request.execution_id);
            match request.payload.request() {
                Some(call) => problem.instance(full_path(request, &call.path)),
                None => problem,
            }
            .into_response()
        }
    };
    let headers = response.headers_mut();
    let mut buffer = uuid::Uuid::encode_buffer();
    let id = request.execution_id.hyphenated().encode_lower(&mut buffer);
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(EXECUTION_ID, id);
    }
    headers.insert(FUEL_USED, HeaderValue::from(outcome.fuel()));
    if let Ok(timing) = HeaderValue::try_from(server_timing(&outcome.cost)) {
        headers.insert(SERVER_TIMING, timing);
    }
    if let Some(call) = request.payload.request()
        && let Ok(id) = HeaderValue::from_str(&call.request_id)
    {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn full_path(request: &ExecRequest, below: &str) -> String {
    format!("/{}/{}{}", request.script.app, request.script.script, if below == "/" { "" } else { below })
}

/// As in the W3C's Server Timing: durations in milliseconds.
fn server_timing(cost: &Cost) -> String {
    let mut text = String::with_capacity(64);
    for (name, us) in [("queue", cost.queue_us), ("sandbox", cost.sandbox_us), ("commit", cost.commit_us)] {
        let separator = if text.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(text, "{separator}{name};dur={}.{:03}", us / 1000, us % 1000);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_is_in_milliseconds() {
        let cost = Cost { queue_us: 5, sandbox_us: 1234, commit_us: 10_000, ..Cost::default() };
        assert_eq!(server_timing(&cost), "queue;dur=0.005, sandbox;dur=1.234, commit;dur=10.000");
    }
}
