//! Sends callbacks: builds what is told of an answer, signs it, and posts it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::future::join_all;
use http::StatusCode;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::target::{admit, reason, request};
use super::{Callback, HOSTS_AT_ONCE, TYPE};
use crate::active::Active;
use crate::call::{Answer, Failure};
use crate::delivery::{Delivered, Delivery};
use crate::event::{NewEvent, StoredEvent};
use crate::outbound::Outbound;
use crate::ports::{Answers, Clock};
use crate::problem::Code;

/// How long the other side may take to respond.
const RESPONDED_WITHIN: Duration = Duration::from_secs(15);

/// How long to wait for others that are sent.
const WAIT: Duration = Duration::from_secs(30);

/// Callbacks of an app to one host at the same time.
const AT_ONE_HOST: usize = 2;

/// Callbacks of all apps at the same time: each has a whole answer in memory.
const AT_ONCE: usize = HOSTS_AT_ONCE * AT_ONE_HOST;

/// Sends callbacks.
pub struct Callbacks {
    active: Arc<Active>,
    answers: Arc<dyn Answers>,
    outbound: Arc<Outbound>,
    clock: Arc<dyn Clock>,
    places: Semaphore,
}

impl Callbacks {
    /// Send over `outbound` what `answers` keeps, as `active` allows it.
    #[must_use]
    pub fn new(
        active: Arc<Active>,
        answers: Arc<dyn Answers>,
        outbound: Arc<Outbound>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { active, answers, outbound, clock, places: Semaphore::new(AT_ONCE) }
    }

    async fn call_back(&self, event: &NewEvent) -> Delivered {
        let Ok(_place) = timeout(WAIT, self.places.acquire()).await else { return Delivered::NotTried };
        let Ok(callback) = serde_json::from_str::<Callback>(&event.call.data) else {
            return refused("the callback is damaged in the database");
        };
        let answer = match self.answers.answer(event.app, callback.execution).await {
            Ok(Some(answer)) => answer,
            Ok(None) => return refused("the answer is not kept any more"),
            // The store has logged why.
            Err(_) => return failed("the answer cannot be read"),
        };
        match self.post(event, &callback, answer).await {
            Ok(status) if status.is_success() => Delivered::Done,
            // As Standard Webhooks have it: whoever answers so wants no more of it.
            Ok(StatusCode::GONE) => refused("the server answered 410: it wants no callbacks any more"),
            Ok(status) if status.is_redirection() => {
                failed(&format!("the server answered {}, and redirects are not followed", status.as_u16()))
            }
            Ok(status) => failed(&format!("the server answered {}", status.as_u16())),
            Err(reason) => failed(&reason),
        }
    }

    async fn post(
        &self,
        event: &NewEvent,
        callback: &Callback,
        answer: Answer,
    ) -> Result<StatusCode, String> {
        let body = message(event, callback, &answer);
        drop(answer);
        let request = {
            let set = self.active.current();
            let app = set.app(event.app).ok_or_else(|| "the app is gone".to_owned())?;
            let (id, seconds) = (&event.call.id, self.clock.now_ms() / 1000);
            admit(app, |key| {
                let headers = [
                    ("content-type", "application/cloudevents+json".to_owned()),
                    ("webhook-id", id.clone()),
                    ("webhook-timestamp", seconds.to_string()),
                    ("webhook-signature", key.sign(id, seconds, &body)),
                ];
                let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
                request(&callback.url, headers, body)
            })?
        };
        let until = Instant::now() + RESPONDED_WITHIN;
        self.outbound.tell(event.app, request, until).await.map_err(|error| reason(&error))
    }
}

#[async_trait]
impl Delivery for Callbacks {
    fn ready(&self) -> bool {
        true
    }

    fn batch(&self) -> usize {
        AT_ONE_HOST
    }

    fn deadline_ms(&self) -> u64 {
        u64::try_from((WAIT + RESPONDED_WITHIN).as_millis()).unwrap_or(u64::MAX)
    }

    async fn deliver(&self, events: &[StoredEvent]) -> Vec<Delivered> {
        join_all(events.iter().map(|stored| self.call_back(&stored.event))).await
    }
}

fn failed(message: &str) -> Delivered {
    Delivered::Failed(Failure::new(Code::CallbackFailed, message))
}

fn refused(message: &str) -> Delivered {
    Delivered::Refused(Failure::new(Code::CallbackFailed, message))
}

/// What is told: a CloudEvent.
#[derive(Serialize)]
struct Message<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: &'static str,
    subject: Uuid,
    datacontenttype: &'static str,
    data: Told<'a>,
}

#[derive(Serialize)]
struct Told<'a> {
    execution_id: Uuid,
    status: u16,
    headers: Vec<(&'a str, Cow<'a, str>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
}

/// JSON text.
fn message(event: &NewEvent, callback: &Callback, answer: &Answer) -> Vec<u8> {
    // Control characters would take six times as much.
    let body = std::str::from_utf8(&answer.body).ok();
    let body = body.filter(|text| !text.bytes().any(|byte| byte < b' ' && !b"\t\n\r".contains(&byte)));
    let headers = answer.headers.iter();
    let message = Message {
        specversion: "1.0",
        id: &event.call.id,
        source: &event.call.source,
        r#type: TYPE,
        subject: callback.execution,
        datacontenttype: "application/json",
        data: Told {
            execution_id: callback.execution,
            status: answer.status,
            headers: headers
                .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
                .collect(),
            body,
            body_base64: body.is_none().then(|| STANDARD.encode(&answer.body)),
        },
    };
    // Text and numbers can always be written.
    serde_json::to_vec(&message).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::AppId;
    use crate::event::{Cause, EventKind, Lane};

    fn told(body: &'static [u8]) -> serde_json::Value {
        let call = NewEvent {
            id: Uuid::nil(),
            app: AppId(1),
            trigger: None,
            script: "s".into(),
            lane: Lane::Script("s".into()),
            call: crate::call::EventCall {
                id: String::new(),
                source: "/a/s".into(),
                kind: String::new(),
                subject: None,
                time_ms: 0,
                data: "null".into(),
                trigger: EventKind::Http,
            },
            due_ms: 0,
            max_attempts: 1,
            dedupe_key: None,
            cause: Cause::outside(),
        };
        let event = super::super::event(&call, "https://a.org/x?key", 7);
        assert_eq!(
            (event.lane.clone(), event.call.trigger),
            (Lane::Callback("a.org".into()), EventKind::Callback)
        );
        let callback = serde_json::from_str(&event.call.data).unwrap();
        let mut headers = http::HeaderMap::new();
        headers.append("x", http::HeaderValue::from_static("1"));
        let answer = Answer { status: 201, headers, body: body.into() };
        let mut told: serde_json::Value =
            serde_json::from_slice(&message(&event, &callback, &answer)).unwrap();
        assert_eq!(told["id"], event.id.to_string());
        told["data"].take()
    }

    #[test]
    fn text_is_told_as_text_and_everything_else_in_base64() {
        let data = |name: &str, body: &str| serde_json::json!({ "execution_id": Uuid::nil(), "status": 201, "headers": [["x", "1"]], name: body });
        assert_eq!(told(b""), data("body", ""));
        assert_eq!(told("\"ü\"\n".as_bytes()), data("body", "\"ü\"\n"));
        assert_eq!(told(b"\0"), data("body_base64", "AA=="));
        assert_eq!(told(b"\xff"), data("body_base64", "/w=="));
    }
}
