//! Callbacks: a caller who does not wait for an answer may name a URL that is told of it.
//!
//! The answer and the event that tells it become durable in the same transaction, so the URL hears of every end of a call
//! that it was named for, and of none that has not ended, unless somebody takes the event back. It hears at least once;
//! `webhook-id` is the same each time.
//!
//! `target` checks URLs, `signature` signs, `sender` sends. What is sent is a CloudEvent (version 1.0, structured), signed
//! as Standard Webhooks 1.0 has it.

mod sender;
mod signature;
mod target;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::EventCall;
use crate::event::{Cause, EventKind, Lane, NewEvent};

pub use sender::Callbacks;
pub(crate) use target::check;

/// The header of a request that names the URL.
pub const HEADER: &str = "picloud-callback";

/// The name of the app's secret with which callbacks are signed. An app without it has no callbacks.
pub const SECRET: &str = "callback";

/// The `type` of what is sent.
const TYPE: &str = "picloud.execution.done";

/// To how many hosts callbacks of an app are sent at the same time.
pub(crate) const HOSTS_AT_ONCE: usize = 3;

/// How often it is sent at most: with the waits between, for up to three hours and about half of that on average.
const ATTEMPTS: u32 = 15;

/// The data of such an event.
#[derive(Debug, Serialize, Deserialize)]
struct Callback {
    url: String,
    /// Whose answer it tells.
    execution: Uuid,
}

/// The event that tells `url` how a call has ended, which waits as `call` and is not an event of a script itself.
pub(crate) fn event(call: &NewEvent, url: &str, now_ms: u64) -> NewEvent {
    let callback = Callback { url: url.to_owned(), execution: call.id };
    NewEvent {
        id: Uuid::now_v7(),
        app: call.app,
        trigger: None,
        script: call.script.clone(),
        lane: Lane::Callback(target::host_of(url)),
        call: EventCall {
            id: String::new(),
            source: call.call.source.clone(),
            kind: TYPE.to_owned(),
            subject: Some(call.id.to_string()),
            time_ms: now_ms,
            // A string and an id can always be written.
            data: serde_json::to_string(&callback).unwrap_or_default().into(),
            trigger: EventKind::Callback,
        },
        due_ms: now_ms,
        max_attempts: ATTEMPTS,
        dedupe_key: None,
        cause: Cause { root: call.cause.root, parent: Some(call.id), depth: call.cause.depth },
    }
    .known_by_its_id()
}

/// What may be shown of the data of such an event: of the URL nothing behind the path, which may be a key. JSON text.
#[must_use]
pub fn outline(data: &str) -> String {
    let Ok(callback) = serde_json::from_str::<Callback>(data) else { return "null".to_owned() };
    let url = callback.url.split(['?', '#']).next().unwrap_or_default();
    serde_json::json!({ "url": url, "execution_id": callback.execution }).to_string()
}
