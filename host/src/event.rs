//! Events as plain data: rows that become calls. What a transaction does to them is an [`EventOp`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::call::{AppId, EventCall};

/// What made an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A change of a key.
    Kv,
    /// The clock, by a schedule.
    Schedule,
    /// Somebody who published to a topic.
    Topic,
    /// Somebody who put it into a queue.
    Queue,
    /// The clock, once.
    Timer,
    /// A request from outside, whose sender does not wait.
    Webhook,
    /// A message from the MQTT broker.
    Mqtt,
    /// A message for the MQTT broker: no script sees it.
    Publish,
    /// A message to whoever is told of an answer: no script sees it.
    Callback,
    /// A request for a script whose caller fetches the answer later.
    Http,
    /// None of these: an event that was handed to a script without a server.
    #[default]
    Event,
}

impl EventKind {
    /// Every kind.
    pub const ALL: &[Self] = &[
        Self::Kv,
        Self::Schedule,
        Self::Topic,
        Self::Queue,
        Self::Timer,
        Self::Webhook,
        Self::Mqtt,
        Self::Publish,
        Self::Callback,
        Self::Http,
        Self::Event,
    ];

    /// The word used in records, metrics and storage.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Schedule => "schedule",
            Self::Topic => "topic",
            Self::Queue => "queue",
            Self::Timer => "timer",
            Self::Webhook => "webhook",
            Self::Mqtt => "mqtt",
            Self::Publish => "publish",
            Self::Callback => "callback",
            Self::Http => "http",
            Self::Event => "event",
        }
    }

    /// The kind of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == word)
    }
}

/// Identifies a trigger in storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TriggerId(pub i64);

/// The lane of messages for the broker, as it is stored.
const MQTT: &str = "mqtt";

/// Where events wait for their turn: those of one lane share a bound on how many run at the same time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Lane {
    /// Of a queue, by its name.
    Queue(Arc<str>),
    /// Of a script, by its name: everything that did not come through a queue.
    Script(Arc<str>),
    /// For the MQTT broker, in the order in which they were published.
    Mqtt,
    /// For a host that is told of answers, with its port if that is not the usual one.
    Callback(Arc<str>),
}

impl Lane {
    /// As it is stored: `queue/NAME`, `script/NAME`, `mqtt` or `callback/HOST`.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Queue(name) => format!("queue/{name}"),
            Self::Script(name) => format!("script/{name}"),
            Self::Mqtt => MQTT.to_owned(),
            Self::Callback(host) => format!("callback/{host}"),
        }
    }

    /// The inverse; none for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == MQTT {
            return Some(Self::Mqtt);
        }
        match text.split_once('/')? {
            ("queue", name) => Some(Self::Queue(name.into())),
            ("script", name) => Some(Self::Script(name.into())),
            ("callback", host) => Some(Self::Callback(host.into())),
            _ => None,
        }
    }
}

/// Where something comes from: ties a whole fan-out together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// UUIDv7 of the execution, or of the change from outside, at the root of the chain of triggers.
    pub root: Uuid,
    /// The execution that did it; none for a change from outside.
    pub parent: Option<Uuid>,
    /// The trigger depth of whoever did it: what it causes is one deeper.
    pub depth: u32,
}

impl Cause {
    /// A change that no execution made: the start of a new chain.
    #[must_use]
    pub fn outside() -> Self {
        Self { root: Uuid::now_v7(), parent: None, depth: 0 }
    }
}

/// An event to be stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewEvent {
    /// UUIDv7; the event's identity in the API.
    pub id: Uuid,
    /// Whose it is.
    pub app: AppId,
    /// The trigger that made it, if one did.
    pub trigger: Option<TriggerId>,
    /// The script to call, by name: which version it is, is decided when it runs.
    pub script: Arc<str>,
    /// Where it waits.
    pub lane: Lane,
    /// What the script sees.
    pub call: EventCall,
    /// When it may run, in milliseconds since the Unix epoch.
    pub due_ms: u64,
    /// How often it is tried at most.
    pub max_attempts: u32,
    /// While another event with this key is in the same lane, waiting or running, this one is not stored.
    pub dedupe_key: Option<Arc<str>>,
    /// Who caused it.
    pub cause: Cause,
}

impl NewEvent {
    /// Let the script see it under the id that it is stored with: for events that have no other.
    #[must_use]
    pub fn known_by_its_id(mut self) -> Self {
        self.call.id = self.id.to_string();
        self
    }

    /// The trigger depth of the call that will handle it: one more than that of whoever caused it, but a request that
    /// waits is a direct call.
    #[must_use]
    pub fn trigger_depth(&self) -> u32 {
        match self.call.trigger {
            EventKind::Http => self.cause.depth,
            _ => self.cause.depth.saturating_add(1),
        }
    }

    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        const FIXED: usize = 512;
        let call = &self.call;
        let subject = call.subject.as_ref().map_or(0, String::len);
        FIXED + call.data.len() + subject + call.source.len() + call.kind.len()
    }
}

/// An event as it is stored.
#[derive(Debug, Clone)]
pub struct StoredEvent {
    /// The event.
    pub event: NewEvent,
    /// In the order in which events were stored.
    pub seq: i64,
    /// How often it was tried.
    pub attempt: u32,
    /// Whether it waits, runs or is dead.
    pub state: EventState,
    /// Why it failed the last time.
    pub failure: Option<EventFailure>,
}

/// What an event does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// It waits until it is due and has its turn.
    Waiting,
    /// It was claimed: a call handles it.
    Running,
    /// It failed for good: a dead letter, which stays until it is replayed or purged.
    Dead,
}

impl EventState {
    /// The word used in storage and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Dead => "dead",
        }
    }

    /// The state of a word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Running, Self::Dead].into_iter().find(|state| state.as_str() == word)
    }
}

/// Why an attempt failed, as it is kept with the event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventFailure {
    /// The stable code of the failure.
    pub code: String,
    /// Its message.
    pub message: String,
    /// The execution that failed; none when there was none.
    pub execution: Option<Uuid>,
}

/// What a transaction does to one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventOp {
    /// Store a new one.
    Insert(Box<NewEvent>),
    /// A waiting event starts to run. Refused if it was touched since the transaction's snapshot.
    Claim {
        /// Which.
        id: Uuid,
        /// The number of this attempt, from 1.
        attempt: u32,
        /// When the claim ends by itself, in milliseconds since the Unix epoch, if whoever claimed it is gone.
        lease_ms: u64,
    },
    /// A running event is done and goes away. Refused unless it is claimed.
    Complete {
        /// Which.
        id: Uuid,
    },
    /// A running event waits for another attempt. Refused unless it is claimed.
    Retry {
        /// Which.
        id: Uuid,
        /// Where it waits.
        lane: Lane,
        /// When it may run again.
        due_ms: u64,
        /// How often it has been tried.
        attempt: u32,
        /// Why; what is stored stays when there is no reason.
        failure: Option<EventFailure>,
    },
    /// A running event is dead. Refused unless it is claimed.
    Bury {
        /// Which.
        id: Uuid,
        /// Why.
        failure: EventFailure,
    },
    /// An event that waits, or is dead, goes away. Refused if it was touched since the transaction's snapshot.
    Remove {
        /// Which.
        id: Uuid,
    },
    /// A dead event waits again as if it were new. Refused if it was touched since the transaction's snapshot.
    Replay {
        /// Which.
        id: Uuid,
        /// Where it waits.
        lane: Lane,
        /// When it may run.
        due_ms: u64,
    },
    /// A schedule has run up to here: the next time is this one. Does nothing when it was due at another time than is
    /// said here, because somebody has changed it meanwhile.
    Advance {
        /// Which.
        trigger: TriggerId,
        /// When it was due, in milliseconds since the Unix epoch.
        from_ms: u64,
        /// When it is due next, in milliseconds since the Unix epoch; none when never.
        next_ms: Option<u64>,
    },
}

impl EventOp {
    /// About how much memory it takes, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Insert(event) => event.size(),
            Self::Retry { failure: Some(failure), .. } | Self::Bury { failure, .. } => {
                256 + failure.message.len()
            }
            _ => 128,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_lanes_survive_their_text() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str()), Some(*kind));
        }
        let callback = Lane::Callback("[::1]:8080".into());
        for lane in [Lane::Queue("a/b".into()), Lane::Script("queue".into()), Lane::Mqtt, callback] {
            assert_eq!(Lane::parse(&lane.to_text()), Some(lane));
        }
        assert_eq!(Lane::parse("elsewhere/a"), None);
        assert_eq!(EventState::parse("running"), Some(EventState::Running));
    }
}
