//! Images in memory, bounded by bytes; the one that was not used for the longest time goes first.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::OnceCell;

use crate::call::{Failure, SourceHash};
use crate::image::Image;

/// Filled once; whoever comes meanwhile waits for the same build.
type Slot = Arc<OnceCell<Arc<Image>>>;

/// Images by the hash of their source.
pub(crate) struct ImageCache {
    capacity: usize,
    inner: Mutex<Inner>,
}

struct Inner {
    slots: LruCache<SourceHash, Slot>,
    bytes: usize,
    builds: u64,
}

/// What a cache of images holds, and what it has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageStats {
    /// Images in memory, those being built included.
    pub images: usize,
    /// Bytes that they take.
    pub bytes: usize,
    /// Images that were built since the start.
    pub builds: u64,
}

impl ImageCache {
    /// A cache for `capacity` bytes of images. One image is kept even if it alone is larger.
    pub(crate) fn new(capacity: usize) -> Self {
        Self { capacity, inner: Mutex::new(Inner { slots: LruCache::unbounded(), bytes: 0, builds: 0 }) }
    }

    /// The image of a source, built with `build` if it is not here. Concurrent callers share one build; a failed build is
    /// not kept.
    pub(crate) async fn get_or_build<F>(
        &self,
        hash: SourceHash,
        build: impl FnOnce() -> F,
    ) -> Result<Arc<Image>, Failure>
    where
        F: Future<Output = Result<Image, Failure>>,
    {
        let slot = self.slot(hash);
        if let Some(image) = slot.get() {
            return Ok(image.clone());
        }
        // Also when the caller stops waiting in the middle of the build.
        let slot = GivenBack { cache: self, hash, slot };
        let mut built = false;
        let result = slot
            .slot
            .get_or_try_init(|| async {
                let image = build().await?;
                built = true;
                Ok(Arc::new(image))
            })
            .await
            .cloned();
        if let Ok(image) = &result
            && built
        {
            self.account(hash, image.cost());
        }
        result
    }

    /// What it holds, and what it has done.
    pub(crate) fn stats(&self) -> ImageStats {
        let inner = self.lock();
        ImageStats { images: inner.slots.len(), bytes: inner.bytes, builds: inner.builds }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slot(&self, hash: SourceHash) -> Slot {
        self.lock().slots.get_or_insert(hash, Slot::default).clone()
    }

    /// Count a new image and drop the oldest ones until all fit. Slots that are being built weigh nothing and stay.
    fn account(&self, hash: SourceHash, cost: usize) {
        let mut inner = self.lock();
        inner.bytes += cost;
        inner.builds += 1;
        let mut building = Vec::new();
        while inner.bytes > self.capacity {
            let Some((oldest, slot)) = inner.slots.pop_lru() else { break };
            if oldest == hash {
                building.push((oldest, slot));
                break;
            }
            match slot.get() {
                Some(image) => inner.bytes -= image.cost(),
                None => building.push((oldest, slot)),
            }
        }
        for (hash, slot) in building {
            inner.slots.put(hash, slot);
        }
    }

    /// Give a slot back. The last one to do so takes it out of the cache if nothing has come into it.
    fn give_back(&self, hash: SourceHash, slot: Slot) {
        let mut inner = self.lock();
        drop(slot);
        // Somebody else may be waiting to try again: then the slot is shared, and stays.
        if inner.slots.peek(&hash).is_some_and(|slot| slot.get().is_none() && Arc::strong_count(slot) == 1) {
            inner.slots.pop(&hash);
        }
    }
}

/// Gives a slot back when it is dropped.
struct GivenBack<'a> {
    cache: &'a ImageCache,
    hash: SourceHash,
    slot: Slot,
}

impl Drop for GivenBack<'_> {
    fn drop(&mut self) {
        self.cache.give_back(self.hash, std::mem::take(&mut self.slot));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn never() -> Result<Image, Failure> {
        std::future::pending().await
    }

    #[tokio::test]
    async fn a_build_that_nobody_waits_for_any_more_leaves_nothing() {
        let cache = ImageCache::new(0);
        let hash = SourceHash::of("loop {}");
        let wait =
            || tokio::time::timeout(std::time::Duration::from_millis(1), cache.get_or_build(hash, never));
        let (first, second) = tokio::join!(wait(), wait());
        assert!(first.is_err() && second.is_err());
        assert_eq!(cache.lock().slots.len(), 0);
    }
}
