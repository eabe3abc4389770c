//! What a schedule makes: an event for one of its times.

use jiff::Timestamp;
use picloud_host::call::EventCall;
use picloud_host::event::{Cause, EventKind, EventOp, Lane};
use picloud_host::trigger::Target;
use serde_json::{Value, json};

use crate::store::trigger::Trigger;

/// An event of a schedule for the time `at_ms`, to run at `due_ms`, both in milliseconds since the Unix epoch. It is
/// the root of a chain of its own.
pub(super) fn insert(schedule: &Trigger, data: &Value, at_ms: u64, due_ms: u64) -> EventOp {
    let target = Target {
        id: schedule.id,
        app: schedule.app.as_str().into(),
        script: schedule.script.as_str().into(),
        attempts: schedule.attempts,
    };
    let call = EventCall {
        id: String::new(),
        source: format!("/{}/schedules/{}", schedule.app, schedule.name),
        kind: "picloud.schedule".to_owned(),
        subject: Some(schedule.name.clone()),
        time_ms: at_ms,
        data: json!({ "scheduled_at": text(at_ms), "data": data }).to_string().into(),
        trigger: EventKind::Schedule,
    };
    let lane = Lane::Script(target.script.clone());
    let event = target.event(schedule.app_id, lane, call, Cause::outside(), due_ms);
    EventOp::Insert(Box::new(event.known_by_its_id()))
}

/// When an event runs that a schedule makes for the time `at_ms`: at a random moment of the `jitter_ms` from then on,
/// so that schedules of many servers for the same time do not all come at once.
pub(super) fn due_ms(at_ms: u64, jitter_ms: u64) -> u64 {
    // Without random numbers there is no jitter, which is better than no event.
    let random = getrandom::u64().unwrap_or_default();
    at_ms.saturating_add(random % jitter_ms.saturating_add(1))
}

/// RFC 3339 in UTC, to the millisecond.
fn text(at_ms: u64) -> String {
    let at = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    format!("{:.3}", at.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_to_the_millisecond() {
        assert_eq!(text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(text(1_785_000_000_007), "2026-07-25T17:20:00.007Z");
    }

    #[test]
    fn jitter_only_ever_puts_off_and_has_an_end() {
        assert_eq!(due_ms(5, 0), 5);
        assert!((0..200).all(|_| (5..=8).contains(&due_ms(5, 3))));
        assert!((0..200).any(|_| due_ms(5, 3) == 8));
        assert!(due_ms(5, u64::MAX) >= 5);
    }
}
