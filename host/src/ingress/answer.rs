//! The outcome of a call becomes an HTTP answer, with headers that tell what it cost.

use std::fmt::Write as _;

use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue};

use crate::call::{Answer, Cost, ExecRequest, Outcome};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The answer to a call over HTTP, or what it would be for another call.
#[must_use]
pub fn respond(request: &ExecRequest, outcome: &Outcome) -> Response {
    let mut answer = Answer::of_call(request, &outcome.result, outcome.fuel());
    if let Ok(timing) = HeaderValue::try_from(server_timing(&outcome.cost)) {
        answer.headers.insert(SERVER_TIMING, timing);
    }
    answer.into_response()
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
