//! The module `mqtt`: messages for the broker, in the transaction of the call.

use picloud_sdk_wit::picloud::sdk::mqtt::{self, Error, Options};
use rhai::{Dynamic, Engine, EvalAltResult, Map, Module};

use crate::arguments::{check_names, cut, flag};
use crate::modules::json;
use crate::sdk::{add, error};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// What options may hold.
const OPTIONS: [&str; 3] = ["qos", "retain", "expiry_seconds"];

/// The longest topic, in bytes.
const MAX_TOPIC: usize = 1024;

/// Register the module.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    add!(module, "publish", |topic: &str, payload: Dynamic| publish(topic, payload, &Map::new()));
    add!(module, "publish", |topic: &str, payload: Dynamic, options: Map| publish(topic, payload, &options));
    engine.register_static_module("mqtt", module.into());
}

/// The id of the event that delivers the message.
fn publish(topic: &str, payload: Dynamic, options: &Map) -> Result<String> {
    let options = to_options(options)?;
    mqtt::publish(cut(topic, MAX_TOPIC), &to_payload(payload)?, options).map_err(explain)
}

/// A string and a blob as they are, anything else as JSON.
fn to_payload(value: Dynamic) -> Result<Vec<u8>> {
    if value.is_blob() {
        return Ok(value.into_blob().unwrap_or_default());
    }
    if let Ok(text) = value.clone().into_immutable_string() {
        return Ok(text.as_bytes().to_vec());
    }
    let text = json::to_text(&value);
    text.map(String::into_bytes)
        .map_err(|reason| error(format!("mqtt: the payload cannot be sent: {reason}")))
}

fn to_options(map: &Map) -> Result<Options> {
    check_names("mqtt", map, &OPTIONS)?;
    Ok(Options {
        qos: map.get("qos").map_or(Ok(1), qos)?,
        retain: map.get("retain").map_or(Ok(false), |value| flag("mqtt", "retain", value))?,
        expiry_seconds: map.get("expiry_seconds").map(seconds).transpose()?,
    })
}

fn qos(value: &Dynamic) -> Result<u8> {
    value.as_int().ok().and_then(|qos| u8::try_from(qos).ok()).ok_or_else(|| explain(Error::QosInvalid))
}

fn seconds(value: &Dynamic) -> Result<u32> {
    let seconds = value.as_int().ok().and_then(|seconds| u32::try_from(seconds).ok());
    seconds
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| error(format!("mqtt: `expiry_seconds` must be an integer from 1 to {}", u32::MAX)))
}

/// The text that a script catches.
fn explain(reason: Error) -> Box<EvalAltResult> {
    error(match reason {
        Error::NoBroker => {
            "mqtt: this server is connected to no broker; it is started with one by --mqtt".to_owned()
        }
        Error::NoServer => {
            "mqtt: `picloud run` is connected to no broker; a server is, if it is started with --mqtt, and in a test \
             under `picloud test` test::events() shows what would be published"
                .to_owned()
        }
        Error::TopicInvalid => {
            "mqtt: a topic must have 1 to 1024 bytes, without `+`, `#` and control characters, and \
             not start with `$`"
                .to_owned()
        }
        Error::QosInvalid => "mqtt: `qos` must be 0 or 1".to_owned(),
        Error::PayloadTooLarge(limit) => {
            format!("mqtt: a message may have at most {limit} bytes, as it is stored")
        }
        Error::TooManyEvents(limit) => {
            format!("mqtt: a call may make at most {limit} events; each message counts as one")
        }
        Error::TooManyBytes(limit) => {
            format!("mqtt: the events and messages of a call may have at most {limit} bytes of data")
        }
        Error::NoCall => {
            "mqtt: the top level runs at upload, where nothing can be published; use mqtt in a handler"
                .to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::testing::{self, assert_told};

    #[track_caller]
    fn message(script: &str) -> String {
        testing::message(register, script)
    }

    #[test]
    fn options_are_read_and_none_is_needed() {
        let options = |source: &str| to_options(&Engine::new().eval::<Map>(source).unwrap()).unwrap();
        let some = options("#{ qos: 0, retain: true, expiry_seconds: 60 }");
        assert_eq!((some.qos, some.retain, some.expiry_seconds), (0, true, Some(60)));
        let none = options("#{}");
        assert_eq!((none.qos, none.retain, none.expiry_seconds), (1, false, None));
    }

    #[test]
    fn wrong_options_are_refused() {
        for (options, expected) in [
            ("quality: 1", "mqtt: there is no option `quality`, only `qos`, `retain` and `expiry_seconds`"),
            ("qos: -1", "mqtt: `qos` must be 0 or 1"),
            ("qos: \"1\"", "mqtt: `qos` must be 0 or 1"),
            ("retain: 1", "mqtt: `retain` must be true or false, not i64"),
            ("expiry_seconds: 0", "mqtt: `expiry_seconds` must be an integer from 1 to 4294967295"),
        ] {
            assert_eq!(message(&format!(r#"mqtt::publish("t", "x", #{{ {options} }})"#)), expected);
        }
    }

    #[test]
    fn a_payload_is_text_bytes_or_json() {
        let payload = |source: &str| to_payload(Engine::new().eval::<Dynamic>(source).unwrap()).unwrap();
        assert_eq!(payload(r#""on""#), b"on");
        assert_eq!(payload("blob(2, 255)"), [255, 255]);
        assert_eq!(payload("#{ on: true, list: [1.5, ()] }"), br#"{"list":[1.5,null],"on":true}"#);
        assert_eq!(
            message(r#"mqtt::publish("t", |x| x)"#),
            "mqtt: the payload cannot be sent: a function pointer cannot be written as JSON"
        );
    }

    #[test]
    fn every_error_of_the_host_has_a_text_with_its_limit() {
        for (reason, part) in [
            (Error::NoBroker, "this server is connected to no broker; it is started with one by --mqtt"),
            (Error::NoServer, "`picloud run` is connected to no broker"),
            (Error::TopicInvalid, "1 to 1024 bytes"),
            (Error::QosInvalid, "0 or 1"),
            (Error::PayloadTooLarge(262_144), "at most 262144 bytes"),
            (Error::TooManyEvents(100), "at most 100 events"),
            (Error::TooManyBytes(8_388_608), "at most 8388608 bytes"),
            (Error::NoCall, "top level"),
        ] {
            assert_told("mqtt", *explain(reason), part);
        }
    }
}
