//! To the broker: what scripts have published, once it is durable.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use rumqttc::v5::mqttbytes::v5::PublishProperties;
use tokio::sync::{mpsc, oneshot};

use super::message::{OutgoingMessage, Qos, properties};
use super::{IN_FLIGHT, Mqtt};
use crate::call::Failure;
use crate::delivery::{Delivered, Delivery};
use crate::event::StoredEvent;
use crate::problem::Code;

/// How long the broker may take to acknowledge.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(20);

/// How many messages are handed over at once, so that they share commits.
const BATCH: usize = 32;

/// What a packet has besides its topic, payload and properties, in bytes; generous.
const FRAME_BYTES: usize = 64;

/// What the broker says: it has the message, or why it does not take it.
pub(super) type Acknowledged = Result<(), String>;

/// A message on its way to the connection.
pub(super) struct Letter {
    pub(super) topic: String,
    pub(super) payload: Vec<u8>,
    pub(super) qos: Qos,
    pub(super) retain: bool,
    pub(super) properties: PublishProperties,
    /// Is told what the broker says; dropped when the connection ends first.
    pub(super) done: oneshot::Sender<Acknowledged>,
}

/// The way to the connection, while there is one.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Option<Way>>);

#[derive(Clone)]
struct Way {
    letters: mpsc::Sender<Letter>,
    /// The largest packet that the broker takes, in bytes.
    largest: usize,
}

impl Outbox {
    /// A connection is there.
    pub(super) fn open(&self, largest: usize) -> mpsc::Receiver<Letter> {
        let (letters, receiver) = mpsc::channel(usize::from(IN_FLIGHT));
        self.set(Some(Way { letters, largest }));
        receiver
    }

    /// It is gone.
    pub(super) fn close(&self) {
        self.set(None);
    }

    fn set(&self, way: Option<Way>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = way;
    }

    fn way(&self) -> Option<Way> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Delivery for Mqtt {
    fn ready(&self) -> bool {
        self.is_connected()
    }

    fn batch(&self) -> usize {
        BATCH
    }

    fn deadline_ms(&self) -> u64 {
        2 * u64::try_from(ACKNOWLEDGED_WITHIN.as_millis()).unwrap_or(u64::MAX)
    }

    async fn deliver(&self, events: &[StoredEvent]) -> Vec<Delivered> {
        let Some(way) = self.outbox.way() else { return vec![Delivered::NotTried; events.len()] };
        let mut answers = Vec::with_capacity(events.len());
        for stored in events {
            answers.push(send(&way, stored).await);
        }
        let mut delivered = join_all(answers.into_iter().map(answered)).await;
        // When the connection breaks, the first of those that were under way may be why. The others keep their order.
        let lost = |delivered: &&mut Delivered| **delivered == connection_lost();
        delivered.iter_mut().filter(lost).skip(1).for_each(|delivered| *delivered = Delivered::NotTried);
        delivered
    }
}

fn failed(message: impl Into<String>) -> Delivered {
    Delivered::Failed(Failure::new(Code::MqttFailed, message))
}

fn connection_lost() -> Delivered {
    failed("the connection ended before the broker had acknowledged the message")
}

/// Hand a message to the connection. Its answer, or what is known without one.
async fn send(way: &Way, stored: &StoredEvent) -> Result<oneshot::Receiver<Acknowledged>, Delivered> {
    let event = &stored.event;
    let damaged =
        || Delivered::Failed(Failure::new(Code::Internal, "the message is damaged in the database"));
    let message: OutgoingMessage = serde_json::from_str(&event.call.data).map_err(|_| damaged())?;
    let OutgoingMessage { topic, payload, qos, retain, expiry_seconds } = message;
    let payload = payload.into_bytes().ok_or_else(damaged)?;
    let properties = properties(expiry_seconds, &event.cause);
    let carried: usize =
        properties.user_properties.iter().map(|(name, value)| name.len() + value.len() + 5).sum();
    if topic.len() + payload.len() + carried + FRAME_BYTES > way.largest {
        return Err(failed("the broker takes no message as large as this one"));
    }
    let (done, answer) = oneshot::channel();
    let letter = Letter { topic, payload, qos, retain, properties, done };
    way.letters.send(letter).await.map_err(|_| Delivered::NotTried)?;
    Ok(answer)
}

async fn answered(sent: Result<oneshot::Receiver<Acknowledged>, Delivered>) -> Delivered {
    match sent {
        Err(known) => known,
        Ok(answer) => match tokio::time::timeout(ACKNOWLEDGED_WITHIN, answer).await {
            Ok(Ok(Ok(()))) => Delivered::Done,
            Ok(Ok(Err(reason))) => failed(format!("the broker does not take the message: {reason}")),
            Ok(Err(_)) => connection_lost(),
            Err(_) => failed("the broker did not acknowledge the message in time"),
        },
    }
}
