//! What each kind of trigger needs to know, as it is stored.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use picloud_host::event::EventKind;
use picloud_host::mqtt::{MqttFilter, Qos};
use picloud_host::trigger::{DEFAULT_ATTEMPTS, MAX_ATTEMPTS, TopicFilter};
use serde::{Deserialize, Serialize};

use super::webhook::WebhookConfig;
use crate::name::Name;

/// How often an event may be tried at most.
pub const ATTEMPTS: RangeInclusive<u32> = 1..=MAX_ATTEMPTS;

/// How many events of a queue may run at the same time.
pub const CONCURRENCY: RangeInclusive<u16> = 1..=64;

/// The longest prefix of keys, in bytes: as long as the longest key that can be allowed.
const MAX_PREFIX_BYTES: usize = 4096;

/// The longest of the other texts, in bytes.
const MAX_TEXT_BYTES: usize = 1024;

/// The longest of all waits, in milliseconds: a day.
const MAX_WAIT_MS: u64 = 24 * 60 * 60 * 1000;

/// A trigger to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTrigger {
    /// The script that is called. It may be uploaded later.
    pub script: Name,
    /// What its kind needs to know.
    pub config: TriggerConfig,
    /// How often an event is tried at most: [`ATTEMPTS`].
    pub attempts: u32,
    /// One that is not enabled makes no events.
    pub enabled: bool,
    /// When a schedule is due next, in milliseconds since the Unix epoch; none when it never is, and for other kinds.
    pub next_ms: Option<u64>,
}

impl NewTrigger {
    /// A trigger that is enabled, with everything as it is when nothing else is said.
    #[must_use]
    pub fn new(script: Name, config: TriggerConfig) -> Self {
        Self { script, config, attempts: DEFAULT_ATTEMPTS, enabled: true, next_ms: None }
    }

    /// Refuse what is out of bounds. What the cron expression and the time zone of a schedule mean, and whether
    /// there is the secret of a webhook, is for others to say.
    ///
    /// # Errors
    ///
    /// What is wrong, for whoever has sent it.
    pub fn check(&self) -> Result<(), InvalidTrigger> {
        if !ATTEMPTS.contains(&self.attempts) {
            return Err(InvalidTrigger("`attempts` must be 1 to 100"));
        }
        self.config.check()
    }
}

/// Why a trigger is refused: a sentence for whoever has sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidTrigger(pub(super) &'static str);

/// What a trigger of each kind needs to know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum TriggerConfig {
    /// Changes of keys.
    Kv {
        /// What the keys start with; empty for every key.
        #[serde(default)]
        prefix: String,
        /// Which changes count, at least one.
        #[serde(default = "every_change")]
        on: BTreeSet<KeyChange>,
    },
    /// Messages that are published.
    Topic {
        /// Which topics: `+` stands for one part between `/`, `#` at the end for any number.
        topic: String,
    },
    /// A queue, whose name is the trigger's.
    Queue {
        /// How many events run at the same time: [`CONCURRENCY`].
        #[serde(default = "one")]
        concurrency: u16,
        /// How long one attempt may take, in milliseconds, if that is less than the deadline of calls.
        #[serde(default)]
        visibility_ms: Option<u64>,
        /// The wait before the second attempt, in milliseconds, which grows with each.
        #[serde(default = "a_second")]
        backoff_ms: u64,
    },
    /// The clock.
    Schedule {
        /// When, as a cron expression.
        cron: String,
        /// Whose clock: a name of the IANA database.
        #[serde(default = "utc")]
        timezone: String,
        /// What happens when it is due while its last event still waits or runs.
        #[serde(default)]
        overlap: Overlap,
        /// What happens when it was due while no server ran.
        #[serde(default)]
        missed: Missed,
        /// Each event is put off by a random time of less than this, in milliseconds.
        #[serde(default)]
        jitter_ms: u64,
        /// What the script sees.
        #[serde(default)]
        data: serde_json::Value,
    },
    /// Messages from the MQTT broker.
    Mqtt {
        /// Which topics: `+` stands for one level between `/`, `#` at the end for any number.
        topic: String,
        /// How surely the broker sends them: 0 or 1.
        #[serde(default = "at_least_once")]
        qos: Qos,
    },
    /// Requests from outside, whose senders do not wait.
    Webhook(WebhookConfig),
}

/// What happens to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyChange {
    /// A value is written.
    Set,
    /// It is deleted.
    Delete,
    /// Its time to live ends.
    Expire,
}

/// What a schedule does when it is due while its last event still waits or runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It makes no event.
    #[default]
    Skip,
    /// It makes another event.
    Queue,
}

/// What a schedule does about the times at which no server ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing.
    Skip,
    /// It makes one event for all of them.
    #[default]
    One,
    /// It makes an event for each.
    All,
}

impl TriggerConfig {
    /// The kind of the events.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Kv { .. } => EventKind::Kv,
            Self::Topic { .. } => EventKind::Topic,
            Self::Queue { .. } => EventKind::Queue,
            Self::Schedule { .. } => EventKind::Schedule,
            Self::Mqtt { .. } => EventKind::Mqtt,
            Self::Webhook(_) => EventKind::Webhook,
        }
    }

    /// Refuse what is out of bounds, as [`NewTrigger::check`] does.
    pub(in crate::store) fn check(&self) -> Result<(), InvalidTrigger> {
        let problem = match self {
            Self::Kv { prefix, .. } if prefix.len() > MAX_PREFIX_BYTES => "`prefix` is longer than any key",
            Self::Kv { on, .. } if on.is_empty() => "`on` must name a change",
            Self::Topic { topic } if TopicFilter::parse(topic).is_none() => {
                "`topic` must be 1 to 256 bytes in parts between `/`, none of them empty; a part can be `+`, the last \
                 one `#`"
            }
            Self::Mqtt { topic, .. } if MqttFilter::parse(topic).is_none() => {
                "`topic` must be 1 to 1024 bytes in levels between `/`; a level can be `+`, the last one `#`"
            }
            Self::Queue { concurrency, .. } if !CONCURRENCY.contains(concurrency) => {
                "`concurrency` must be 1 to 64"
            }
            Self::Queue { visibility_ms: Some(ms), .. } if !(1..=MAX_WAIT_MS).contains(ms) => {
                "`visibility_ms` must be 1 to 86400000"
            }
            Self::Queue { backoff_ms: ms, .. } | Self::Schedule { jitter_ms: ms, .. }
                if *ms > MAX_WAIT_MS =>
            {
                "a time is longer than a day"
            }
            Self::Schedule { cron, timezone, .. } if is_long(cron) || is_long(timezone) => {
                "a text is too long"
            }
            Self::Webhook(webhook) => return webhook.scheme().map(drop),
            _ => return Ok(()),
        };
        Err(InvalidTrigger(problem))
    }
}

fn is_long(text: &str) -> bool {
    text.len() > MAX_TEXT_BYTES
}

fn every_change() -> BTreeSet<KeyChange> {
    [KeyChange::Set, KeyChange::Delete, KeyChange::Expire].into()
}

fn at_least_once() -> Qos {
    Qos::AtLeastOnce
}

fn one() -> u16 {
    1
}

fn a_second() -> u64 {
    1000
}

fn utc() -> String {
    "UTC".to_owned()
}
