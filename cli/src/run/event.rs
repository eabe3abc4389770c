//! The event of `picloud run --event`: a JSON object in the words of CloudEvents, most of which may be left out.

use std::path::Path;

use jiff::Timestamp;
use picloud_host::call::EventCall;
use picloud_host::event::EventKind;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::commands::request::read_file;
use crate::exit::CliError;
use crate::output::Terminal;

/// No event is larger than the largest body.
const MAX_BYTES: usize = 64 << 20;

/// Where an event comes from that does not say so.
const SOURCE: &str = "/picloud/run";

/// An event as it is in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object with the members of an event")]
struct Written {
    #[serde(rename = "type")]
    kind: String,
    id: Option<String>,
    source: Option<String>,
    subject: Option<String>,
    time: Option<Timestamp>,
    time_ms: Option<u64>,
    data: Option<Box<RawValue>>,
    // Every whole CloudEvent has these. Scripts do not see them.
    #[serde(rename = "specversion")]
    _specversion: Option<IgnoredAny>,
    #[serde(rename = "datacontenttype")]
    _datacontenttype: Option<IgnoredAny>,
}

/// Read the event from a file, or from standard input if that is `-`. What it does not say is made up: the id is that of
/// the execution, the time is now, and there is no subject and no data.
///
/// # Errors
///
/// The file cannot be read, or holds no event.
pub(super) fn read(path: &Path, execution_id: Uuid, terminal: &mut Terminal) -> Result<EventCall, CliError> {
    let text = match path.to_str() {
        Some("-") => terminal.read_input(MAX_BYTES)?,
        _ => read_file(path, MAX_BYTES).map_err(CliError::Failed)?,
    };
    event(&text, execution_id).map_err(|why| CliError::Usage(format!("--event {}: {why}", path.display())))
}

fn event(text: &[u8], execution_id: Uuid) -> Result<EventCall, String> {
    let written: Written = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    let time = match (written.time, written.time_ms) {
        (Some(_), Some(_)) => {
            return Err("there is `time` and `time_ms`, but only one can be true".to_owned());
        }
        (None, Some(ms)) => Ok(ms),
        (time, None) => u64::try_from(time.unwrap_or_else(Timestamp::now).as_millisecond()),
    };
    Ok(EventCall {
        id: written.id.unwrap_or_else(|| execution_id.to_string()),
        source: written.source.unwrap_or_else(|| SOURCE.to_owned()),
        kind: written.kind,
        subject: written.subject,
        time_ms: time.map_err(|_| "`time` is before 1970".to_owned())?,
        data: written.data.map_or("null".into(), |data| data.get().into()),
        trigger: EventKind::Event,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<EventCall, String> {
        event(text.as_bytes(), Uuid::nil())
    }

    #[test]
    fn only_the_type_has_to_be_there() {
        let before = u64::try_from(Timestamp::now().as_millisecond()).unwrap();
        let event = of(r#"{"type": "picloud.kv.set"}"#).unwrap();
        assert_eq!((event.kind.as_str(), event.source.as_str()), ("picloud.kv.set", SOURCE));
        assert_eq!((event.id, event.subject), (Uuid::nil().to_string(), None));
        assert_eq!(&*event.data, "null");
        assert!((before..before + 60_000).contains(&event.time_ms), "{}", event.time_ms);
    }

    #[test]
    fn everything_that_is_there_reaches_the_script() {
        let event = of(
            r#"{"specversion": "1.0", "id": "e-1", "source": "/default/kv", "type": "t", "subject": "a", "data": {"n": 1.50},
                "datacontenttype": "application/json", "time": "1970-01-01T00:00:01.5Z"}"#,
        )
        .unwrap();
        assert_eq!((event.id.as_str(), event.source.as_str()), ("e-1", "/default/kv"));
        assert_eq!((event.subject.as_deref(), event.time_ms), (Some("a"), 1500));
        assert_eq!(&*event.data, r#"{"n": 1.50}"#);
        assert_eq!(of(r#"{"type": "t", "time_ms": 7, "data": null}"#).unwrap().time_ms, 7);
    }

    #[test]
    fn what_is_no_event_is_told() {
        for (text, why) in [
            ("{}", "missing field `type`"),
            ("7", "expected a JSON object"),
            ("{\"type\": \"t\"", "EOF"),
            (r#"{"type": 1}"#, "expected a string"),
            (r#"{"type": "t", "subjct": "a"}"#, "unknown field `subjct`"),
            (r#"{"type": "t", "time": "noon"}"#, "line 1"),
            (r#"{"type": "t", "time": "1969-12-31T23:59:59Z"}"#, "before 1970"),
            (r#"{"type": "t", "time_ms": -1}"#, "-1"),
            (r#"{"type": "t", "time": "2026-01-31T12:00:00Z", "time_ms": 1}"#, "`time` and `time_ms`"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
