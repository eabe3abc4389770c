//! Costs and faults by minute that are not stored yet. Exact: every call counts here, whether its record is kept or not.

use std::collections::HashMap;
use std::time::Instant;

use picloud_host::ports::ExecutionRecord;

use super::totals::{Place, Totals};
use crate::store::minute::{MinuteKey, MinuteSamples};

/// Minutes of script versions that may wait. They are written every few seconds, so this many only wait when storage
/// fails for long or thousands of scripts are called.
const MOST: usize = 20_000;

/// Minutes of script versions, as they come in.
#[derive(Debug, Default)]
pub(super) struct Rollups {
    minutes: HashMap<MinuteKey, (MinuteSamples, Place)>,
    /// When the first of them came.
    since: Option<Instant>,
}

impl Rollups {
    /// Count a call in its minute and in the totals. False when there is no room for its minute.
    pub(super) fn record(&mut self, record: &ExecutionRecord, totals: &mut Totals, now: Instant) -> bool {
        let key = MinuteKey::of(record);
        if let Some((samples, place)) = self.minutes.get_mut(&key) {
            samples.record(record);
            totals.record(*place, record);
            return true;
        }
        let place = totals.place(record);
        totals.record(place, record);
        if self.minutes.len() == MOST {
            return false;
        }
        let mut samples = MinuteSamples::default();
        samples.record(record);
        self.minutes.insert(key, (samples, place));
        self.since.get_or_insert(now);
        true
    }

    /// Put back what could not be stored. Returns the calls that there is no room for any more.
    pub(super) fn put_back(&mut self, other: Self) -> u64 {
        let mut lost = 0;
        for (key, (samples, place)) in other.minutes {
            if let Some((ours, _)) = self.minutes.get_mut(&key) {
                ours.merge(&samples);
            } else if self.minutes.len() < MOST {
                self.minutes.insert(key, (samples, place));
            } else {
                lost += samples.calls();
            }
        }
        if !self.minutes.is_empty() {
            // Counted from now, so that failing storage is not tried again at once.
            self.since = Some(Instant::now());
        }
        lost
    }

    /// Drop what is stored now.
    pub(super) fn remove(&mut self, key: &MinuteKey) {
        self.minutes.remove(key);
    }

    /// When the first of them came; none when there is none.
    pub(super) fn since(&self) -> Option<Instant> {
        self.since
    }

    /// What there is, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&MinuteKey, &MinuteSamples)> {
        self.minutes.iter().map(|(key, (samples, _))| (key, samples))
    }
}
