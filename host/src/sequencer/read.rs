//! Gets and lists: the overlay laid over the store.

use std::iter::Peekable;
use std::sync::Arc;
use std::time::Duration;

use crate::call::AppId;
use crate::ports::{KeyRange, KvEntry, KvPage, Page, StoreError};

use super::Shared;
use super::backend::KvBackend;
use super::overlay::Slot;
use super::range::Filling;

/// How often a page is read again because what it needed was evicted in the meantime. Each time the whole cache must
/// have been replaced while one page was read.
const LIST_ATTEMPTS: usize = 32;

/// From this attempt on a little later each time.
const LIST_PATIENCE: usize = 8;

impl<B: KvBackend> Shared<B> {
    /// The entry of each key. Ready at once when every key has a slot.
    pub(super) async fn read(
        &self,
        app: AppId,
        keys: &[Arc<str>],
    ) -> Result<Vec<Option<KvEntry>>, StoreError> {
        let mut missing = Vec::new();
        let mut entries = Vec::with_capacity(keys.len());
        let started = {
            let mut state = self.lock();
            for (at, key) in keys.iter().enumerate() {
                let slot = state.overlay.get(app, key);
                if slot.is_none() {
                    missing.push(at);
                }
                entries.push(slot.and_then(Slot::entry));
            }
            state.number()
        };
        if missing.is_empty() {
            return Ok(entries);
        }
        let wanted: Vec<Arc<str>> = missing.iter().map(|at| Arc::clone(&keys[*at])).collect();
        let loaded = self.backend.load(app, &wanted).await?;
        let mut state = self.lock();
        for ((at, key), entry) in missing.into_iter().zip(&wanted).zip(loaded) {
            state.overlay.put_loaded(app, key, entry.as_ref(), started);
            // A slot that has appeared is at least as new as the answer.
            entries[at] = state.overlay.peek(app, key).map_or(entry, Slot::entry);
        }
        state.evict();
        Ok(entries)
    }

    /// One page of a range.
    pub(super) async fn list(&self, app: AppId, range: &KeyRange, page: Page) -> Result<KvPage, StoreError> {
        let mut range = range.clone();
        let mut filling = Filling::new(page);
        loop {
            // A part is short when slots have hidden rows of the store. The parts are true at different moments; a
            // transaction finds out in its commit if anything in the range has changed since its snapshot.
            match self.list_part(app, &range, &mut filling).await? {
                Part::Full { more } => return Ok(filling.finish(more)),
                Part::Continue { after } => range.after = Some(after),
            }
        }
    }

    /// Fill the page with what the range holds at one moment.
    ///
    /// That moment is when the overlay is looked at, after the store has answered. A key without a slot then is in the
    /// answer as it is in the order: had it been written by a commit that was not durable when the store was asked, it
    /// would have a slot, unless that was evicted since or rolled back, and then the floor has risen above what was
    /// durable, and the store is asked again.
    async fn list_part(
        &self,
        app: AppId,
        range: &KeyRange,
        filling: &mut Filling,
    ) -> Result<Part, StoreError> {
        for attempt in 0..LIST_ATTEMPTS {
            if attempt >= LIST_PATIENCE {
                // Whoever replaces the cache again and again, such as the reaper with a small one, comes to an end.
                tokio::time::sleep(Duration::from_millis(attempt as u64)).await;
            }
            let durable = self.lock().durable();
            let stored = self.backend.list(app, range, filling.rest()).await?;
            let state = self.lock();
            if state.overlay.floor() > durable {
                continue;
            }
            // What lies behind the last row of a page that is not the last is not known yet.
            let last = if stored.more { stored.entries.last().map(|(key, _)| Arc::clone(key)) } else { None };
            let mut merged = Merge {
                stored: stored.entries.into_iter().peekable(),
                slots: state.overlay.range(app, range, last.as_deref()).peekable(),
            };
            while let Some((key, entry)) = merged.next() {
                filling.push(key, entry);
                if filling.is_full() {
                    return Ok(Part::Full { more: last.is_some() || merged.next().is_some() });
                }
            }
            return Ok(match last {
                Some(after) => Part::Continue { after },
                None => Part::Full { more: false },
            });
        }
        let error = StoreError("pages are evicted faster than they are read".into());
        tracing::error!(%error, "cannot list keys");
        Err(error)
    }
}

/// What became of a part of a page.
enum Part {
    /// The page is done.
    Full { more: bool },
    /// There is room left for what comes after this key.
    Continue { after: Arc<str> },
}

/// Rows of the store and slots in one order. A slot hides the row of its key.
struct Merge<R: Iterator, S: Iterator> {
    stored: Peekable<R>,
    slots: Peekable<S>,
}

impl<'a, R, S> Iterator for Merge<R, S>
where
    R: Iterator<Item = (Arc<str>, KvEntry)>,
    S: Iterator<Item = (&'a Arc<str>, &'a Slot)>,
{
    type Item = (Arc<str>, KvEntry);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((key, slot)) = self.slots.peek() else { return self.stored.next() };
            match self.stored.peek() {
                Some((row, _)) if **row < ***key => return self.stored.next(),
                Some((row, _)) if *row == **key => drop(self.stored.next()),
                _ => {}
            }
            let live = slot.entry().map(|entry| (Arc::clone(key), entry));
            self.slots.next();
            if live.is_some() {
                return live;
            }
        }
    }
}
