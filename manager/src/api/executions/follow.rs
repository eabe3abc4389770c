//! Following a call: its state as server-sent events, first as it is and then with each change, until it is done.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, stream};
use http::{HeaderMap, header};
use picloud_host::answer::Progress;
use picloud_host::follow::Following;
use picloud_host::problem::{Code, Problem};

use super::kept::AsyncCall;
use crate::api::State;
use crate::api::auth::ExecutionAccess;

/// How often something is sent while nothing changes, so that nobody between here and the client ends the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Whether a request asks for a stream of events.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|list| list.split(',')).any(|range| {
        range.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// The stream.
pub(super) async fn follow(state: State, access: ExecutionAccess) -> Result<Response, Problem> {
    // Before the look: what changes after it is told.
    let following = state.followers.follow(access.id).ok_or_else(|| {
        let detail = "As many follow a call as may.";
        Problem::new(Code::Saturated).detail(detail).retry_after(10)
    })?;
    if state.answers.call(access.app_id, access.id).await?.is_none() {
        let detail = "There is no asynchronous call with this id, or its answer is no longer kept.";
        return Err(Problem::new(Code::ExecutionNotFound).detail(detail));
    }
    let follower = Follower { state, access, following, last: None };
    Ok(Sse::new(events(follower)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

struct Follower {
    state: State,
    access: ExecutionAccess,
    following: Following,
    /// What was told last.
    last: Option<Progress>,
}

fn events(follower: Follower) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(follower, async |mut follower| {
        let call = follower.next().await?;
        let event = Event::default().event(call.state).json_data(&call).ok()?;
        Some((Ok(event), follower))
    })
}

impl Follower {
    /// The next state that is another one. None after the last, or when there is nothing more to be told here.
    async fn next(&mut self) -> Option<AsyncCall> {
        loop {
            match self.last {
                Some(Progress::Done { .. } | Progress::Cancelled) => return None,
                Some(_) if !self.following.changed().await => return None,
                _ => {}
            }
            // The store has logged why, if it failed. The client will come again.
            let call = self.state.answers.call(self.access.app_id, self.access.id).await.ok().flatten()?;
            if self.last != Some(call.progress) {
                self.last = Some(call.progress);
                return Some(AsyncCall::new(&self.access, call));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_stream_is_for_those_who_ask_for_one() {
        let wanted = |value: &'static str| {
            is_wanted(&[(header::ACCEPT, HeaderValue::from_static(value))].into_iter().collect())
        };
        assert!(wanted("text/event-stream") && wanted("application/json;q=0.5, Text/Event-Stream; q=1"));
        assert!(!wanted("*/*") && !wanted("text/*") && !is_wanted(&HeaderMap::new()));
    }
}
