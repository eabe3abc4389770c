//! One connection, from the first packet to its end: who reads, who writes, and which subscriptions there are.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};

use rumqttc::Outgoing;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Filter, Packet, PubAckReason, Publish, RetainForwardRule, SubscribeReasonCode,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::message::Qos;
use super::outbox::{Acknowledged, Letter};
use super::{IN_FLIGHT, Mqtt, MqttFilter};
use crate::event::Lane;

/// How a connection came to its end.
pub(super) enum Ended {
    /// It was told to stop.
    Stopped,
    /// It broke, or never came to be.
    Broken(String),
}

/// What is under way on one connection, shared by those who read from it and write to it.
#[derive(Default)]
struct Traffic {
    /// Messages handed to the client, oldest first, until it says that it has written them.
    unsent: VecDeque<oneshot::Sender<Acknowledged>>,
    /// Messages that were written, by packet id, until they are acknowledged.
    unacknowledged: HashMap<u16, oneshot::Sender<Acknowledged>>,
    /// What was asked for in each subscription whose answer has not come, oldest first.
    asked: VecDeque<Vec<MqttFilter>>,
}

/// The two ends of one connection.
struct Link<'a> {
    mqtt: &'a Mqtt,
    client: AsyncClient,
    traffic: Mutex<Traffic>,
}

impl Mqtt {
    /// Connect, and stay until it breaks or is told to stop.
    pub(super) async fn link(
        &self,
        client: AsyncClient,
        mut connection: EventLoop,
        stop: &CancellationToken,
    ) -> Ended {
        let first = tokio::select! {
            () = stop.cancelled() => return Ended::Stopped,
            first = connection.poll() => first,
        };
        let accepted = match first {
            Ok(Event::Incoming(Packet::ConnAck(accepted))) => accepted,
            Ok(_) => return Ended::Broken("the broker does not speak MQTT 5".to_owned()),
            Err(error) => return Ended::Broken(told(&error)),
        };
        let link = Link { mqtt: self, client, traffic: Mutex::default() };
        let (arrived, inbox) = mpsc::channel(usize::from(IN_FLIGHT));
        let outbox = self.outbox.open(largest(&accepted));
        tracing::info!(broker = %self.config.broker, "connected to the MQTT broker");
        let ended = tokio::select! {
            () = stop.cancelled() => Ended::Stopped,
            broken = link.read(&mut connection, arrived) => broken,
            never = self.empty(inbox, &link.client) => match never {},
            never = link.write(outbox) => match never {},
            never = link.subscribe() => match never {},
            // After the others have their turn: then there is somebody to take what is sent.
            never = self.come_up() => match never {},
        };
        self.outbox.close();
        if matches!(ended, Ended::Stopped) {
            // The broker may then think of the session as left in order. It does not matter if it does not hear of it.
            let farewell = async {
                link.client.disconnect().await.ok()?;
                while connection.poll().await.is_ok() {}
                Some(())
            };
            let _ = tokio::time::timeout(std::time::Duration::from_secs(1), farewell).await;
        }
        ended
    }

    /// Tell the dispatcher of what waits for a connection.
    async fn come_up(&self) -> Infallible {
        self.connected.send_replace(true);
        let lanes = loop {
            match self.config.events.lanes().await {
                Ok(lanes) => break lanes,
                // The store has logged why.
                Err(_) => tokio::time::sleep(super::FIRST_WAIT).await,
            }
        };
        self.config.lanes.note(lanes.into_iter().filter(|due| due.lane == Lane::Mqtt).collect());
        std::future::pending().await
    }

    /// Every filter of every app, with the best quality that is asked for.
    fn wanted(&self) -> BTreeMap<MqttFilter, Qos> {
        let set = self.config.active.current();
        let mut wanted = BTreeMap::new();
        for trigger in set.triggers.values().flat_map(|triggers| &triggers.mqtt) {
            let qos = wanted.entry(trigger.filter.clone()).or_insert(trigger.qos);
            *qos = trigger.qos.max(*qos);
        }
        wanted
    }
}

impl Link<'_> {
    fn traffic<T>(&self, use_it: impl FnOnce(&mut Traffic) -> T) -> T {
        use_it(&mut self.traffic.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Keep the connection going, and hand on what comes.
    async fn read(&self, connection: &mut EventLoop, arrived: mpsc::Sender<Publish>) -> Ended {
        loop {
            match connection.poll().await {
                Err(error) => return Ended::Broken(told(&error)),
                Ok(Event::Incoming(Packet::Publish(message))) => {
                    if arrived.send(message).await.is_err() {
                        return Ended::Broken("nobody takes messages any more".to_owned());
                    }
                }
                Ok(Event::Incoming(Packet::PubAck(ack))) => {
                    let waiting = self.traffic(|traffic| traffic.unacknowledged.remove(&ack.pkid));
                    let refused = match ack.reason {
                        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => None,
                        reason => Some(format!("{reason:?}")),
                    };
                    acknowledge(waiting, refused.map_or(Ok(()), Err));
                }
                Ok(Event::Incoming(Packet::SubAck(ack))) => self.check_subscriptions(&ack.return_codes),
                Ok(Event::Outgoing(Outgoing::Publish(id))) => self.traffic(|traffic| {
                    let Some(waiting) = traffic.unsent.pop_front() else { return };
                    match id {
                        // Nobody acknowledges a message of quality 0.
                        0 => acknowledge(Some(waiting), Ok(())),
                        id => drop(traffic.unacknowledged.insert(id, waiting)),
                    }
                }),
                Ok(_) => {}
            }
        }
    }

    /// Send what is published, in its order.
    async fn write(&self, mut outbox: mpsc::Receiver<Letter>) -> Infallible {
        while let Some(letter) = outbox.recv().await {
            self.traffic(|traffic| traffic.unsent.push_back(letter.done));
            let qos = quality(letter.qos);
            let (topic, retain) = (letter.topic, letter.retain);
            let (payload, properties) = (letter.payload, letter.properties);
            let sent = self.client.publish_with_properties(topic, qos, retain, payload, properties).await;
            if sent.is_err() {
                // The connection is gone, which the reader notices.
                self.traffic(|traffic| traffic.unsent.pop_back());
            }
        }
        std::future::pending().await
    }

    /// Subscribe to what the triggers want, now and whenever that changes. A subscription that the session still has is
    /// asked for again, since nobody knows which it has, without what the broker keeps of its messages.
    async fn subscribe(&self) -> Infallible {
        let mut changes = self.mqtt.config.active.changes();
        let mut subscribed = BTreeMap::new();
        loop {
            // Before the look.
            changes.mark_unchanged();
            let wanted = self.mqtt.wanted();
            for filter in subscribed.keys().filter(|filter| !wanted.contains_key(*filter)) {
                let _ = self.client.unsubscribe(filter.as_str()).await;
            }
            let new: Vec<_> =
                wanted.iter().filter(|(filter, qos)| subscribed.get(*filter) != Some(*qos)).collect();
            for some in new.chunks(16) {
                self.traffic(|traffic| {
                    traffic.asked.push_back(some.iter().map(|(filter, _)| (*filter).clone()).collect());
                });
                let filters = some.iter().map(|(filter, qos)| Filter {
                    preserve_retain: true,
                    retain_forward_rule: RetainForwardRule::OnNewSubscribe,
                    ..Filter::new(filter.as_str(), quality(**qos))
                });
                let _ = self.client.subscribe_many(filters).await;
            }
            subscribed = wanted;
            if changes.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    fn check_subscriptions(&self, answers: &[SubscribeReasonCode]) {
        let asked = self.traffic(|traffic| traffic.asked.pop_front()).unwrap_or_default();
        for (filter, answer) in asked.iter().zip(answers) {
            if !matches!(answer, SubscribeReasonCode::Success(_)) {
                tracing::warn!(filter = filter.as_str(), reason = ?answer, "the MQTT broker refuses a subscription");
            }
        }
    }
}

fn acknowledge(waiting: Option<oneshot::Sender<Acknowledged>>, acknowledged: Acknowledged) {
    if let Some(waiting) = waiting {
        // Whoever is gone tries again.
        let _ = waiting.send(acknowledged);
    }
}

fn quality(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

/// The largest packet that the broker takes, in bytes.
fn largest(accepted: &ConnAck) -> usize {
    let most = accepted.properties.as_ref().and_then(|properties| properties.max_packet_size);
    most.map_or(usize::MAX, |most| most as usize)
}

/// No answer of the broker holds the password, so it can be told.
fn told(error: &ConnectionError) -> String {
    error.to_string()
}
