//! The module `triggers`: events that the call makes, in its transaction.

use picloud_sdk_wit::picloud::sdk::triggers::{self, Error, Options, Waiting};
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, Module};

use crate::arguments::{self, check_names, integer, list_limit, text};
use crate::modules::json;
use crate::sdk::{add, error};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How many events `triggers::list` gives when the script does not say.
const DEFAULT_LIMIT: i64 = 20;

/// The most events of one `triggers::list`.
const MAX_LIST: u32 = 100;

/// The longest topic, type and dedupe key, in bytes. Names and ids are shorter.
const MAX_TEXT: usize = 256;

/// What options may hold.
const OPTIONS: [&str; 3] = ["delay_ms", "dedupe_key", "attempts"];

/// Register the module.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    add!(module, "emit", |topic: &str, data: Dynamic| emit(topic, None, &data));
    add!(module, "emit", |topic: &str, kind: &str, data: Dynamic| emit(topic, Some(kind), &data));
    add!(module, "enqueue", |target: &str, data: Dynamic| enqueue(target, &data, &Map::new()));
    add!(module, "enqueue", |target: &str, data: Dynamic, options: Map| enqueue(target, &data, &options));
    add!(module, "schedule", |script: &str, at_ms: i64, data: Dynamic| schedule(script, at_ms, &data));
    add!(module, "cancel", |id: &str| triggers::cancel(cut(id)).map_err(explain));
    add!(module, "list", |script: &str| list(script, DEFAULT_LIMIT));
    add!(module, "list", |script: &str, limit: i64| list(script, limit));
    engine.register_static_module("triggers", module.into());
}

/// As much of a text as the host needs.
fn cut(text: &str) -> &str {
    arguments::cut(text, MAX_TEXT)
}

/// How many events were made.
fn emit(topic: &str, kind: Option<&str>, data: &Dynamic) -> Result<i64> {
    triggers::emit(cut(topic), kind.map(cut), &to_data(data)?).map(i64::from).map_err(explain)
}

fn enqueue(target: &str, data: &Dynamic, options: &Map) -> Result<String> {
    triggers::enqueue(cut(target), &to_data(data)?, &to_options(options)?).map_err(explain)
}

fn schedule(script: &str, at_ms: i64, data: &Dynamic) -> Result<String> {
    triggers::schedule(cut(script), time(at_ms)?, &to_data(data)?).map_err(|reason| match reason {
        // It does not look for queues, so there may be one.
        Error::TargetUnknown(name) => error(format!("triggers: the app has no script `{name}`")),
        reason => explain(reason),
    })
}

fn list(script: &str, limit: i64) -> Result<Array> {
    let limit = list_limit("triggers", limit, MAX_LIST)?;
    let events = triggers::list(cut(script), limit).map_err(explain)?;
    Ok(events.into_iter().map(|event| from_waiting(event).into()).collect())
}

/// `#{ id, kind, script, due_ms, attempt }`.
fn from_waiting(event: Waiting) -> Map {
    Map::from([
        ("id".into(), event.id.into()),
        ("kind".into(), event.kind.into()),
        ("script".into(), event.script.into()),
        ("due_ms".into(), i64::try_from(event.due_ms).unwrap_or(i64::MAX).into()),
        ("attempt".into(), i64::from(event.attempt).into()),
    ])
}

/// A blob is refused, although `json::stringify` writes one: in `kv` it stays a blob, so nobody would expect text here.
fn to_data(data: &Dynamic) -> Result<String> {
    let text = if data.is_blob() {
        Err("a blob has no JSON, but base64::encode makes text of it".to_owned())
    } else {
        json::to_text(data)
    };
    text.map_err(|reason| error(format!("triggers: the data cannot be sent: {reason}")))
}

fn to_options(map: &Map) -> Result<Options> {
    check_names("triggers", map, &OPTIONS)?;
    Ok(Options {
        delay_ms: map.get("delay_ms").map_or(Ok(0), delay)?,
        dedupe_key: map.get("dedupe_key").map(dedupe_key).transpose()?,
        attempts: map.get("attempts").map(attempts).transpose()?,
    })
}

fn delay(ms: &Dynamic) -> Result<u64> {
    u64::try_from(integer("triggers", "delay_ms", ms)?)
        .map_err(|_| error("triggers: `delay_ms` must be at least 0 milliseconds"))
}

fn dedupe_key(key: &Dynamic) -> Result<String> {
    text("triggers", "dedupe_key", key.clone()).map(|key| cut(&key).to_owned())
}

/// The host knows the bounds; a number that cannot be handed over is beyond them.
fn attempts(attempts: &Dynamic) -> Result<u32> {
    u32::try_from(integer("triggers", "attempts", attempts)?).map_err(|_| explain(Error::AttemptsInvalid))
}

fn time(ms: i64) -> Result<u64> {
    u64::try_from(ms).map_err(|_| error("triggers: a time must be at least 0 milliseconds since 1970"))
}

/// The text that a script catches.
fn explain(reason: Error) -> Box<EvalAltResult> {
    error(match reason {
        Error::TopicInvalid => "triggers: a topic must have 1 to 256 bytes in parts between `/`, none of them empty, \
             without `+`, `#` and control characters; a type may have at most 256 bytes"
            .to_owned(),
        Error::TargetUnknown(name) => format!("triggers: the app has no queue and no script `{name}`"),
        Error::DataTooLarge(limit) => format!("triggers: the data may have at most {limit} bytes"),
        Error::DataInvalid => "triggers: the data is not JSON".to_owned(),
        Error::DedupeKeyInvalid => "triggers: a dedupe key must have 1 to 256 bytes".to_owned(),
        Error::AttemptsInvalid => "triggers: the number of attempts must be 1 to 100".to_owned(),
        Error::TimeInvalid => "triggers: a time may be at most a hundred years away".to_owned(),
        Error::TooManyEvents(limit) => {
            format!("triggers: a call may make at most {limit} events; each cancel and each list counts as one")
        }
        Error::TooManyBytes(limit) => {
            format!("triggers: the events of a call may have at most {limit} bytes of data")
        }
        Error::IdInvalid => "triggers: this is not the id of an event".to_owned(),
        Error::NoCall => {
            "triggers: the top level runs at upload, where nothing can be triggered; use triggers in a handler"
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

    #[track_caller]
    fn options(source: &str) -> Options {
        to_options(&Engine::new().eval(source).unwrap()).unwrap()
    }

    #[test]
    fn options_are_read_and_none_is_needed() {
        let some = options(r#"#{ delay_ms: 1500, dedupe_key: "k", attempts: 3 }"#);
        assert_eq!((some.delay_ms, some.dedupe_key.as_deref(), some.attempts), (1500, Some("k"), Some(3)));
        let none = options("#{}");
        assert_eq!((none.delay_ms, none.dedupe_key, none.attempts), (0, None, None));
    }

    #[test]
    fn a_misspelt_option_is_refused() {
        assert_eq!(
            message(r#"triggers::enqueue("q", 1, #{ delay: 5 })"#),
            "triggers: there is no option `delay`, only `delay_ms`, `dedupe_key` and `attempts`"
        );
    }

    #[test]
    fn options_of_the_wrong_type_are_refused() {
        for (options, expected) in [
            ("delay_ms: 1.5", "triggers: `delay_ms` must be an integer, not f64"),
            ("attempts: \"3\"", "triggers: `attempts` must be an integer, not string"),
            ("dedupe_key: 7", "triggers: `dedupe_key` must be a string, not i64"),
            ("dedupe_key: ()", "triggers: `dedupe_key` must be a string, not ()"),
        ] {
            assert_eq!(message(&format!(r#"triggers::enqueue("q", 1, #{{ {options} }})"#)), expected);
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (script, expected) in [
            (
                r#"triggers::enqueue("q", 1, #{ delay_ms: -1 })"#,
                "triggers: `delay_ms` must be at least 0 milliseconds",
            ),
            (
                r#"triggers::enqueue("q", 1, #{ attempts: -1 })"#,
                "triggers: the number of attempts must be 1 to 100",
            ),
            (
                r#"triggers::enqueue("q", 1, #{ attempts: 4294967297 })"#,
                "triggers: the number of attempts must be 1 to 100",
            ),
            (
                r#"triggers::schedule("s", -1, ())"#,
                "triggers: a time must be at least 0 milliseconds since 1970",
            ),
            (r#"triggers::list("s", 0)"#, "triggers: the limit of list must be 1 to 100"),
            (r#"triggers::list("s", 101)"#, "triggers: the limit of list must be 1 to 100"),
        ] {
            assert_eq!(message(script), expected);
        }
    }

    #[test]
    fn data_without_json_is_refused_wherever_it_is_sent_to() {
        let refused =
            "triggers: the data cannot be sent: a blob has no JSON, but base64::encode makes text of it";
        assert_eq!(message(r#"triggers::emit("a", blob(1))"#), refused);
        assert_eq!(message(r#"let b = blob(1); let f = || b; triggers::emit("a", "t", b)"#), refused);
        assert_eq!(message(r#"triggers::enqueue("a", blob(1))"#), refused);
        assert_eq!(message(r#"triggers::schedule("a", 0, blob(1))"#), refused);
        assert_eq!(
            message(r#"triggers::enqueue("a", #{ f: |x| x })"#),
            "triggers: the data cannot be sent: a function pointer cannot be written as JSON"
        );
    }

    #[test]
    fn data_is_json_text() {
        let data = Engine::new().eval::<Dynamic>(r#"#{ n: 1, list: [1.5, (), "x"] }"#).unwrap();
        assert_eq!(to_data(&data).unwrap(), r#"{"list":[1.5,null,"x"],"n":1}"#);
    }

    #[test]
    fn a_long_dedupe_key_is_cut_and_stays_too_long() {
        let key = Map::from([("dedupe_key".into(), "k".repeat(10_000).into())]);
        assert_eq!(to_options(&key).unwrap().dedupe_key.map(|key| key.len()), Some(264));
    }

    #[test]
    fn a_waiting_event_is_a_map() {
        let event = Waiting {
            id: "e".to_owned(),
            kind: "timer".to_owned(),
            script: "ring".to_owned(),
            due_ms: u64::MAX,
            attempt: 2,
        };
        let text = json::to_text(&from_waiting(event).into()).unwrap();
        assert_eq!(
            text,
            r#"{"attempt":2,"due_ms":9223372036854775807,"id":"e","kind":"timer","script":"ring"}"#
        );
    }

    #[test]
    fn every_error_of_the_host_has_a_text_with_its_limit() {
        for (reason, part) in [
            (Error::TopicInvalid, "1 to 256 bytes"),
            (Error::TargetUnknown("jobs".to_owned()), "no queue and no script `jobs`"),
            (Error::DataTooLarge(262_144), "at most 262144 bytes"),
            (Error::DataInvalid, "not JSON"),
            (Error::DedupeKeyInvalid, "1 to 256 bytes"),
            (Error::AttemptsInvalid, "1 to 100"),
            (Error::TimeInvalid, "a hundred years"),
            (Error::TooManyEvents(100), "at most 100 events"),
            (Error::TooManyBytes(8_388_608), "at most 8388608 bytes"),
            (Error::IdInvalid, "id of an event"),
            (Error::NoCall, "top level"),
        ] {
            assert_told("triggers", *explain(reason), part);
        }
    }
}
