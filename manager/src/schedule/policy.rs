//! What a schedule that is due makes of it: which of its times, and when it is due next. Nothing here looks at the
//! clock or at the store.

use super::cron::Cron;
use crate::store::trigger::config::{Missed, Overlap};

/// What is late by less than this, in milliseconds, was not missed.
const GRACE_MS: u64 = 60_000;

/// The most events that a schedule makes at once. If there were more times, it is the newest that count.
pub(super) const MAX_EVENTS: usize = 100;

/// A schedule, and how things stand with it. All times are in milliseconds since the Unix epoch.
pub(super) struct Situation<'a> {
    /// When it is due.
    pub(super) cron: &'a Cron,
    /// The first time at which it was due and has not run.
    pub(super) next_ms: u64,
    /// What time it is.
    pub(super) now_ms: u64,
    /// What becomes of times that were missed.
    pub(super) missed: Missed,
    /// What becomes of times at which its last event is still live.
    pub(super) overlap: Overlap,
    /// Whether an event of it waits or runs.
    pub(super) live: bool,
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The times for which to make an event, the oldest first, in milliseconds since the Unix epoch.
    pub(super) times_ms: Vec<u64>,
    /// Whether there were so many times that the oldest are left out.
    pub(super) too_many: bool,
    /// When the schedule is due next, in milliseconds since the Unix epoch; none when never.
    pub(super) next_ms: Option<u64>,
}

/// Decide what to do. As long as the time of a schedule has not come, which is also so when the clock was set back,
/// that is nothing; otherwise it is due next after `now_ms`, so that nothing is ever done twice.
///
/// What was missed is made up for by nothing, by one event for the newest time, or by an event for each. The one is not
/// made when there is an event for a time that was not missed: that one makes up for the others, too.
///
/// With `skip` for overlaps, a live event stands for whatever is due; when there is none, at most one is made, unless
/// `all` asks for an event for each.
pub(super) fn decide(situation: &Situation<'_>) -> Decision {
    let Situation { cron, next_ms, now_ms, missed, overlap, live } = *situation;
    if now_ms < next_ms {
        return Decision { times_ms: Vec::new(), too_many: false, next_ms: Some(next_ms) };
    }
    let next_due = cron.next_after(now_ms);
    if live && overlap == Overlap::Skip {
        return Decision { times_ms: Vec::new(), too_many: false, next_ms: next_due };
    }
    let (mut times_ms, more) = newest(cron, next_ms, now_ms);
    if missed != Missed::All {
        let in_time = times_ms.partition_point(|at| now_ms - at >= GRACE_MS);
        let made_up = if missed == Missed::One && in_time == times_ms.len() { 1 } else { 0 };
        times_ms.drain(..in_time - made_up);
        if overlap == Overlap::Skip {
            times_ms.drain(..times_ms.len().saturating_sub(1));
        }
    }
    Decision { times_ms, too_many: more && missed == Missed::All, next_ms: next_due }
}

/// The newest [`MAX_EVENTS`] times from `first_ms`, which is one, to `until_ms`, the oldest first, and whether there
/// are more.
fn newest(cron: &Cron, first_ms: u64, until_ms: u64) -> (Vec<u64>, bool) {
    let mut times = Vec::new();
    let mut until_ms = until_ms;
    while times.len() < MAX_EVENTS
        && let Some(at) = last(cron, first_ms, until_ms)
    {
        times.push(at);
        until_ms = at.saturating_sub(1);
    }
    let more = times.len() == MAX_EVENTS;
    if !more {
        // This one is told by the store, and stays a time even if the rules of the time zone have changed since.
        times.push(first_ms);
    }
    times.reverse();
    (times, more)
}

/// The last time of a schedule that is later than `after_ms`, and not later than `until_ms`. Halves the span where it
/// may be, since a schedule only knows what comes next, and may have a million times in between.
fn last(cron: &Cron, after_ms: u64, until_ms: u64) -> Option<u64> {
    let next = |after_ms| cron.next_after(after_ms).filter(|at| *at <= until_ms);
    let mut found = next(after_ms)?;
    let mut end = until_ms;
    while found < end {
        let middle = found + (end - found) / 2;
        match next(middle) {
            Some(later) => found = later,
            None => end = middle,
        }
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;

    fn cron(text: &str) -> Cron {
        Cron::parse(text, "UTC").unwrap()
    }

    fn decided(cron: &Cron, (next_ms, now_ms): (u64, u64), missed: Missed, overlap: Overlap) -> Decision {
        decide(&Situation { cron, next_ms, now_ms, missed, overlap, live: false })
    }

    /// The times for which an hourly schedule that was due at 1:00 makes events, in hours.
    #[track_caller]
    fn hours(now_ms: u64, missed: Missed, overlap: Overlap) -> Vec<u64> {
        let decision = decided(&cron("@hourly"), (HOUR, now_ms), missed, overlap);
        assert_eq!(decision.next_ms, Some((now_ms / HOUR + 1) * HOUR));
        assert!(!decision.too_many);
        decision.times_ms.into_iter().map(|at| at / HOUR).collect()
    }

    #[test]
    fn what_is_due_is_due_once_and_next_time_is_later() {
        for missed in [Missed::Skip, Missed::One, Missed::All] {
            for overlap in [Overlap::Skip, Overlap::Queue] {
                assert_eq!(hours(HOUR, missed, overlap), [1]);
                // Late, but not too late.
                assert_eq!(hours(HOUR + MINUTE - 1, missed, overlap), [1]);
            }
        }
    }

    #[test]
    fn what_was_missed_is_made_up_for_as_the_policy_says() {
        for overlap in [Overlap::Skip, Overlap::Queue] {
            assert_eq!(hours(HOUR + MINUTE, Missed::Skip, overlap), [0; 0]);
            assert_eq!(hours(HOUR + MINUTE, Missed::One, overlap), [1]);
            assert_eq!(hours(4 * HOUR + MINUTE, Missed::Skip, overlap), [0; 0]);
            assert_eq!(hours(4 * HOUR + MINUTE, Missed::One, overlap), [4]);
            assert_eq!(hours(4 * HOUR + MINUTE, Missed::All, overlap), [1, 2, 3, 4]);
            // The fourth is in time.
            assert_eq!(hours(4 * HOUR, Missed::Skip, overlap), [4]);
            assert_eq!(hours(4 * HOUR, Missed::One, overlap), [4]);
            assert_eq!(hours(4 * HOUR, Missed::All, overlap), [1, 2, 3, 4]);
        }
    }

    #[test]
    fn when_it_is_often_due_those_in_time_overlap_each_other() {
        let often = cron("*/20 * * * * *");
        let due = |missed, overlap| decided(&often, (MINUTE, 3 * MINUTE), missed, overlap).times_ms;
        let in_time = [140_000, 160_000, 180_000];
        for missed in [Missed::Skip, Missed::One] {
            assert_eq!(due(missed, Overlap::Queue), in_time);
            assert_eq!(due(missed, Overlap::Skip), [180_000]);
        }
        assert_eq!(
            due(Missed::All, Overlap::Skip),
            [60_000, 80_000, 100_000, 120_000, 140_000, 160_000, 180_000]
        );
    }

    #[test]
    fn while_an_event_is_live_there_is_no_other_unless_they_queue() {
        let hourly = cron("@hourly");
        for missed in [Missed::Skip, Missed::One, Missed::All] {
            let due = |overlap| {
                let now_ms = 3 * HOUR;
                decide(&Situation { cron: &hourly, next_ms: HOUR, now_ms, missed, overlap, live: true })
            };
            let nothing = Decision { times_ms: vec![], too_many: false, next_ms: Some(4 * HOUR) };
            assert_eq!(due(Overlap::Skip), nothing);
            assert!(due(Overlap::Queue).times_ms.contains(&(3 * HOUR)));
        }
    }

    #[test]
    fn a_clock_that_was_set_back_changes_nothing() {
        let decision = decided(&cron("@hourly"), (5 * HOUR, HOUR), Missed::All, Overlap::Queue);
        assert_eq!(decision, Decision { times_ms: vec![], too_many: false, next_ms: Some(5 * HOUR) });
    }

    #[test]
    fn of_too_many_the_newest_count() {
        let year = 365 * 24 * HOUR;
        let begun = std::time::Instant::now();
        let decision = decided(&cron("* * * * * *"), (1000, year), Missed::All, Overlap::Queue);
        let newest: Vec<u64> = (0..100).map(|second| year - 99_000 + second * 1000).collect();
        assert_eq!(decision, Decision { times_ms: newest, too_many: true, next_ms: Some(year + 1000) });
        let just = decided(&cron("* * * * * *"), (1000, 100_999), Missed::All, Overlap::Queue);
        assert_eq!((just.times_ms.len(), just.too_many), (100, false));
        let over = decided(&cron("* * * * * *"), (1000, 101_000), Missed::All, Overlap::Queue);
        assert_eq!((over.times_ms.len(), over.times_ms[0], over.too_many), (100, 2000, true));
        assert!(begun.elapsed().as_secs() < 2, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_schedule_that_is_never_due_again_ends() {
        let last_day = 253_402_214_400_000;
        let decision = decided(&cron("0 0 31 12 *"), (last_day, last_day), Missed::One, Overlap::Queue);
        assert_eq!(decision, Decision { times_ms: vec![last_day], too_many: false, next_ms: None });
    }
}
