//! What each app keeps, so that a transaction that would make it more than its quotas allow is refused in the order.
//!
//! The store keeps the totals. They are read once for each app, and go on here with every commit. What a commit adds is
//! never underrated: of a key that is not in memory nobody knows here what it replaces, so it counts as new. So what is
//! refused is looked at again with the totals of the store and the entries that it replaces, and only then refused.

use std::collections::HashMap;
use std::ops::AddAssign;
use std::sync::Arc;

use crate::call::AppId;
use crate::event::EventOp;
use crate::ports::{KvValue, KvWrite, StoreError, Transaction};
use crate::quota::{Quotas, StorageQuota};

use super::Shared;
use super::backend::KvBackend;
use super::overlay::Overlay;
use super::state::State;

/// How often the totals are read again because a group was written meanwhile.
const ATTEMPTS: usize = 16;

/// What an app keeps, or what that grows by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Keys and values, in bytes of both.
    pub kv_bytes: i64,
    /// Events, whatever their state.
    pub events: i64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.kv_bytes = self.kv_bytes.saturating_add(other.kv_bytes);
        self.events = self.events.saturating_add(other.events);
    }
}

/// How a transaction goes with the quotas of its app.
pub(super) enum Fit {
    /// It may be ordered, and makes this more.
    Yes(Usage),
    /// Nobody has asked the store yet.
    Unknown,
    /// It makes it too much.
    No(StorageQuota),
}

/// What was replaced, in bytes, of keys that are not in memory.
pub(super) type Replaced = HashMap<Arc<str>, i64>;

/// What counts of an entry.
fn bytes(key: &str, value: Option<&KvValue>) -> i64 {
    value.map_or(0, |value| i64::try_from(key.len() + value.len()).unwrap_or(i64::MAX))
}

/// What a transaction makes more, at most.
fn growth(overlay: &Overlay, transaction: &Transaction, replaced: &Replaced) -> Usage {
    let app = transaction.app;
    let of_key = |(key, write): &(Arc<str>, Option<KvWrite>)| {
        let value = |write: &Option<KvWrite>| bytes(key, write.as_ref().map(|write| &write.value));
        let before = match overlay.peek(app, key) {
            Some(slot) => value(&slot.write),
            None => replaced.get(key).copied().unwrap_or(0),
        };
        value(write) - before
    };
    let of_event = |op: &EventOp| match op {
        EventOp::Insert(_) => 1,
        EventOp::Complete { .. } | EventOp::Remove { .. } => -1,
        _ => 0,
    };
    Usage {
        kv_bytes: transaction.writes.iter().map(of_key).sum(),
        events: transaction.events.iter().map(of_event).sum(),
    }
}

/// Whether something that grows is over its bound then.
fn over(known: i64, growth: i64, most: Option<u64>) -> Option<u64> {
    let most = most?;
    let sum = known.saturating_add(growth);
    (growth > 0 && u64::try_from(sum).is_ok_and(|sum| sum > most)).then_some(most)
}

impl State {
    /// Whether a transaction goes with these quotas.
    pub(super) fn fits(&mut self, transaction: &Transaction, quotas: &Quotas, replaced: &Replaced) -> Fit {
        let Quotas { kv_bytes, queued_events, .. } = quotas;
        if kv_bytes.is_none() && queued_events.is_none() {
            // Nobody goes on with what is known.
            self.usages.remove(&transaction.app);
            return Fit::Yes(Usage::default());
        }
        let growth = growth(&self.overlay, transaction, replaced);
        if growth.kv_bytes <= 0 && growth.events <= 0 {
            return Fit::Yes(growth);
        }
        let Some(known) = self.usages.get(&transaction.app) else { return Fit::Unknown };
        if let Some(most) = over(known.kv_bytes, growth.kv_bytes, *kv_bytes) {
            return Fit::No(StorageQuota::KvBytes(most));
        }
        match over(known.events, growth.events, *queued_events) {
            Some(most) => Fit::No(StorageQuota::QueuedEvents(most)),
            None => Fit::Yes(growth),
        }
    }
}

impl<B: KvBackend> Shared<B> {
    /// The quotas of an app; none bind where it is not known.
    pub(super) fn quotas(&self, app: AppId) -> Quotas {
        self.options.active.current().app(app).map(|app| *app.quotas).unwrap_or_default()
    }

    /// Read the totals of an app.
    pub(super) async fn learn_usage(&self, app: AppId) -> Result<(), StoreError> {
        for attempt in 1..=ATTEMPTS {
            let (number, stored) = self.backend.usage(app).await?;
            let last = attempt == ATTEMPTS;
            if self.lock().learn(app, number, stored, last) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// What a transaction would replace.
    pub(super) async fn replaced(&self, transaction: &Transaction) -> Result<Replaced, StoreError> {
        let keys: Vec<Arc<str>> = transaction.writes.iter().map(|(key, _)| Arc::clone(key)).collect();
        if keys.is_empty() {
            return Ok(Replaced::new());
        }
        let entries = self.read(transaction.app, &keys).await?;
        let counted = keys.into_iter().zip(entries).map(|(key, entry)| {
            let bytes = bytes(&key, entry.as_ref().map(|entry| &entry.value));
            (key, bytes)
        });
        Ok(counted.collect())
    }
}
