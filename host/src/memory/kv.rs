//! Keys and values in memory, and the events that are committed with them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::call::AppId;
use crate::memory::MemoryEvents;
use crate::ports::{Events, KeyRange, KvEntry, KvPage, Page, StoreError};
use crate::sequencer::{
    Expiring, Filling, Group, KvBackend, Sequencer, SequencerOptions, Usage, as_strs, bounds,
};

/// [`Kv`](crate::ports::Kv) in memory, with the same transactions as any other.
pub type MemoryKv = Sequencer<MemoryBackend>;

impl MemoryKv {
    /// An empty store. Must be called in a Tokio runtime.
    #[must_use]
    pub fn new() -> Self {
        let options = SequencerOptions { cache_bytes: 1 << 20, ..SequencerOptions::default() };
        Self::start(MemoryBackend::default(), 0, options)
    }
}

impl Default for MemoryKv {
    fn default() -> Self {
        Self::new()
    }
}

/// The store below [`MemoryKv`].
#[derive(Default)]
pub struct MemoryBackend {
    apps: Mutex<BTreeMap<AppId, BTreeMap<Arc<str>, KvEntry>>>,
    events: MemoryEvents,
    /// Of the newest commit. Changed while `apps` is locked.
    number: AtomicU64,
}

impl MemoryBackend {
    fn apps(&self) -> MutexGuard<'_, BTreeMap<AppId, BTreeMap<Arc<str>, KvEntry>>> {
        self.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KvBackend for MemoryBackend {
    fn events(&self) -> &dyn Events {
        &self.events
    }

    async fn load(&self, app: AppId, keys: &[Arc<str>]) -> Result<Vec<Option<KvEntry>>, StoreError> {
        let apps = self.apps();
        let entries = apps.get(&app);
        Ok(keys.iter().map(|key| entries.and_then(|entries| entries.get(key)).cloned()).collect())
    }

    async fn list(&self, app: AppId, range: &KeyRange, page: Page) -> Result<KvPage, StoreError> {
        let apps = self.apps();
        let mut filling = Filling::new(page);
        let (Some(bounds), Some(entries)) = (bounds(range), apps.get(&app)) else {
            return Ok(filling.finish(false));
        };
        for (key, entry) in entries.range::<str, _>(as_strs(&bounds)) {
            if filling.is_full() {
                return Ok(filling.finish(true));
            }
            filling.push(Arc::clone(key), entry.clone());
        }
        Ok(filling.finish(false))
    }

    async fn apply(&self, group: &Group) -> Result<(), StoreError> {
        let mut apps = self.apps();
        for ((app, key), change) in &group.changes {
            let entries = apps.entry(*app).or_default();
            match change.write.clone() {
                Some(write) => {
                    let entry =
                        KvEntry { value: write.value, version: change.version, expires_ms: write.expires_ms };
                    entries.insert(Arc::clone(key), entry);
                }
                None => drop(entries.remove(key)),
            }
        }
        // Answers are dropped: without a server nobody comes to fetch one.
        self.events.apply(&group.events);
        self.number.store(group.number, Ordering::Relaxed);
        Ok(())
    }

    async fn usage(&self, app: AppId) -> Result<(u64, Usage), StoreError> {
        let apps = self.apps();
        let entries = apps.get(&app).into_iter().flatten();
        let bytes: usize = entries.map(|(key, entry)| key.len() + entry.value.len()).sum();
        let kv_bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok((self.number.load(Ordering::Relaxed), Usage { kv_bytes, events: self.events.count(app) }))
    }

    async fn expiring(&self, limit: usize) -> Result<Vec<Expiring>, StoreError> {
        let apps = self.apps();
        let entries =
            apps.iter().flat_map(|(app, entries)| entries.iter().map(|(key, entry)| (*app, key, entry)));
        let mut expiring: Vec<Expiring> = entries
            .filter_map(|(app, key, entry)| {
                let expires_ms = entry.expires_ms?;
                Some(Expiring { app, key: Arc::clone(key), version: entry.version, expires_ms })
            })
            .collect();
        expiring.sort_by_key(|entry| entry.expires_ms);
        expiring.truncate(limit);
        Ok(expiring)
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryBackend;

    async fn backend() -> ((), MemoryBackend) {
        ((), MemoryBackend::default())
    }

    crate::kv_conformance!(backend);
}
