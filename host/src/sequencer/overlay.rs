//! The newest version of recently written and recently read keys, in memory.
//!
//! A slot that is not durable yet stays until it is; the others are a cache of what the store holds, bounded in bytes.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use crate::call::AppId;
use crate::ports::{KeyRange, KvEntry, KvWrite};

use super::range;

/// About what a slot needs beside its key and its value: nodes, queue, reference counts.
const SLOT_OVERHEAD: usize = 192;

/// How many entries of the queue a single eviction looks at, unless the cache is much too large.
const EVICTION_STEPS: usize = 64;

/// What is known about one key.
pub(super) struct Slot {
    /// The commit that wrote it; 0 for a key that the store did not have.
    pub(super) version: u64,
    /// None when the key is deleted or never was.
    pub(super) write: Option<KvWrite>,
    /// Read or written again since the eviction last looked at it.
    used: bool,
}

impl Slot {
    /// The entry as readers see it.
    pub(super) fn entry(&self) -> Option<KvEntry> {
        let write = self.write.as_ref()?;
        Some(KvEntry { value: write.value.clone(), version: self.version, expires_ms: write.expires_ms })
    }

    /// The version as readers have seen it: 0 when there is no entry.
    pub(super) fn seen(&self) -> u64 {
        if self.write.is_some() { self.version } else { 0 }
    }
}

#[derive(Default)]
pub(super) struct Overlay {
    apps: HashMap<AppId, BTreeMap<Arc<str>, Slot>>,
    /// Every slot once, the next to be evicted in front.
    ages: VecDeque<(AppId, Arc<str>)>,
    bytes: usize,
    /// The highest version that was evicted: a key that is not here has none above it.
    floor: u64,
}

impl Overlay {
    /// The highest version that was evicted or dropped.
    pub(super) fn floor(&self) -> u64 {
        self.floor
    }

    /// The slot of a key, without counting as use.
    pub(super) fn peek(&self, app: AppId, key: &str) -> Option<&Slot> {
        self.apps.get(&app)?.get(key)
    }

    /// The slot of a key, for a reader.
    pub(super) fn get(&mut self, app: AppId, key: &str) -> Option<&Slot> {
        let slot = self.apps.get_mut(&app)?.get_mut(key)?;
        slot.used = true;
        Some(slot)
    }

    /// The slots from the lower bound of `range` to its upper bound or to `last`, whichever comes first.
    pub(super) fn range<'a>(
        &'a self,
        app: AppId,
        range: &KeyRange,
        last: Option<&str>,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Slot)> + use<'a> {
        let bounds = range::bounds(range);
        let slots = bounds.as_ref().zip(self.apps.get(&app)).map(|(bounds, slots)| {
            let (low, high) = range::as_strs(bounds);
            // `last` comes from a page of this very range, so it lies within the bounds.
            slots.range::<str, _>((low, last.map_or(high, Bound::Included)))
        });
        slots.into_iter().flatten()
    }

    /// Put what a commit wrote.
    pub(super) fn put(&mut self, app: AppId, key: Arc<str>, version: u64, write: Option<KvWrite>) {
        self.bytes += size(&key, write.as_ref());
        match self.apps.entry(app).or_default().entry(Arc::clone(&key)) {
            Entry::Occupied(mut old) => {
                self.bytes -= size(&key, old.get().write.as_ref());
                old.insert(Slot { version, write, used: true });
            }
            // A new slot stands at the end of the queue, which is time enough to come into use.
            Entry::Vacant(slot) => {
                slot.insert(Slot { version, write, used: false });
                self.ages.push_back((app, key));
            }
        }
    }

    /// Put what the store answered to a read that started when the newest commit was `started`, unless something newer
    /// is here, or was here and may have been evicted in the meantime.
    pub(super) fn put_loaded(&mut self, app: AppId, key: &Arc<str>, entry: Option<&KvEntry>, started: u64) {
        if self.floor > started || self.peek(app, key).is_some() {
            return;
        }
        let version = entry.map_or(0, |entry| entry.version);
        let write = entry.map(|e| KvWrite { value: e.value.clone(), expires_ms: e.expires_ms });
        self.put(app, Arc::clone(key), version, write);
    }

    /// Evict durable slots, the ones that were not used for longest first, until `limit` bytes are left.
    pub(super) fn evict(&mut self, limit: usize, durable: u64) {
        let mut steps = 0;
        let all = 2 * self.ages.len();
        while self.bytes > limit && steps < all && (steps < EVICTION_STEPS || self.bytes > limit + limit / 4)
        {
            steps += 1;
            let Some((app, key)) = self.ages.pop_front() else { return };
            let Some(slots) = self.apps.get_mut(&app) else { continue };
            let Some(slot) = slots.get_mut(&key) else { continue };
            if slot.used || slot.version > durable {
                slot.used = false;
                self.ages.push_back((app, key));
                continue;
            }
            self.floor = self.floor.max(slot.version);
            self.bytes -= size(&key, slot.write.as_ref());
            slots.remove(&key);
        }
    }

    /// Drop every slot newer than `durable`. `number` is the newest commit of all, which is lost as well.
    pub(super) fn roll_back(&mut self, durable: u64, number: u64) {
        for slots in self.apps.values_mut() {
            slots.retain(|key, slot| {
                let keep = slot.version <= durable;
                if !keep {
                    self.bytes -= size(key, slot.write.as_ref());
                }
                keep
            });
        }
        let Self { apps, ages, .. } = self;
        ages.retain(|(app, key)| apps.get(app).is_some_and(|slots| slots.contains_key(key)));
        self.floor = number;
    }
}

/// What a slot counts for.
pub(super) fn size(key: &str, write: Option<&KvWrite>) -> usize {
    SLOT_OVERHEAD + key.len() + write.map_or(0, |write| write.value.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::KvValue;

    const APP: AppId = AppId(1);

    fn json(text: &str) -> Option<KvWrite> {
        Some(KvWrite { value: KvValue::Json(text.into()), expires_ms: None })
    }

    fn put(overlay: &mut Overlay, key: &str, version: u64) {
        overlay.put(APP, key.into(), version, json("1"));
    }

    #[test]
    fn what_is_not_durable_is_never_evicted() {
        let mut overlay = Overlay::default();
        (1..=100).for_each(|n| put(&mut overlay, &format!("{n:03}"), n));
        overlay.evict(0, 40);
        overlay.evict(0, 40);
        assert_eq!(overlay.floor(), 40);
        assert!(overlay.peek(APP, "040").is_none() && overlay.peek(APP, "041").is_some());
        overlay.evict(0, 100);
        assert_eq!((overlay.bytes, overlay.ages.len(), overlay.floor()), (0, 0, 100));
    }

    #[test]
    fn rewriting_one_key_needs_no_more_memory() {
        let mut overlay = Overlay::default();
        (1..=10_000).for_each(|n| put(&mut overlay, "hot", n));
        assert_eq!((overlay.ages.len(), overlay.bytes), (1, size("hot", json("1").as_ref())));
    }

    #[test]
    fn what_is_in_use_outlives_what_is_not() {
        let mut overlay = Overlay::default();
        let limit = 10 * size("000", json("1").as_ref());
        for n in 1..=1000 {
            put(&mut overlay, &format!("{n:03}"), n);
            assert!(overlay.get(APP, "001").is_some(), "evicted at {n}");
            overlay.evict(limit, n);
            assert!(overlay.bytes <= limit);
        }
    }

    #[test]
    fn an_older_answer_of_the_store_never_replaces_a_newer_slot() {
        let mut overlay = Overlay::default();
        let old = KvEntry { value: KvValue::Json("0".into()), version: 1, expires_ms: None };
        put(&mut overlay, "k", 5);
        overlay.put_loaded(APP, &"k".into(), Some(&old), 4);
        assert_eq!(overlay.peek(APP, "k").map(Slot::seen), Some(5));
        // Evicted while the read was under way: the answer may be older than what was evicted.
        overlay.evict(0, 5);
        overlay.put_loaded(APP, &"k".into(), Some(&old), 4);
        assert!(overlay.peek(APP, "k").is_none());
        overlay.put_loaded(APP, &"k".into(), None, 5);
        assert_eq!(overlay.peek(APP, "k").map(Slot::seen), Some(0));
    }

    #[test]
    fn rolling_back_leaves_what_is_durable() {
        let mut overlay = Overlay::default();
        put(&mut overlay, "a", 1);
        put(&mut overlay, "b", 2);
        overlay.put(APP, "a".into(), 3, None);
        overlay.roll_back(2, 4);
        assert!(overlay.peek(APP, "a").is_none() && overlay.peek(APP, "b").is_some());
        assert_eq!((overlay.ages.len(), overlay.floor()), (1, 4));
        assert_eq!(overlay.bytes, size("b", json("1").as_ref()));
    }
}
