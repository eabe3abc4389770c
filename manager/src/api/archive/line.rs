//! Keys and values in an archive: one a line, as `picloud kv export` prints them.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use picloud_host::limits::Limits;
use picloud_host::ports::{KvEntry, KvValue, KvWrite};
use picloud_host::problem::Code;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::api::body::json;
use crate::api::timestamp::{LATEST_MS, timestamp};

#[derive(Serialize)]
struct Written<'a> {
    key: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value_base64: Option<String>,
    expires_at: Option<Timestamp>,
}

/// Add the line of an entry.
///
/// # Errors
///
/// What is stored as JSON is none.
pub(super) fn write(lines: &mut Vec<u8>, key: &str, entry: &KvEntry) -> Result<(), serde_json::Error> {
    let expires_at = entry.expires_ms.map(timestamp);
    let (kind, value, value_base64) = match &entry.value {
        KvValue::Json(text) => ("json", Some(serde_json::from_str(text)?), None),
        KvValue::Blob(bytes) => ("blob", None, Some(STANDARD.encode(bytes))),
    };
    let start = lines.len();
    serde_json::to_writer(&mut *lines, &Written { key, kind, value, value_base64, expires_at })?;
    // In texts they are escaped: what is left is white space.
    for byte in lines[start..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')) {
        *byte = b' ';
    }
    lines.push(b'\n');
    Ok(())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read<'a> {
    key: String,
    #[serde(borrow, default, deserialize_with = "given")]
    value: Option<&'a RawValue>,
    #[serde(default)]
    value_base64: Option<String>,
    #[serde(default)]
    expires_at: Option<Timestamp>,
    /// What the value is says which of the two it is in.
    #[serde(default, rename = "kind")]
    _kind: Option<IgnoredAny>,
    /// That of another server.
    #[serde(default, rename = "version")]
    _version: Option<IgnoredAny>,
}

/// A value that is there, also when it is null.
fn given<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}

/// The longest line that can have a key and a value of these limits, in bytes: both in escapes, and what is around them.
pub(super) fn longest(limits: &Limits) -> u64 {
    6 * limits.kv_key_bytes + 2 * limits.kv_value_bytes + 1024
}

/// What a line says.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn read(line: &[u8], limits: &Limits) -> Result<(Arc<str>, KvWrite), String> {
    let line: Read<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let most = limits.kv_key_bytes;
    if line.key.is_empty() || line.key.len() as u64 > most {
        return Err(format!("the key has {} bytes, but must have 1 to {most}", line.key.len()));
    }
    let value = match (line.value, line.value_base64) {
        (Some(value), None) => {
            let wrong = |_| "the value is not JSON".to_owned();
            KvValue::Json(json(value.get().as_bytes(), Code::KvValueInvalid).map_err(wrong)?.into())
        }
        (None, Some(text)) => {
            let bytes = STANDARD.decode(text).map_err(|_| "value_base64 is no base64".to_owned())?;
            KvValue::Blob(bytes.into())
        }
        _ => return Err("it must have either value or value_base64".to_owned()),
    };
    if value.len() as u64 > limits.kv_value_bytes {
        return Err(format!(
            "the value has {} bytes, but may have {} at most",
            value.len(),
            limits.kv_value_bytes
        ));
    }
    let expires_ms = line.expires_at.map(|at| u64::try_from(at.as_millisecond()).unwrap_or(0).min(LATEST_MS));
    Ok((line.key.into(), KvWrite { value, expires_ms }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(value: KvValue, expires_ms: Option<u64>) -> KvEntry {
        KvEntry { value, version: 7, expires_ms }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let json = |text: &str| KvValue::Json(text.into());
        for entry in [
            entry(json("null"), None),
            entry(json(r#"{"a":1.50,"b":"\n"}"#), Some(1_700_000_000_123)),
            entry(json("12345678901234567890123"), Some(LATEST_MS)),
            entry(KvValue::Blob(bytes::Bytes::from_static(b"\0\xff\n")), Some(1)),
        ] {
            for key in ["a", "line\nbreak \u{1f600} \"quoted\" \\"] {
                let mut lines = Vec::new();
                write(&mut lines, key, &entry).unwrap();
                assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 1);
                let (read_key, read) = read(&lines, &Limits::default()).unwrap();
                assert_eq!((&*read_key, &read.value, read.expires_ms), (key, &entry.value, entry.expires_ms));
                assert!(lines.len() as u64 <= longest(&Limits::default()));
            }
        }
    }

    #[test]
    fn white_space_of_a_value_breaks_no_line() {
        let mut lines = Vec::new();
        write(&mut lines, "a", &entry(KvValue::Json("[1,\r\n 2]".into()), None)).unwrap();
        assert_eq!(lines.iter().filter(|byte| **byte == b'\n').count(), 1);
        assert_eq!(read(&lines, &Limits::default()).unwrap().1.value, KvValue::Json("[1,2]".into()));
    }

    #[test]
    fn lines_that_no_key_could_have_are_refused() {
        let long = format!(r#"{{"key":"{}","value":1}}"#, "k".repeat(5000));
        let large = format!(r#"{{"key":"k","value":"{}"}}"#, "v".repeat(3000));
        for (line, why) in [
            ("", "EOF"),
            ("[]", "invalid"),
            (r#"{"value":1}"#, "missing field"),
            (r#"{"key":"","value":1}"#, "must have 1 to"),
            (&*long, "has 5000 bytes"),
            (&*large, "has 3002 bytes"),
            (r#"{"key":"k"}"#, "either"),
            (r#"{"key":"k","value":1,"value_base64":""}"#, "either"),
            (r#"{"key":"k","value_base64":"?"}"#, "no base64"),
            (r#"{"key":"k","value":"\ud800"}"#, "not JSON"),
            (r#"{"key":"k","value":1,"more":2}"#, "unknown field"),
            (r#"{"key":"k","value":1,"expires_at":"soon"}"#, ""),
        ] {
            let limits = Limits { kv_value_bytes: 3000, ..Limits::default() };
            let refused = read(line.as_bytes(), &limits).unwrap_err();
            assert!(refused.contains(why), "{line}: {refused}");
        }
    }
}
