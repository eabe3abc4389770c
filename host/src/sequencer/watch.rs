//! The events that follow from changes of keys. They are part of the transaction that makes the change.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::EventOp;
use crate::ports::{CommitError, Transaction};
use crate::trigger::{AppTriggers, KvChange};

use super::Shared;
use super::backend::KvBackend;

/// How many events may follow from the changes of one transaction.
const MAX_EVENTS: usize = 10_000;

/// How many bytes those events may have: they carry values.
const MAX_BYTES: usize = 32 << 20;

/// How many old values are read at once.
const CHUNK: usize = 16;

/// How often the old values are read again because somebody else has written meanwhile.
const ATTEMPTS: usize = 32;

impl<B: KvBackend> Shared<B> {
    /// Commit a transaction with the events that follow from its writes. A key that it removes counts as `removal`.
    pub(super) async fn commit(
        &self,
        transaction: Transaction,
        removal: KvChange,
    ) -> Result<u64, CommitError> {
        let set = self.options.active.current();
        if set.triggers.is_empty() || transaction.writes.is_empty() {
            drop(set);
            return self.order(transaction).await;
        }
        let set = Arc::clone(&set);
        match set.triggers.get(&transaction.app) {
            Some(triggers) if transaction.writes.iter().any(|(key, _)| triggers.watches(key)) => {
                self.commit_watched(transaction, removal, triggers).await
            }
            _ => self.order(transaction).await,
        }
    }

    async fn commit_watched(
        &self,
        transaction: Transaction,
        removal: KvChange,
        triggers: &AppTriggers,
    ) -> Result<u64, CommitError> {
        for _ in 0..ATTEMPTS {
            let with_events = self.with_events(transaction.clone(), removal, triggers).await?;
            match self.order(with_events).await {
                // Somebody has changed a key that this one only writes: what it was before is another value now.
                Err(CommitError::Conflict) if self.lock().is_current(&transaction) => {}
                other => return other,
            }
        }
        Err(CommitError::Conflict)
    }

    /// Add the events. What the keys were before counts as read from then on, so that it is told right.
    async fn with_events(
        &self,
        mut transaction: Transaction,
        removal: KvChange,
        triggers: &AppTriggers,
    ) -> Result<Transaction, CommitError> {
        if transaction.reads.is_empty() && transaction.ranges.is_empty() && transaction.events.is_empty() {
            transaction.snapshot = self.begin();
        }
        let read: HashMap<Arc<str>, u64> = transaction.reads.iter().cloned().collect();
        let watched: Vec<_> =
            transaction.writes.iter().filter(|(key, _)| triggers.watches(key)).cloned().collect();
        let now_ms = self.options.clock.now_ms();
        let origin = (transaction.cause, now_ms);
        let mut budget = Budget { events: MAX_EVENTS, bytes: MAX_BYTES };
        for chunk in watched.chunks(CHUNK) {
            let keys: Vec<Arc<str>> = chunk.iter().map(|(key, _)| Arc::clone(key)).collect();
            for ((key, write), old) in chunk.iter().zip(self.read(transaction.app, &keys).await?) {
                let version = old.as_ref().map_or(0, |old| old.version);
                match read.get(key) {
                    Some(seen) if *seen != version => return Err(CommitError::Conflict),
                    Some(_) => {}
                    None => transaction.reads.push((Arc::clone(key), version)),
                }
                let mut of = |change, values| {
                    let events = triggers.of_change(transaction.app, key, change, values, origin);
                    let ops = events.into_iter().map(|event| EventOp::Insert(Box::new(event)));
                    ops.into_iter().try_for_each(|op| {
                        budget.take(&op)?;
                        transaction.events.push(op);
                        Ok::<_, CommitError>(())
                    })
                };
                // An entry that has expired is no longer there, and nobody else will tell that it has gone.
                let (gone, old) = match old {
                    Some(old) if old.expired(now_ms) && removal != KvChange::Expire => (Some(old), None),
                    old => (None, old),
                };
                if let Some(gone) = &gone {
                    of(KvChange::Expire, (Some(gone), None))?;
                }
                match (&old, write) {
                    (_, Some(write)) => of(KvChange::Set, (old.as_ref(), Some(write)))?,
                    (Some(old), None) => of(removal, (Some(old), None))?,
                    (None, None) => {}
                }
            }
        }
        Ok(transaction)
    }
}

/// What is left for the events of one transaction.
struct Budget {
    events: usize,
    bytes: usize,
}

impl Budget {
    fn take(&mut self, op: &EventOp) -> Result<(), CommitError> {
        let left = self.events.checked_sub(1).zip(self.bytes.checked_sub(op.size()));
        (self.events, self.bytes) = left.ok_or(CommitError::TooManyEvents)?;
        Ok(())
    }
}
