//! Which keys and events the newest commits touched: answers what has changed since a snapshot.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use crate::call::AppId;

/// How much of the past is kept, counted in bytes of keys and entries: some tens of thousands of writes.
const KEPT_BYTES: usize = 4 << 20;

/// One thing that one commit touched.
#[derive(Debug)]
pub(super) struct Touch {
    /// The commit's number.
    pub(super) version: u64,
    /// What it was.
    pub(super) what: Touched,
}

/// What a commit touches.
#[derive(Debug)]
pub(super) enum Touched {
    /// A key of an app.
    Key(AppId, Arc<str>),
    /// An event.
    Event(Uuid),
}

pub(super) struct CommitLog {
    /// Oldest first.
    touches: VecDeque<Touch>,
    bytes: usize,
    /// Everything that commits after this one touched is here.
    start: u64,
}

impl CommitLog {
    /// An empty log that starts after the commit `newest`.
    pub(super) fn new(newest: u64) -> Self {
        Self { touches: VecDeque::new(), bytes: 0, start: newest }
    }

    /// Note what the newest commit touched.
    pub(super) fn push(&mut self, version: u64, what: Touched) {
        self.bytes += size(&what);
        self.touches.push_back(Touch { version, what });
        while self.bytes > KEPT_BYTES
            && let Some(oldest) = self.touches.pop_front()
        {
            self.bytes -= size(&oldest.what);
            self.start = oldest.version;
        }
    }

    /// What commits after `number` touched, newest first; none when not all of it is kept.
    pub(super) fn since(&self, number: u64) -> Option<impl Iterator<Item = &Touch>> {
        (number >= self.start).then(|| self.touches.iter().rev().take_while(move |t| t.version > number))
    }

    /// Forget everything: what comes is numbered after `number`.
    pub(super) fn restart(&mut self, number: u64) {
        *self = Self::new(number);
    }
}

fn size(what: &Touched) -> usize {
    let key = match what {
        Touched::Key(_, key) => 32 + key.len(),
        Touched::Event(_) => 0,
    };
    size_of::<Touch>() + key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_knows_what_it_forgot() {
        let mut log = CommitLog::new(10);
        assert!(log.since(9).is_none());
        let key: Arc<str> = "k".repeat(1 << 20).into();
        (11..=20).for_each(|version| log.push(version, Touched::Key(AppId(1), Arc::clone(&key))));
        assert!(log.bytes <= KEPT_BYTES);
        assert!(log.since(16).is_none());
        let kept: Vec<u64> = log.since(17).into_iter().flatten().map(|w| w.version).collect();
        assert_eq!(kept, [20, 19, 18]);
        assert_eq!(log.since(20).into_iter().flatten().count(), 0);
    }
}
