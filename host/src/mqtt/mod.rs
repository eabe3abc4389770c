//! MQTT: messages of a broker become events, and what scripts publish goes to the broker.
//!
//! In reading order: `broker` (where it is), `message` (what of a message is kept in an event), `filter` (which messages are
//! meant), `link` (one connection), `inbox` (from the broker), `outbox` (to the broker), here what keeps it up.
//!
//! # What is promised
//!
//! MQTT 5 with quality of service 0 or 1. A message of quality 1 is acknowledged when its events are durable, and the
//! session outlives a connection: nothing is lost while this server is away, as long as the broker keeps the session.
//! What a script publishes leaves once its effects are durable. Either way a message can come twice when a connection
//! ends between the message and its acknowledgement. Quality 2 would need packet ids that outlive the process.

mod broker;
mod filter;
mod inbox;
mod link;
mod message;
mod outbox;

use std::sync::Arc;
use std::time::Duration;

use rumqttc::Transport;
use rumqttc::v5::{AsyncClient, EventLoop, MqttOptions};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::active::Active;
use crate::dispatcher::Lanes;
use crate::outbound::{Roots, tls};
use crate::ports::{Clock, Events, Kv};

pub use broker::{Broker, BrokerInvalid};
pub use filter::{MAX_TOPIC_BYTES, MqttFilter, is_topic};
pub use message::{OutgoingMessage, Payload, Qos};

use link::Ended;
use outbox::Outbox;

/// How long the broker keeps the session while this server is away, in seconds: a week.
const SESSION_SECONDS: u32 = 7 * 24 * 60 * 60;

/// How often a connection shows that it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(60);

/// How many messages of quality 1 may be unacknowledged, in each direction.
const IN_FLIGHT: u16 = 64;

/// Requests to the connection that can wait. More than there are packet ids: not every broker keeps to [`IN_FLIGHT`], and
/// whoever waited for room to acknowledge would hold up the reader, which makes that room. It takes no memory before they
/// are there.
const REQUESTS: usize = 2 * u16::MAX as usize;

/// The wait before the second attempt to connect; it doubles with each, up to a minute.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What the connection works with.
pub struct MqttConfig {
    /// Where the broker is.
    pub broker: Broker,
    /// The client identifier when the broker's address names none. The session hangs on it.
    pub client_id: String,
    /// The largest message that is taken, in bytes with its topic; the broker withholds larger ones.
    pub packet_bytes: u32,
    /// Which triggers there are.
    pub active: Arc<Active>,
    /// Stores events.
    pub kv: Arc<dyn Kv>,
    /// Finds the lanes that wait for a connection.
    pub events: Arc<dyn Events>,
    /// Where to tell of them.
    pub lanes: Arc<Lanes>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
}

/// A connection to a broker, made again whenever it breaks.
pub struct Mqtt {
    config: MqttConfig,
    outbox: Outbox,
    connected: watch::Sender<bool>,
}

impl Mqtt {
    /// Nothing is opened before [`run`](Self::run).
    #[must_use]
    pub fn new(config: MqttConfig) -> Self {
        Self { config, outbox: Outbox::default(), connected: watch::Sender::new(false) }
    }

    /// Whether the broker is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        *self.connected.borrow()
    }

    /// Stay connected until `stop`.
    ///
    /// # Errors
    ///
    /// The system's cryptography cannot be used.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) -> anyhow::Result<()> {
        let transport = match self.config.broker.tls {
            false => Transport::tcp(),
            true => {
                // Reading the system's certificates takes milliseconds.
                let config = tokio::task::spawn_blocking(|| tls::config(Roots::System)).await??;
                Transport::tls_with_config(config.into())
            }
        };
        let (mut wait, mut told) = (FIRST_WAIT, false);
        while !stop.is_cancelled() {
            let (client, connection) = self.client(transport.clone());
            let ended = self.link(client, connection, &stop).await;
            if self.connected.send_replace(false) {
                (wait, told) = (FIRST_WAIT, false);
            }
            if let Ended::Broken(reason) = ended
                && !told
            {
                // Once for each time that it is away.
                tracing::warn!(broker = %self.config.broker, reason, "no connection to the MQTT broker; trying again");
                told = true;
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(jittered(wait)) => wait = (wait * 2).min(LONGEST_WAIT),
            }
        }
        Ok(())
    }

    /// A new client for each connection: what the last one knew of packet ids must not meet the next one's.
    fn client(&self, transport: Transport) -> (AsyncClient, EventLoop) {
        let MqttConfig { broker, client_id, packet_bytes, .. } = &self.config;
        let id = broker.client_id.clone().unwrap_or_else(|| client_id.clone());
        let mut options = MqttOptions::new(id, broker.host.clone(), broker.port);
        options
            .set_transport(transport)
            .set_keep_alive(KEEP_ALIVE)
            .set_connection_timeout(10)
            .set_clean_start(false)
            .set_session_expiry_interval(Some(SESSION_SECONDS))
            .set_receive_maximum(Some(IN_FLIGHT))
            .set_max_packet_size(Some(*packet_bytes))
            .set_manual_acks(true)
            .set_outgoing_inflight_upper_limit(IN_FLIGHT);
        if let Some((user, password)) = &broker.login {
            options.set_credentials(user.clone(), password.clone());
        }
        AsyncClient::new(options, REQUESTS)
    }
}

/// Many servers whose broker comes back must not all come at once.
fn jittered(wait: Duration) -> Duration {
    let random = f64::from(getrandom::u32().unwrap_or_default()) / f64::from(u32::MAX);
    wait.mul_f64(0.5 + random / 2.0)
}
