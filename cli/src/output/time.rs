//! Times: how they are shown, and how `--since` and `--until` are understood.

use jiff::tz::TimeZone;
use jiff::{Timestamp, Unit};
use serde_json::Value;

/// A time as the API gives it, in the local time zone; what is no time is shown as it is.
#[must_use]
pub fn local(value: &Value) -> String {
    show(value, "%Y-%m-%d %H:%M:%S")
}

/// The same with milliseconds.
#[must_use]
pub fn local_ms(value: &Value) -> String {
    show(value, "%Y-%m-%d %H:%M:%S%.3f")
}

fn show(value: &Value, format: &str) -> String {
    match timestamp(value) {
        Some(at) => at.to_zoned(TimeZone::system()).strftime(format).to_string(),
        None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

/// RFC 3339 text, or milliseconds since the epoch.
#[must_use]
pub fn timestamp(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => text.parse().ok(),
        value => Timestamp::from_millisecond(value.as_i64()?).ok(),
    }
}

/// The moment that `--since` or `--until` means: how long before `now`, or a time of its own.
///
/// # Errors
///
/// Says what it should look like.
pub fn since(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let wrong =
        || format!("`{text}` is no time: write how long ago (30s, 5m, 2h, 7d), or 2026-01-31T12:00:00Z");
    let seconds = seconds(text).ok_or_else(wrong)?;
    let second = now.as_second().checked_sub(seconds).ok_or_else(wrong)?;
    Timestamp::from_second(second).map_err(|_| wrong())
}

/// The moment that `--expires` means: how long after `now`, or a time of its own.
///
/// # Errors
///
/// Says what it should look like.
pub fn from_now(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let wrong = || format!("`{text}` is no time: write in how long (12h, 90d), or 2027-01-31T12:00:00Z");
    let second = seconds(text).and_then(|seconds| now.as_second().checked_add(seconds));
    second.and_then(|second| Timestamp::from_second(second).ok()).ok_or_else(wrong)
}

/// `30s`, `5m`, `2h` or `7d` in seconds.
fn seconds(text: &str) -> Option<i64> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let count: i64 = text[..text.len() - 1].parse().ok().filter(|count| *count >= 0)?;
    count.checked_mul(seconds)
}

/// The time as the API takes it.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.round(Unit::Millisecond).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_takes_a_duration_or_a_time() {
        let now: Timestamp = "2026-01-31T12:00:00Z".parse().unwrap();
        let check =
            |text: &str, expect: &str| assert_eq!(since(text, now).unwrap().to_string(), expect, "{text}");
        check("30s", "2026-01-31T11:59:30Z");
        check("5m", "2026-01-31T11:55:00Z");
        check("2h", "2026-01-31T10:00:00Z");
        check("7d", "2026-01-24T12:00:00Z");
        check("2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z");
        for wrong in ["", "5", "m", "-5m", "5 m", "1.5h", "9223372036854775807d", "yesterday", "5é"] {
            assert!(since(wrong, now).unwrap_err().contains("is no time"), "{wrong}");
            assert!(from_now(wrong, now).unwrap_err().contains("is no time"), "{wrong}");
        }
        assert_eq!(from_now("2d", now).unwrap().to_string(), "2026-02-02T12:00:00Z");
    }

    #[test]
    fn what_is_no_time_is_shown_as_it_is() {
        assert_eq!(local(&Value::from("soon")), "soon");
        assert_eq!(local(&Value::Null), "null");
        assert!(local(&Value::from("2026-01-31T12:00:00.123456Z")).starts_with("2026-01-3"));
        assert!(local_ms(&Value::from(1_700_000_000_123_u64)).ends_with(".123"));
        assert_eq!(local(&Value::from(u64::MAX)), u64::MAX.to_string());
    }
}
