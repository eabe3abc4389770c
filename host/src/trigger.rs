//! Triggers as the data plane knows them: which change and which message makes an event for which script.

mod signature;
mod webhook;

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::call::{AppId, EventCall};
use crate::event::{Cause, EventKind, Lane, NewEvent, TriggerId};
use crate::mqtt::{MqttFilter, Qos};
use crate::ports::{KvEntry, KvValue, KvWrite};
use crate::wildcard;

pub use signature::{SignatureClaim, signature_header};
pub use webhook::{SignatureEncoding, Webhook, WebhookScheme};

/// How often an event is tried when nothing else is said.
pub const DEFAULT_ATTEMPTS: u32 = 5;

/// Most attempts that can be asked for.
pub const MAX_ATTEMPTS: u32 = 100;

/// The furthest that an event may be put off: a hundred years, in milliseconds.
pub const MAX_DELAY_MS: u64 = 36_525 * 24 * 60 * 60 * 1000;

/// The longest dedupe key, in bytes.
pub const MAX_DEDUPE_KEY_BYTES: usize = 256;

/// The triggers of one app.
#[derive(Debug, Clone, Default)]
pub struct AppTriggers {
    /// Those that look at keys.
    pub kv: Vec<KvTrigger>,
    /// Those that subscribe to topics.
    pub topics: Vec<TopicTrigger>,
    /// Those that subscribe at the MQTT broker.
    pub mqtt: Vec<MqttTrigger>,
    /// Queues, by name.
    pub queues: HashMap<Arc<str>, Queue>,
    /// Webhooks, by name.
    pub webhooks: HashMap<Arc<str>, Webhook>,
}

/// A trigger with what all kinds have.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its identity in storage.
    pub id: TriggerId,
    /// The name of the app.
    pub app: Arc<str>,
    /// The script that is called.
    pub script: Arc<str>,
    /// How often an event is tried at most.
    pub attempts: u32,
}

/// Makes an event of each change of a key that starts with a prefix.
#[derive(Debug, Clone)]
pub struct KvTrigger {
    /// What is called.
    pub target: Target,
    /// What the keys start with; empty for every key.
    pub prefix: Arc<str>,
    /// Which changes count.
    pub on: KvChanges,
}

/// Which changes of keys count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvChanges {
    /// A value was written.
    pub set: bool,
    /// A key was deleted.
    pub delete: bool,
    /// A key's time to live has ended.
    pub expire: bool,
}

/// What happened to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvChange {
    /// A value was written.
    Set,
    /// It was deleted.
    Delete,
    /// Its time to live has ended.
    Expire,
}

impl KvChange {
    fn word(self) -> &'static str {
        match self {
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Expire => "expire",
        }
    }
}

/// Makes an event of each message whose topic matches.
#[derive(Debug, Clone)]
pub struct TopicTrigger {
    /// What is called.
    pub target: Target,
    /// Which topics.
    pub filter: TopicFilter,
}

/// Makes an event of each message from the MQTT broker whose topic matches.
#[derive(Debug, Clone)]
pub struct MqttTrigger {
    /// What is called.
    pub target: Target,
    /// Which topics.
    pub filter: MqttFilter,
    /// How surely the broker sends them.
    pub qos: Qos,
}

/// A queue: events wait in a lane of their own, and only so many run at the same time.
#[derive(Debug, Clone)]
pub struct Queue {
    /// What is called.
    pub target: Target,
    /// How many events run at the same time.
    pub concurrency: usize,
    /// How long one attempt may take, in milliseconds, if that is less than the deadline of calls.
    pub visibility_ms: Option<u64>,
    /// The wait before the second attempt, in milliseconds, which grows with each.
    pub backoff_ms: u64,
}

/// Which topics: parts between `/`, of which `+` stands for any one and a `#` at the end for any number, none included.
/// As in MQTT 5, section 4.7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFilter(Arc<str>);

/// The longest topic and the longest filter, in bytes.
pub const MAX_TOPIC_BYTES: usize = 256;

/// Whether a text is the name of a topic.
#[must_use]
pub fn is_topic(text: &str) -> bool {
    text.len() <= MAX_TOPIC_BYTES && text.split('/').all(|part| is_plain(part) && !part.contains(['+', '#']))
}

fn is_plain(part: &str) -> bool {
    !part.is_empty() && !part.chars().any(char::is_control)
}

impl TopicFilter {
    /// Read a filter; none when it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let fine = text.len() <= MAX_TOPIC_BYTES && text.split('/').all(is_plain);
        (fine && wildcard::are_in_place(text)).then(|| Self(text.into()))
    }

    /// Whether a topic is meant.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        wildcard::fits(&self.0, topic)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A message for whoever subscribes to its topic.
#[derive(Debug, Clone)]
pub struct Message {
    /// The topic.
    pub topic: String,
    /// What the scripts see; its kind is replaced.
    pub call: EventCall,
}

impl Target {
    /// An event for this trigger, due now.
    #[must_use]
    pub fn event(&self, app: AppId, lane: Lane, call: EventCall, cause: Cause, now_ms: u64) -> NewEvent {
        NewEvent {
            id: Uuid::now_v7(),
            app,
            trigger: Some(self.id),
            script: self.script.clone(),
            lane,
            call,
            due_ms: now_ms,
            max_attempts: self.attempts,
            dedupe_key: None,
            cause,
        }
    }

    fn script_lane(&self) -> Lane {
        Lane::Script(self.script.clone())
    }
}

impl AppTriggers {
    /// Whether any trigger looks at a key.
    #[must_use]
    pub fn watches(&self, key: &str) -> bool {
        self.kv.iter().any(|trigger| key.starts_with(&*trigger.prefix))
    }

    /// The events of one change of a key. `old` is what it was before, if it was anything.
    #[must_use]
    pub fn of_change(
        &self,
        app: AppId,
        key: &str,
        change: KvChange,
        values: (Option<&KvEntry>, Option<&KvWrite>),
        (cause, now_ms): (Cause, u64),
    ) -> Vec<NewEvent> {
        let triggers = self.kv.iter().filter(|trigger| {
            key.starts_with(&*trigger.prefix)
                && match change {
                    KvChange::Set => trigger.on.set,
                    KvChange::Delete => trigger.on.delete,
                    KvChange::Expire => trigger.on.expire,
                }
        });
        let mut data = None;
        triggers
            .map(|trigger| {
                let data: &Arc<str> = data.get_or_insert_with(|| change_data(key, change, values).into());
                let data = data.clone();
                let call = EventCall {
                    id: String::new(),
                    source: format!("/{}/kv", trigger.target.app),
                    kind: format!("picloud.kv.{}", change.word()),
                    subject: Some(key.to_owned()),
                    time_ms: now_ms,
                    data,
                    trigger: EventKind::Kv,
                };
                trigger.target.event(app, trigger.target.script_lane(), call, cause, now_ms).known_by_its_id()
            })
            .collect()
    }

    /// The events of a message: one for each trigger that subscribes to its topic.
    #[must_use]
    pub fn of_message(&self, app: AppId, message: &Message, cause: Cause, now_ms: u64) -> Vec<NewEvent> {
        let subscribers = self.topics.iter().filter(|trigger| trigger.filter.matches(&message.topic));
        subscribers
            .map(|trigger| {
                let call = EventCall { trigger: EventKind::Topic, ..message.call.clone() };
                trigger.target.event(app, trigger.target.script_lane(), call, cause, now_ms)
            })
            .collect()
    }
}

impl AppTriggers {
    /// The events of a message from the MQTT broker: one for each trigger whose filter matches its topic.
    #[must_use]
    pub fn of_mqtt(
        &self,
        app: AppId,
        topic: &str,
        call: &EventCall,
        cause: Cause,
        now_ms: u64,
    ) -> Vec<NewEvent> {
        let subscribers = self.mqtt.iter().filter(|trigger| trigger.filter.matches(topic));
        subscribers
            .map(|MqttTrigger { target, .. }| {
                target.event(app, target.script_lane(), call.clone(), cause, now_ms)
            })
            .collect()
    }
}

/// `{"after", "before", "change", "key"}`: values as they are, blobs as `{"base64": ...}`, null for what is not there. Not
/// `new`, which scripts could not write after a dot.
fn change_data(key: &str, change: KvChange, (before, after): (Option<&KvEntry>, Option<&KvWrite>)) -> String {
    let value = |value: Option<&KvValue>| match value {
        None => "null".to_owned(),
        // Whatever is stored has been checked to be JSON; a row that is damaged must not damage the event.
        Some(KvValue::Json(text)) => {
            serde_json::from_str::<&RawValue>(text).map_or("null", RawValue::get).into()
        }
        Some(KvValue::Blob(bytes)) => serde_json::json!({ "base64": BASE64.encode(bytes) }).to_string(),
    };
    let (before, after) = (value(before.map(|entry| &entry.value)), value(after.map(|write| &write.value)));
    let key = serde_json::Value::from(key);
    format!(r#"{{"after":{after},"before":{before},"change":"{}","key":{key}}}"#, change.word())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(filter: &str, topic: &str) -> bool {
        TopicFilter::parse(filter).unwrap().matches(topic)
    }

    #[test]
    fn filters_match_as_in_mqtt() {
        for (filter, topic) in [
            ("a/b", "a/b"),
            ("a/+", "a/b"),
            ("+/+", "a/b"),
            ("#", "a/b/c"),
            ("a/#", "a"),
            ("a/#", "a/b/c"),
            ("a/+/#", "a/b"),
        ] {
            assert!(matches(filter, topic), "{filter} {topic}");
        }
        for (filter, topic) in [("a/b", "a"), ("a", "a/b"), ("a/+", "a"), ("+", "a/b"), ("a/+/#", "a")] {
            assert!(!matches(filter, topic), "{filter} {topic}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for text in ["", "/", "a/", "a//b", "a#", "#/a", "a+/b", "a\u{0}b", &"a".repeat(257)] {
            assert_eq!(TopicFilter::parse(text), None, "{text:?}");
        }
        assert!(is_topic("home/kitchen"));
        for text in ["", "a/+", "#", "a//b", "a\n"] {
            assert!(!is_topic(text), "{text:?}");
        }
    }

    #[test]
    fn a_change_is_told_as_json() {
        let old = KvEntry { value: KvValue::Json("1.50".into()), version: 3, expires_ms: None };
        let new = KvWrite { value: KvValue::Blob(b"\0".as_slice().into()), expires_ms: None };
        assert_eq!(
            change_data("a\"b", KvChange::Set, (Some(&old), Some(&new))),
            r#"{"after":{"base64":"AA=="},"before":1.50,"change":"set","key":"a\"b"}"#
        );
        assert_eq!(
            change_data("k", KvChange::Delete, (None, None)),
            r#"{"after":null,"before":null,"change":"delete","key":"k"}"#
        );
    }
}
