//! From the broker: messages become events of whoever subscribes, and are acknowledged when these are durable.

use std::convert::Infallible;

use rumqttc::v5::AsyncClient;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Publish;
use tokio::sync::mpsc;

use super::{FIRST_WAIT, Mqtt, message};
use crate::call::AppId;
use crate::event::{Cause, EventOp, NewEvent};
use crate::ports::{CommitError, Transaction};

/// How many messages share a commit.
const BATCH: usize = 64;

impl Mqtt {
    /// Take what arrives, as long as the connection lasts.
    pub(super) async fn empty(&self, mut inbox: mpsc::Receiver<Publish>, client: &AsyncClient) -> Infallible {
        let mut messages = Vec::with_capacity(BATCH);
        while inbox.recv_many(&mut messages, BATCH).await > 0 {
            self.keep(&messages).await;
            for message in messages.drain(..).filter(|message| message.qos != QoS::AtMostOnce) {
                // It fails only when the connection is gone. Then the message comes again.
                let _ = client.ack(&message).await;
            }
        }
        std::future::pending().await
    }

    /// Make the events of messages durable, however often that takes: until then nothing is acknowledged, and the broker
    /// holds back the rest.
    async fn keep(&self, messages: &[Publish]) {
        let apps: Vec<AppId> = self.config.active.current().triggers.keys().copied().collect();
        for app in apps {
            let events: Vec<EventOp> = messages
                .iter()
                .flat_map(|message| self.events_of(app, message))
                .map(|event| EventOp::Insert(Box::new(event)))
                .collect();
            if events.is_empty() {
                continue;
            }
            loop {
                let kv = &self.config.kv;
                let mut transaction = Transaction::new(app, kv.begin(), Cause::outside());
                transaction.events = events.clone();
                match kv.commit(transaction).await {
                    // The store has logged why.
                    Err(CommitError::Store(_)) => tokio::time::sleep(FIRST_WAIT).await,
                    Ok(_) | Err(CommitError::AppGone) => break,
                    // Whoever waited for room here would hold up the messages of every other app.
                    Err(CommitError::Quota(exceeded)) => {
                        tracing::warn!(app = app.0, %exceeded, messages = messages.len(), "messages from MQTT are passed over");
                        break;
                    }
                    // It has read nothing and watches nothing.
                    Err(error) => {
                        tracing::error!(%error, messages = messages.len(), "messages from MQTT are lost");
                        break;
                    }
                }
            }
        }
    }

    /// The events that a message makes in one app.
    fn events_of(&self, app: AppId, message: &Publish) -> Vec<NewEvent> {
        let now_ms = self.config.clock.now_ms();
        let set = self.config.active.current();
        let Some(triggers) = set.triggers.get(&app).filter(|triggers| !triggers.mqtt.is_empty()) else {
            return Vec::new();
        };
        let source = self.config.broker.to_string();
        let Some((topic, call)) = message::incoming(message, &source, now_ms) else { return Vec::new() };
        let most = set.app(app).map_or(0, |app| app.limits.event_bytes);
        let events = triggers.of_mqtt(app, &topic, &call, message::cause(message), now_ms);
        if !events.is_empty() && call.data.len() as u64 > most {
            tracing::warn!(
                topic,
                bytes = call.data.len(),
                most,
                "a message from MQTT is larger than an event may be"
            );
            return Vec::new();
        }
        events
    }
}
