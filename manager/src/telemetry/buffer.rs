//! Records that wait to be written: bounded in number, in bytes and in rows a second, failures before successes.

use std::time::Instant;

use picloud_host::ports::ExecutionRecord;

/// What may wait.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Records at most, those being written included.
    pub records: usize,
    /// Bytes of memory at most, those being written included.
    pub bytes: usize,
    /// Records a second in the long run. Up to a second's worth may come at once.
    pub records_per_second: u32,
}

/// Why a record is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There were more records than may be written a second.
    Rate,
    /// Too many records wait, or too large ones.
    Full,
}

/// Of every capacity, this part is for failed calls only.
const RESERVE: usize = 4;

/// Waiting records.
#[derive(Debug)]
pub(super) struct Buffer {
    capacity: Capacity,
    waiting: Vec<ExecutionRecord>,
    /// Waiting, or taken and not yet released.
    records: usize,
    bytes: usize,
    /// Rows that may be written now, in billionths.
    credit: u64,
    credited_at: Instant,
}

const ROW: u64 = 1_000_000_000;

impl Buffer {
    /// An empty buffer.
    pub(super) fn new(capacity: Capacity, now: Instant) -> Self {
        let credit = u64::from(capacity.records_per_second) * ROW;
        Self { capacity, waiting: Vec::new(), records: 0, bytes: 0, credit, credited_at: now }
    }

    /// Let a record wait.
    ///
    /// # Errors
    ///
    /// Gives back the record that is not kept, so that it can be dropped when no lock is held.
    pub(super) fn push(
        &mut self,
        record: ExecutionRecord,
        now: Instant,
    ) -> Result<(), (ExecutionRecord, Refusal)> {
        let failed = record.error.as_ref().is_some_and(|error| error.fault.is_some());
        // What successful calls must leave free.
        let leave = |capacity: usize| if failed { 0 } else { capacity / RESERVE };
        let bytes = bytes_of(&record);
        let Capacity { records: most_records, bytes: most_bytes, records_per_second } = self.capacity;
        if self.records + 1 + leave(most_records) > most_records
            || self.bytes.saturating_add(bytes) + leave(most_bytes) > most_bytes
        {
            return Err((record, Refusal::Full));
        }
        self.add_credit(now);
        let reserved = leave(records_per_second as usize) as u64 * ROW;
        if self.credit < ROW + reserved {
            return Err((record, Refusal::Rate));
        }
        self.credit -= ROW;
        self.records += 1;
        self.bytes += bytes;
        self.waiting.push(record);
        Ok(())
    }

    fn add_credit(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.credited_at);
        let rate = u64::from(self.capacity.records_per_second);
        let earned = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX).saturating_mul(rate);
        self.credit = self.credit.saturating_add(earned).min(rate * ROW);
        self.credited_at = now;
    }

    /// Take all waiting records. They go on counting until they are released.
    pub(super) fn take(&mut self) -> Vec<ExecutionRecord> {
        std::mem::take(&mut self.waiting)
    }

    /// Records that were taken are written or lost: their room is free again.
    pub(super) fn release(&mut self, records: &[ExecutionRecord]) {
        self.records -= records.len();
        self.bytes -= records.iter().map(bytes_of).sum::<usize>();
    }

    /// Whether it is half full, so that waiting for more would be a risk.
    pub(super) fn is_half_full(&self) -> bool {
        self.records >= self.capacity.records / 2 || self.bytes >= self.capacity.bytes / 2
    }

    /// Records waiting or being written.
    pub(super) fn len(&self) -> usize {
        self.records
    }
}

/// Bytes of memory that a record takes.
fn bytes_of(record: &ExecutionRecord) -> usize {
    let text = |text: &Option<String>| text.as_ref().map_or(0, String::capacity);
    let log: usize = record.log.iter().map(|line| line.message.capacity()).sum();
    size_of::<ExecutionRecord>()
        + record.error.as_ref().map_or(0, |error| error.message.capacity())
        + record.http.as_ref().map_or(0, |(method, path)| method.capacity() + path.capacity())
        + text(&record.request_id)
        + record.log.capacity() * size_of::<picloud_host::call::LogLine>()
        + log
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::tests::{failed, succeeded};

    const CAPACITY: Capacity = Capacity { records: 100, bytes: 1 << 20, records_per_second: 1000 };

    fn pushed(buffer: &mut Buffer, now: Instant, count: usize, make: fn() -> ExecutionRecord) -> usize {
        (0..count).filter(|_| buffer.push(make(), now).is_ok()).count()
    }

    #[test]
    fn failures_have_room_that_successes_cannot_take() {
        let now = Instant::now();
        let mut buffer = Buffer::new(CAPACITY, now);
        assert_eq!(pushed(&mut buffer, now, 200, succeeded), 75);
        assert_eq!(buffer.push(succeeded(), now).unwrap_err().1, Refusal::Full);
        assert_eq!(pushed(&mut buffer, now, 200, failed), 25);
        assert!(buffer.is_half_full());

        let taken = buffer.take();
        assert_eq!(pushed(&mut buffer, now, 1, failed), 0, "what is being written counts");
        buffer.release(&taken);
        assert_eq!(buffer.len(), 0);
        assert_eq!(pushed(&mut buffer, now, 1, succeeded), 1);
    }

    #[test]
    fn bytes_are_bounded() {
        let now = Instant::now();
        let mut buffer = Buffer::new(CAPACITY, now);
        let large = || {
            let mut record = succeeded();
            record.request_id = Some("x".repeat(100_000));
            record
        };
        assert_eq!(pushed(&mut buffer, now, 20, large), 7);
        assert_eq!(pushed(&mut buffer, now, 1, succeeded), 1, "a small one still fits");
        let waiting = buffer.waiting.clone();
        buffer.release(&waiting);
    }

    #[test]
    fn rate_is_bounded_and_failures_come_first() {
        let start = Instant::now();
        let capacity = Capacity { records: usize::MAX / 2, bytes: usize::MAX / 2, records_per_second: 1000 };
        let mut buffer = Buffer::new(capacity, start);
        assert_eq!(pushed(&mut buffer, start, 5000, succeeded), 750);
        assert_eq!(buffer.push(succeeded(), start).unwrap_err().1, Refusal::Rate);
        assert_eq!(pushed(&mut buffer, start, 5000, failed), 250);

        // The credit of half a second goes to whoever comes, but successes leave the reserve.
        let later = start + Duration::from_millis(500);
        assert_eq!(pushed(&mut buffer, later, 5000, succeeded), 250);
        assert_eq!(pushed(&mut buffer, later, 5000, failed), 250);

        // In the long run successes alone may use the whole rate.
        let kept: usize = (6..=105_u32)
            .map(|tenth| pushed(&mut buffer, start + Duration::from_millis(100) * tenth, 5000, succeeded))
            .sum();
        assert!((9_700..=10_000).contains(&kept), "{kept}");
    }
}
