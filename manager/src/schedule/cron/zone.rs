//! How local times become moments.
//!
//! Time is a row of stretches in which a zone's distance from UTC stays the same. Within a stretch a local time is one
//! moment. What happens between two of them is as in Vixie cron, which crontab(5) describes:
//!
//! - The clock goes forward, and local times are left out. What is at fixed times and would have been in the gap is due
//!   once, at its end. What is every so often goes on after it.
//! - The clock goes back, and local times come twice. What is at fixed times is due the first time only. What is every
//!   so often goes on, so it is due in both.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::pattern::Pattern;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The first moment later than `after_ms` at which a pattern matches, both in milliseconds since the Unix epoch.
pub(super) fn next_after(pattern: &Pattern, timezone: &TimeZone, after_ms: u64) -> Option<u64> {
    let after = Timestamp::from_second(i64::try_from(after_ms / 1000).ok()?).ok()?;
    let mut since = after;
    let mut offset = timezone.to_offset(since);
    let mut found = pattern.next(unused(pattern, timezone, after, offset)?)?;
    loop {
        let moment = offset.to_timestamp(found).ok()?;
        let Some(change) = timezone.following(since).next().filter(|change| change.timestamp() <= moment)
        else {
            return u64::try_from(moment.as_millisecond()).ok();
        };
        since = change.timestamp();
        let left = offset.to_datetime(since);
        offset = change.offset();
        let entered = offset.to_datetime(since);
        if pattern.at_fixed_times {
            if found < entered {
                return u64::try_from(since.as_millisecond()).ok();
            }
        } else if found < entered || entered < left {
            found = pattern.next(entered)?;
        }
    }
}

/// The first local time after `after` that has not been used up.
fn unused(pattern: &Pattern, timezone: &TimeZone, after: Timestamp, offset: Offset) -> Option<DateTime> {
    let from = offset.to_datetime(after).checked_add(SECOND).ok()?;
    if !pattern.at_fixed_times {
        return Some(from);
    }
    // If the clock has just gone back, local times up to then have been before.
    let Some(change) = timezone.preceding(after.checked_add(SECOND).ok()?).next() else { return Some(from) };
    let before = timezone.to_offset(change.timestamp().checked_sub(SECOND).ok()?);
    Some(from.max(before.to_datetime(change.timestamp())))
}
