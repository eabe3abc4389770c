//! The connection to the MQTT broker, if one is named.

use std::sync::Arc;

use anyhow::Result;
use picloud_host::active::Active;
use picloud_host::mqtt::{Mqtt, MqttConfig};
use picloud_host::ports::Clock;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::storage::Storage;
use crate::config::ServeConfig;

/// What a packet has besides the data of its event, in bytes, at most: the topic, and what others say of it.
const BESIDES: u64 = 64 << 10;

/// The file with the client identifier. The broker knows the session by it.
const CLIENT_ID: &str = "mqtt-client-id";

/// The connection, still closed.
pub(super) fn mqtt(
    config: &ServeConfig,
    storage: &Storage,
    active: Arc<Active>,
    clock: Arc<dyn Clock>,
) -> Result<Option<Arc<Mqtt>>> {
    let Some(broker) = config.mqtt.clone() else { return Ok(None) };
    // Every broker allows 23 characters. Behind the time, a UUIDv7 is random.
    let make = || format!("picloud-{}", &Uuid::now_v7().simple().to_string()[17..]);
    let client_id = storage.data.text(CLIENT_ID, make)?.trim().to_owned();
    Ok(Some(Arc::new(Mqtt::new(MqttConfig {
        broker,
        client_id,
        packet_bytes: u32::try_from(config.limits.event_bytes + BESIDES).unwrap_or(u32::MAX),
        active,
        kv: storage.kv.clone(),
        events: storage.kv.clone(),
        lanes: storage.lanes.clone(),
        clock,
    }))))
}

/// Connect, and stay connected until `stop`.
pub(super) fn connect(mqtt: Option<Arc<Mqtt>>, stop: CancellationToken) -> JoinHandle<()> {
    tokio::spawn(async move {
        let Some(mqtt) = mqtt else { return };
        if let Err(error) = mqtt.run(stop).await {
            tracing::error!(error = %format!("{error:#}"), "the connection to the MQTT broker has ended for good");
        }
    })
}
