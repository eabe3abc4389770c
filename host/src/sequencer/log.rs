//! Which keys the newest commits wrote: answers what has changed since a snapshot.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::call::AppId;

/// How much of the past is kept, counted in bytes of keys and entries: some tens of thousands of writes.
const KEPT_BYTES: usize = 4 << 20;

/// One write of one commit.
#[derive(Debug)]
pub(super) struct Written {
    /// The commit's number.
    pub(super) version: u64,
    /// Whose key it is.
    pub(super) app: AppId,
    /// The key.
    pub(super) key: Arc<str>,
}

pub(super) struct CommitLog {
    /// Oldest first.
    writes: VecDeque<Written>,
    bytes: usize,
    /// Every write of a commit after this one is here.
    start: u64,
}

impl CommitLog {
    /// An empty log that starts after the commit `newest`.
    pub(super) fn new(newest: u64) -> Self {
        Self { writes: VecDeque::new(), bytes: 0, start: newest }
    }

    /// Note a write of the newest commit.
    pub(super) fn push(&mut self, version: u64, app: AppId, key: Arc<str>) {
        self.bytes += size(&key);
        self.writes.push_back(Written { version, app, key });
        while self.bytes > KEPT_BYTES
            && let Some(oldest) = self.writes.pop_front()
        {
            self.bytes -= size(&oldest.key);
            self.start = oldest.version;
        }
    }

    /// The writes of commits after `number`, newest first; none when not all of them are kept.
    pub(super) fn since(&self, number: u64) -> Option<impl Iterator<Item = &Written>> {
        (number >= self.start).then(|| self.writes.iter().rev().take_while(move |w| w.version > number))
    }

    /// Forget everything: what comes is numbered after `number`.
    pub(super) fn restart(&mut self, number: u64) {
        *self = Self::new(number);
    }
}

fn size(key: &str) -> usize {
    size_of::<Written>() + 32 + key.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_knows_what_it_forgot() {
        let mut log = CommitLog::new(10);
        assert!(log.since(9).is_none());
        let key: Arc<str> = "k".repeat(1 << 20).into();
        (11..=20).for_each(|version| log.push(version, AppId(1), Arc::clone(&key)));
        assert!(log.bytes <= KEPT_BYTES);
        assert!(log.since(16).is_none());
        let kept: Vec<u64> = log.since(17).into_iter().flatten().map(|w| w.version).collect();
        assert_eq!(kept, [20, 19, 18]);
        assert_eq!(log.since(20).into_iter().flatten().count(), 0);
    }
}
