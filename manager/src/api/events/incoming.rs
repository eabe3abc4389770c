//! Events that come from outside: a CloudEvent 1.0 in structured or binary form, and where it is to go.

use axum::extract::{FromRequest, Request};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use jiff::Timestamp;
use picloud_host::call::{AppId, EventCall};
use picloud_host::event::{Cause, EventKind, EventOp, NewEvent};
use picloud_host::ports::Transaction;
use picloud_host::problem::{Code, Problem};
use picloud_host::trigger::{MAX_ATTEMPTS, MAX_DEDUPE_KEY_BYTES, MAX_DELAY_MS, Message, is_topic};
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::api::State;
use crate::api::body::{app_limits, media_type, read, refuse_encoded};
use crate::api::query::{invalid, time};

/// The longest id, source, type and subject, in bytes.
const MAX_ATTRIBUTE_BYTES: usize = 1024;

/// What the structured form has beside the data, at most: bytes.
const MAX_ENVELOPE_BYTES: u64 = 16 << 10;

/// Where an event goes, and when. Without `topic`, `queue` and `script` it is published to the topic that its `type`
/// names.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Destination {
    /// Publish it to this topic.
    topic: Option<String>,
    /// Add it to this queue.
    queue: Option<String>,
    /// Let this script handle it.
    script: Option<String>,
    /// Not before so many milliseconds have passed. Not for a topic.
    delay_ms: Option<u64>,
    /// Not before this time (RFC 3339). Not for a topic.
    #[param(value_type = Option<String>, format = DateTime)]
    at: Option<String>,
    /// While an event with this key waits or runs in the same queue, this one is not added. Not for a topic.
    dedupe_key: Option<String>,
    /// How often it is tried at most, 1 to 100. Not for a topic.
    attempts: Option<u32>,
}

/// The event in a request.
#[derive(Debug)]
pub(crate) struct Incoming(pub(crate) EventCall);

impl FromRequest<State> for Incoming {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let limit = app_limits(&mut parts, state).await?.event_bytes;
        let headers = &parts.headers;
        refuse_encoded(headers, "event")?;
        let media_type = media_type(headers);
        let now_ms = state.clock.now_ms();
        let call = match media_type.as_str() {
            "application/cloudevents+json" => {
                let body = read(headers, body, limit + MAX_ENVELOPE_BYTES, Code::EventTooLarge).await?;
                structured(&body, now_ms)?
            }
            other if other.starts_with("application/cloudevents") => {
                return Err(unsupported("Send one event as application/cloudevents+json."));
            }
            other => {
                let body = read(headers, body, limit, Code::EventTooLarge).await?;
                binary(headers, data_of(other, &body)?, now_ms)?
            }
        };
        if call.data.len() as u64 > limit {
            let detail = format!("The data has {} bytes, but may have {limit}.", call.data.len());
            return Err(Problem::new(Code::EventTooLarge).detail(detail));
        }
        Ok(Self(call))
    }
}

/// JSON as it is, text as a string, anything else as `{"base64": ...}`.
fn data_of(media_type: &str, body: &[u8]) -> Result<String, Problem> {
    if body.is_empty() {
        return Ok("null".to_owned());
    }
    let is_json = media_type == "application/json" || media_type.ends_with("+json") || media_type.is_empty();
    if is_json {
        let value: Value =
            serde_json::from_slice(body).map_err(|error| bad(format!("The data is not JSON: {error}.")))?;
        return Ok(value.to_string());
    }
    match str::from_utf8(body) {
        Ok(text) if media_type.starts_with("text/") => Ok(Value::from(text).to_string()),
        _ => Ok(base64(&STANDARD.encode(body))),
    }
}

fn base64(text: &str) -> String {
    serde_json::json!({ "base64": text }).to_string()
}

/// The attributes of the structured form. Others than these are not shown to scripts.
#[derive(Deserialize)]
struct Structured {
    specversion: String,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    subject: Option<String>,
    time: Option<Timestamp>,
    data: Option<Value>,
    data_base64: Option<String>,
}

fn structured(body: &[u8], now_ms: u64) -> Result<EventCall, Problem> {
    let event: Structured =
        serde_json::from_slice(body).map_err(|error| bad(format!("The body is no CloudEvent: {error}.")))?;
    check_version(&event.specversion)?;
    let data = match (event.data, event.data_base64) {
        (Some(_), Some(_)) => return Err(bad("There is data and data_base64, but only one can be it.")),
        (Some(data), None) => data.to_string(),
        (None, Some(text)) => {
            STANDARD.decode(&text).map_err(|error| bad(format!("data_base64: {error}.")))?;
            base64(&text)
        }
        (None, None) => "null".to_owned(),
    };
    let time = event.time.map(ms).transpose()?;
    checked(event.id, event.source, event.kind, event.subject, time.unwrap_or(now_ms), data)
}

fn binary(headers: &HeaderMap, data: String, now_ms: u64) -> Result<EventCall, Problem> {
    let attribute = |name: &str| {
        let Some(value) = headers.get(format!("ce-{name}")) else { return Ok(None) };
        let text = value.to_str().map_err(|_| bad(format!("The header ce-{name} is not ASCII.")))?;
        // CloudEvents' HTTP binding, section 3.1.3.2: values are percent-encoded.
        let text = percent_encoding::percent_decode_str(text).decode_utf8();
        text.map(|text| Some(text.into_owned()))
            .map_err(|_| bad(format!("The header ce-{name} is not UTF-8.")))
    };
    let (version, id, source, kind) =
        (attribute("specversion")?, attribute("id")?, attribute("source")?, attribute("type")?);
    if let Some(version) = &version {
        check_version(version)?;
    }
    let whole = id.is_some() && source.is_some() && kind.is_some() && version.is_some();
    if version.is_some() && !whole {
        return Err(bad("Of ce-specversion, ce-id, ce-source and ce-type either all are needed or none."));
    }
    let time = attribute("time")?.map(|text| text.parse::<Timestamp>()).transpose();
    let time = time.map_err(|error| bad(format!("The header ce-time is no time: {error}.")))?;
    checked(
        id.unwrap_or_else(|| Uuid::now_v7().to_string()),
        source.unwrap_or_else(|| "/api".to_owned()),
        kind.unwrap_or_else(|| "picloud.event".to_owned()),
        attribute("subject")?,
        time.map(ms).transpose()?.unwrap_or(now_ms),
        data,
    )
}

fn check_version(version: &str) -> Result<(), Problem> {
    match version {
        "1.0" => Ok(()),
        other => Err(bad(format!("The specversion is {other:?}, but must be \"1.0\"."))),
    }
}

fn checked(
    id: String,
    source: String,
    kind: String,
    subject: Option<String>,
    time_ms: u64,
    data: String,
) -> Result<EventCall, Problem> {
    for (name, text) in [("id", &id), ("source", &source), ("type", &kind)] {
        if text.is_empty() || text.len() > MAX_ATTRIBUTE_BYTES {
            return Err(bad(format!("The {name} must have 1 to {MAX_ATTRIBUTE_BYTES} bytes.")));
        }
    }
    if subject.as_ref().is_some_and(|subject| subject.is_empty() || subject.len() > MAX_ATTRIBUTE_BYTES) {
        return Err(bad(format!("A subject must have 1 to {MAX_ATTRIBUTE_BYTES} bytes.")));
    }
    Ok(EventCall { id, source, kind, subject, time_ms, data: data.into(), trigger: EventKind::Topic })
}

fn ms(time: Timestamp) -> Result<u64, Problem> {
    u64::try_from(time.as_millisecond()).map_err(|_| bad("The time is before 1970."))
}

/// Store an event as the events that follow from it. Returns their ids.
pub(super) async fn store(
    state: &State,
    app: AppId,
    destination: Destination,
    call: EventCall,
) -> Result<Vec<Uuid>, Problem> {
    let cause = Cause::outside();
    let events = destination.events(state, app, call, cause)?;
    let ids = events.iter().map(|event| event.id).collect();
    if !events.is_empty() {
        let mut transaction = Transaction::new(app, state.kv.begin(), cause);
        transaction.events = events.into_iter().map(|event| EventOp::Insert(Box::new(event))).collect();
        state.kv.commit(transaction).await.map_err(super::removal::commit_failed)?;
    }
    Ok(ids)
}

impl Destination {
    fn events(
        self,
        state: &State,
        app: AppId,
        call: EventCall,
        cause: Cause,
    ) -> Result<Vec<NewEvent>, Problem> {
        let (set, now_ms) = (state.active.current(), state.clock.now_ms());
        let timed = self.at.is_some() || self.delay_ms.is_some();
        let event = match (&self.topic, &self.queue, &self.script) {
            (topic, None, None) => {
                if timed || self.dedupe_key.is_some() || self.attempts.is_some() {
                    return Err(invalid("delay_ms, at, dedupe_key and attempts are for a queue or a script"));
                }
                let topic = topic.clone().unwrap_or_else(|| call.kind.clone());
                if !is_topic(&topic) {
                    return Err(bad(format!("{topic:?} is not the name of a topic.")));
                }
                let subject = call.subject.clone().or_else(|| Some(topic.clone()));
                let message = Message { topic, call: EventCall { subject, ..call } };
                let triggers = set.triggers.get(&app);
                let events = triggers.map(|of| of.of_message(app, &message, cause, now_ms));
                let most = set.app(app).map_or(state.limits, |app| *app.limits).event_call_bytes;
                return within(events.unwrap_or_default(), most);
            }
            (None, Some(queue), None) => {
                let call = EventCall { trigger: EventKind::Queue, ..call };
                let known = set.triggers.get(&app).is_some_and(|t| t.queues.contains_key(&**queue));
                set.event_for(app, queue, call, cause, now_ms)
                    .filter(|_| known)
                    .ok_or_else(|| bad(format!("The app has no queue {queue:?}.")))?
            }
            (None, None, Some(script)) => {
                let kind = if timed { EventKind::Timer } else { EventKind::Queue };
                let call = EventCall { trigger: kind, ..call };
                set.event_for_script(app, script, call, cause, now_ms)
                    .ok_or_else(|| bad(format!("The app has no script {script:?}.")))?
            }
            _ => return Err(invalid("only one of topic, queue and script can be given")),
        };
        Ok(vec![self.timed(event, now_ms)?])
    }

    fn timed(self, mut event: NewEvent, now_ms: u64) -> Result<NewEvent, Problem> {
        let due_ms = match (self.at, self.delay_ms) {
            (Some(_), Some(_)) => return Err(invalid("only one of at and delay_ms can be given")),
            (Some(at), None) => time("at", &at)?.max(now_ms),
            (None, delay_ms) => now_ms.saturating_add(delay_ms.unwrap_or(0)),
        };
        if due_ms > now_ms.saturating_add(MAX_DELAY_MS) {
            return Err(invalid("that is further away than a hundred years"));
        }
        if self.attempts.is_some_and(|attempts| !(1..=MAX_ATTEMPTS).contains(&attempts)) {
            return Err(invalid(format!("attempts must be 1 to {MAX_ATTEMPTS}")));
        }
        if self.dedupe_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_DEDUPE_KEY_BYTES) {
            return Err(invalid(format!("dedupe_key must have 1 to {MAX_DEDUPE_KEY_BYTES} bytes")));
        }
        event.due_ms = due_ms;
        event.dedupe_key = self.dedupe_key.map(Into::into);
        event.max_attempts = self.attempts.unwrap_or(event.max_attempts);
        Ok(event)
    }
}

/// As many subscribers as a message has, as often its data is stored.
fn within(events: Vec<NewEvent>, limit: u64) -> Result<Vec<NewEvent>, Problem> {
    let bytes: u64 = events.iter().map(|event| event.call.data.len() as u64).sum();
    if bytes <= limit {
        return Ok(events);
    }
    let detail =
        format!("For {} subscribers it would be {bytes} bytes, and {limit} are allowed.", events.len());
    Err(Problem::new(Code::EventTooLarge).detail(detail))
}

fn unsupported(detail: &str) -> Problem {
    Problem::new(Code::MediaTypeUnsupported).detail(detail)
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Code::EventInvalid).detail(detail)
}
