//! The events of one call, kept until it succeeds, and their bounds.

use std::sync::Arc;

use picloud_sdk_wit::picloud::sdk::mqtt;
use picloud_sdk_wit::picloud::sdk::triggers::{Error, Options};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::active::ActiveSet;
use crate::call::{AppId, EventCall, ExecRequest};
use crate::event::{Cause, EventKind, EventOp, EventState, Lane, NewEvent, StoredEvent};
use crate::limits::Limits;
use crate::mqtt::OutgoingMessage;
use crate::ports::StoreError;
use crate::services::{Services, bound};
use crate::trigger::{
    DEFAULT_ATTEMPTS, MAX_ATTEMPTS, MAX_DEDUPE_KEY_BYTES, MAX_DELAY_MS, MAX_TOPIC_BYTES, Message, is_topic,
};

/// Makes events, takes them back, and looks for them.
pub(crate) struct TriggersSession {
    services: Services,
    /// None while a script is loaded.
    caller: Option<Caller>,
    limits: Arc<Limits>,
    /// The active set when the call first needed it: what it sees of queues and subscriptions does not change.
    set: Option<Arc<ActiveSet>>,
    ops: Vec<EventOp>,
    count: u64,
    bytes: u64,
}

/// The changes of events at one moment.
pub(crate) struct Savepoint(Vec<EventOp>);

/// Who makes the events.
struct Caller {
    id: AppId,
    app: Arc<str>,
    script: Arc<str>,
    cause: Cause,
}

impl TriggersSession {
    /// The session of a call; without one, of a load.
    pub(crate) fn new(services: &Services, request: Option<&ExecRequest>, limits: Arc<Limits>) -> Self {
        let caller = request.map(|request| Caller {
            id: request.script.app_id,
            app: request.script.app.clone(),
            script: request.script.script.clone(),
            cause: request.cause(),
        });
        Self { services: services.clone(), caller, limits, set: None, ops: Vec::new(), count: 0, bytes: 0 }
    }

    /// What to commit.
    pub(crate) fn into_ops(self) -> Vec<EventOp> {
        self.ops
    }

    /// Change places with the session of another call of the same tree. Who makes the events stays.
    pub(crate) fn exchange(&mut self, other: &mut Self) {
        std::mem::swap(self, other);
        std::mem::swap(&mut self.caller, &mut other.caller);
    }

    /// What is to change up to now.
    pub(crate) fn savepoint(&self) -> Savepoint {
        Savepoint(self.ops.clone())
    }

    /// Forget what was to change since then. What was counted stays counted.
    pub(crate) fn undo_to(&mut self, savepoint: Savepoint) {
        self.ops = savepoint.0;
    }

    /// What is to change up to now, in this order.
    pub(in crate::services) fn ops(&self) -> &[EventOp] {
        &self.ops
    }

    /// Whether the call has used this service at all.
    pub(crate) fn is_used(&self) -> bool {
        self.count > 0
    }

    /// Count an operation against the limit.
    pub(super) fn count(&mut self) -> Result<(), Error> {
        self.count_many(1)
    }

    fn count_many(&mut self, more: usize) -> Result<(), Error> {
        if self.caller.is_none() {
            return Err(Error::NoCall);
        }
        self.count = self.count.saturating_add(more as u64);
        if self.count > self.limits.events {
            return Err(Error::TooManyEvents(bound(self.limits.events)));
        }
        Ok(())
    }

    fn count_bytes(&mut self, events: &[NewEvent]) -> Result<(), Error> {
        let bytes: u64 = events.iter().map(|event| event.call.data.len() as u64).sum();
        self.bytes = self.bytes.saturating_add(bytes);
        match self.bytes > self.limits.event_call_bytes {
            true => Err(Error::TooManyBytes(bound(self.limits.event_call_bytes))),
            false => Ok(()),
        }
    }

    /// Publish to a topic. Returns how many events there are.
    pub(super) fn emit(
        &mut self,
        topic: String,
        kind: Option<String>,
        data: String,
        now_ms: u64,
    ) -> Result<u32, Error> {
        self.count()?;
        if !is_topic(&topic) || kind.as_ref().is_some_and(|kind| kind.len() > MAX_TOPIC_BYTES) {
            return Err(Error::TopicInvalid);
        }
        let data = self.data(data)?;
        let Some(caller) = &self.caller else { return Err(Error::NoCall) };
        let (id, cause) = (caller.id, caller.cause);
        let call = EventCall {
            subject: Some(topic.clone()),
            ..caller.call(kind.unwrap_or_else(|| "picloud.topic".into()), EventKind::Topic, data, now_ms)
        };
        let set = self.set();
        let Some(triggers) = set.triggers.get(&id) else { return Ok(0) };
        let events = triggers.of_message(id, &Message { topic, call }, cause, now_ms);
        // The first one is counted already.
        self.count_many(events.len().saturating_sub(1))?;
        self.count_bytes(&events)?;
        let count = u32::try_from(events.len()).unwrap_or(u32::MAX);
        self.ops.extend(events.into_iter().map(|event| EventOp::Insert(Box::new(event))));
        Ok(count)
    }

    /// Add an event to a queue, or for a script.
    pub(super) fn enqueue(
        &mut self,
        target: &str,
        data: String,
        options: Options,
        now_ms: u64,
    ) -> Result<Uuid, Error> {
        self.count()?;
        let Options { delay_ms, dedupe_key, attempts } = options;
        if delay_ms > MAX_DELAY_MS {
            return Err(Error::TimeInvalid);
        }
        if dedupe_key.as_ref().is_some_and(|key| key.is_empty() || key.len() > MAX_DEDUPE_KEY_BYTES) {
            return Err(Error::DedupeKeyInvalid);
        }
        if attempts.is_some_and(|attempts| !(1..=MAX_ATTEMPTS).contains(&attempts)) {
            return Err(Error::AttemptsInvalid);
        }
        let data = self.data(data)?;
        let Some(caller) = &self.caller else { return Err(Error::NoCall) };
        let call = caller.call("picloud.queue".into(), EventKind::Queue, data, now_ms);
        let (id, cause) = (caller.id, caller.cause);
        let set = self.set();
        let event = set.event_for(id, target, call, cause, now_ms);
        let mut event = event.ok_or_else(|| Error::TargetUnknown(excerpt(target)))?;
        self.count_bytes(std::slice::from_ref(&event))?;
        event.due_ms = now_ms.saturating_add(delay_ms);
        event.dedupe_key = dedupe_key.map(Into::into);
        event.max_attempts = attempts.unwrap_or(event.max_attempts);
        Ok(self.keep(event))
    }

    /// Call a script once at a time.
    pub(super) fn schedule(
        &mut self,
        script: &str,
        at_ms: u64,
        data: String,
        now_ms: u64,
    ) -> Result<Uuid, Error> {
        self.count()?;
        if at_ms > now_ms.saturating_add(MAX_DELAY_MS) {
            return Err(Error::TimeInvalid);
        }
        let data = self.data(data)?;
        let Some(caller) = &self.caller else { return Err(Error::NoCall) };
        let call = caller.call("picloud.timer".into(), EventKind::Timer, data, now_ms);
        let (id, cause) = (caller.id, caller.cause);
        let event = self.set().event_for_script(id, script, call, cause, now_ms);
        let mut event = event.ok_or_else(|| Error::TargetUnknown(excerpt(script)))?;
        self.count_bytes(std::slice::from_ref(&event))?;
        event.due_ms = at_ms.max(now_ms);
        Ok(self.keep(event))
    }

    /// Count a message for the MQTT broker against the limit: it is an event.
    pub(in crate::services) fn count_message(&mut self) -> Result<(), mqtt::Error> {
        self.count().map_err(of_publish)
    }

    /// Publish a message to the MQTT broker. The caller has counted it.
    pub(in crate::services) fn publish(
        &mut self,
        message: &OutgoingMessage,
        now_ms: u64,
    ) -> Result<Uuid, mqtt::Error> {
        if !self.services.server {
            return Err(mqtt::Error::NoServer);
        }
        if !self.services.mqtt {
            return Err(mqtt::Error::NoBroker);
        }
        let too_large = mqtt::Error::PayloadTooLarge(bound(self.limits.event_bytes));
        let data = serde_json::to_string(message).map_err(|_| too_large)?;
        if data.len() as u64 > self.limits.event_bytes {
            return Err(too_large);
        }
        let Some(caller) = &self.caller else { return Err(mqtt::Error::NoCall) };
        let call = caller.call("picloud.mqtt.publish".into(), EventKind::Publish, data, now_ms);
        let event = NewEvent {
            id: Uuid::now_v7(),
            app: caller.id,
            trigger: None,
            script: caller.script.clone(),
            lane: Lane::Mqtt,
            call: EventCall { subject: Some(message.topic.clone()), ..call },
            due_ms: now_ms,
            max_attempts: DEFAULT_ATTEMPTS,
            dedupe_key: None,
            cause: caller.cause,
        };
        self.count_bytes(std::slice::from_ref(&event)).map_err(of_publish)?;
        Ok(self.keep(event))
    }

    fn keep(&mut self, event: NewEvent) -> Uuid {
        let id = event.id;
        self.ops.push(EventOp::Insert(Box::new(event.known_by_its_id())));
        id
    }

    /// Forget an event that this call has made. Whether there was one.
    pub(super) fn take_back(&mut self, wanted: Uuid) -> bool {
        let before = self.ops.len();
        self.ops.retain(|op| !matches!(op, EventOp::Insert(event) if event.id == wanted));
        self.ops.len() < before
    }

    /// Take back an event that waits. The caller has made sure of a snapshot.
    pub(super) async fn cancel(&mut self, id: Uuid) -> Result<bool, StoreError> {
        let gone = |op: &EventOp| matches!(op, EventOp::Remove { id: removed } if *removed == id);
        let Some(caller) = self.caller.as_ref().filter(|_| !self.ops.iter().any(gone)) else {
            return Ok(false);
        };
        // What was committed before is on the disk then, where it can be found.
        self.services.kv.settle().await?;
        let found = self.services.events.event(caller.id, id).await?;
        let waits = found.is_some_and(|event| event.state == EventState::Waiting);
        if waits {
            self.ops.push(EventOp::Remove { id });
        }
        Ok(waits)
    }

    /// Events for a script that wait.
    pub(super) async fn list(&self, script: &str, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let Some(caller) = &self.caller else { return Ok(Vec::new()) };
        self.services.kv.settle().await?;
        self.services.events.waiting_for(caller.id, script, limit).await
    }

    fn data(&self, data: String) -> Result<String, Error> {
        if data.len() as u64 > self.limits.event_bytes {
            return Err(Error::DataTooLarge(bound(self.limits.event_bytes)));
        }
        match serde_json::from_str::<&RawValue>(&data) {
            Ok(_) => Ok(data),
            Err(_) => Err(Error::DataInvalid),
        }
    }

    fn set(&mut self) -> Arc<ActiveSet> {
        self.set.get_or_insert_with(|| Arc::clone(&self.services.active.current())).clone()
    }
}

impl Caller {
    fn call(&self, kind: String, trigger: EventKind, data: String, now_ms: u64) -> EventCall {
        EventCall {
            id: Uuid::now_v7().to_string(),
            source: format!("/{}/{}", self.app, self.script),
            kind,
            subject: None,
            time_ms: now_ms,
            data: data.into(),
            trigger,
        }
    }
}

/// The bounds that messages share with events.
fn of_publish(error: Error) -> mqtt::Error {
    match error {
        Error::TooManyEvents(most) => mqtt::Error::TooManyEvents(most),
        Error::TooManyBytes(most) => mqtt::Error::TooManyBytes(most),
        _ => mqtt::Error::NoCall,
    }
}

/// No name of a script or of a queue is longer. Dots say that it was cut.
fn excerpt(name: &str) -> String {
    match name.floor_char_boundary(64) {
        end if end < name.len() => format!("{}…", &name[..end]),
        _ => name.to_owned(),
    }
}
