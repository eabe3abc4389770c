//! Messages as data of events, which is JSON: from the broker for scripts, and from scripts for the broker.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rumqttc::v5::mqttbytes::v5::{Publish, PublishProperties};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::call::EventCall;
use crate::event::{Cause, EventKind};

/// How surely a message arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum Qos {
    /// At most once: 0.
    AtMostOnce,
    /// At least once: 1.
    AtLeastOnce,
}

impl TryFrom<u8> for Qos {
    type Error = &'static str;

    fn try_from(number: u8) -> Result<Self, Self::Error> {
        match number {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            _ => Err("the quality of service must be 0 or 1"),
        }
    }
}

impl From<Qos> for u8 {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce => 1,
        }
    }
}

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutgoingMessage {
    /// To which topic.
    pub topic: String,
    /// What it says.
    pub payload: Payload,
    /// How surely it arrives.
    pub qos: Qos,
    /// Whether the broker keeps it for whoever subscribes later.
    pub retain: bool,
    /// After how many seconds the broker no longer hands it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_seconds: Option<u32>,
}

/// Bytes in JSON: text if they are UTF-8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Payload {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes {
        /// In base64.
        base64: String,
    },
}

impl Payload {
    /// From bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Bytes { base64: BASE64.encode(error.as_bytes()) },
        }
    }

    /// The bytes; none when a row is damaged.
    pub(super) fn into_bytes(self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.into_bytes()),
            Self::Bytes { base64 } => BASE64.decode(base64).ok(),
        }
    }
}

/// What a script sees of a message.
#[derive(Serialize)]
struct Data<'a> {
    topic: &'a str,
    payload: Payload,
    /// The payload as JSON; null when it is none.
    json: Option<&'a RawValue>,
    qos: u8,
    retain: bool,
}

/// The names under which a message carries its cause, so that a loop through the broker ends as any other.
const ROOT: &str = "picloud-root";
const PARENT: &str = "picloud-parent";
const DEPTH: &str = "picloud-depth";

/// What a message from the broker is to scripts. None when its topic is not text.
pub(super) fn incoming(message: &Publish, source: &str, now_ms: u64) -> Option<(String, EventCall)> {
    let topic = str::from_utf8(&message.topic).ok()?;
    let json = serde_json::from_slice::<&RawValue>(&message.payload).ok();
    let data = Data {
        topic,
        payload: Payload::new(message.payload.to_vec()),
        json,
        qos: message.qos as u8,
        retain: message.retain,
    };
    let call = EventCall {
        id: Uuid::now_v7().to_string(),
        source: source.to_owned(),
        kind: "picloud.mqtt".to_owned(),
        subject: Some(topic.to_owned()),
        time_ms: now_ms,
        data: serde_json::to_string(&data).ok()?.into(),
        trigger: EventKind::Mqtt,
    };
    Some((topic.to_owned(), call))
}

/// Who caused a message: whoever published it here, or somebody else, which starts a new chain.
pub(super) fn cause(message: &Publish) -> Cause {
    let properties = message.properties.as_ref().map_or(&[][..], |properties| &properties.user_properties);
    let value =
        |wanted: &str| properties.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    let id = |name| Uuid::try_parse(value(name)?).ok();
    let depth = || value(DEPTH)?.parse::<u32>().ok();
    match (id(ROOT), depth()) {
        (Some(root), Some(depth)) => Cause { root, parent: id(PARENT), depth },
        _ => Cause::outside(),
    }
}

/// The properties of a message to publish.
pub(super) fn properties(expiry_seconds: Option<u32>, cause: &Cause) -> PublishProperties {
    let mut user_properties =
        vec![(ROOT.to_owned(), cause.root.to_string()), (DEPTH.to_owned(), cause.depth.to_string())];
    user_properties.extend(cause.parent.map(|parent| (PARENT.to_owned(), parent.to_string())));
    PublishProperties { message_expiry_interval: expiry_seconds, user_properties, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::QoS;

    use super::*;

    fn data(payload: &[u8]) -> String {
        let message = Publish::new("home/lamp", QoS::AtLeastOnce, payload.to_vec(), None);
        incoming(&message, "mqtt://b:1883", 5).unwrap().1.data.to_string()
    }

    #[test]
    fn a_payload_is_text_if_it_can_be_and_json_as_it_is_written() {
        assert_eq!(
            data(b"21.50"),
            r#"{"topic":"home/lamp","payload":"21.50","json":21.50,"qos":1,"retain":false}"#
        );
        assert_eq!(data(b"on"), r#"{"topic":"home/lamp","payload":"on","json":null,"qos":1,"retain":false}"#);
        assert_eq!(
            data(&[0xff]),
            r#"{"topic":"home/lamp","payload":{"base64":"/w=="},"json":null,"qos":1,"retain":false}"#
        );
    }

    #[test]
    fn bytes_survive_their_json() {
        for bytes in [b"text".to_vec(), vec![0xff, 0], Vec::new()] {
            let text = serde_json::to_string(&Payload::new(bytes.clone())).unwrap();
            let read: Payload = serde_json::from_str(&text).unwrap();
            assert_eq!(read.into_bytes(), Some(bytes));
        }
    }

    #[test]
    fn a_cause_survives_the_broker_and_a_forged_one_starts_anew() {
        let cause_of = |user_properties: Vec<(String, String)>| {
            let mut message = Publish::new("t", QoS::AtMostOnce, "x", None);
            message.properties = Some(PublishProperties { user_properties, ..Default::default() });
            cause(&message)
        };
        let sent = Cause { root: Uuid::now_v7(), parent: Some(Uuid::now_v7()), depth: 3 };
        assert_eq!(cause_of(properties(None, &sent).user_properties), sent);
        for depth in ["-1", "x", "99999999999"] {
            let forged = vec![(ROOT.to_owned(), sent.root.to_string()), (DEPTH.to_owned(), depth.to_owned())];
            assert_eq!(cause_of(forged).depth, 0, "{depth}");
        }
    }
}
