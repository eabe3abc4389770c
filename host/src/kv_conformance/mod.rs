//! What every store of keys and values must do, as tests that each of them runs: `kv_conformance!` makes them.

// Test code: a panic is how it reports.
#![allow(clippy::unwrap_used, missing_docs)]

pub mod basics;
pub mod events;
pub mod faults;
pub mod lists;
pub mod quotas;
pub mod races;

pub use races::increment;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, Notify};

use crate::call::AppId;
use crate::event::Cause;
use crate::ports::{
    Clock, CommitError, Events, KeyRange, Kv, KvEntry, KvPage, KvValue, KvWrite, Page, Snapshot, StoreError,
    Transaction,
};
use crate::sequencer::{Expiring, Group, KvBackend, Sequencer, SequencerOptions, Usage};

/// Makes one `#[tokio::test]` for each case. `$make` is the path of an `async fn` that returns a guard, which is kept
/// until the test ends, and an empty [`KvBackend`] in which the apps 1 and 2 exist.
#[macro_export]
macro_rules! kv_conformance {
    ($make:path) => {
        $crate::kv_conformance!($make, basics: [
            a_commit_is_read_back, values_come_back_byte_for_byte, versions_grow, a_changed_read_conflicts,
            blind_writes_never_conflict, a_key_can_come_back, apps_are_apart, many_keys_at_once,
            an_evicted_read_is_still_checked, the_expired_is_returned_until_it_is_deleted,
        ]);
        $crate::kv_conformance!($make, lists: [
            a_phantom_conflicts, pages_say_if_there_is_more, prefixes_take_every_character,
            slots_hide_and_add_rows, lists_agree_with_a_model,
        ]);
        $crate::kv_conformance!($make, races: [
            increments_add_up, transfers_keep_the_sum, transfers_keep_the_sum_when_writing_fails,
        ]);
        $crate::kv_conformance!($make, faults: [
            a_failed_group_leaves_nothing, what_was_built_on_a_failure_fails, readers_wait_for_what_they_read,
            a_closed_store_refuses,
        ]);
        $crate::kv_conformance!($make, quotas: [
            keys_and_values_are_bounded, what_makes_nothing_more_is_possible_beyond_the_quota,
            what_is_replaced_counts_though_it_was_evicted, events_are_bounded_whatever_their_state,
            a_dedupe_key_does_not_use_up_the_quota, what_a_failed_group_made_more_does_not_count,
            the_quota_holds_for_many_at_once, totals_agree_with_a_model,
        ]);
        $crate::kv_conformance!($make, events: [
            an_event_is_claimed_once, only_a_claim_can_be_ended, a_removed_event_is_not_claimed,
            a_claimed_event_is_not_removed, what_is_not_durable_yet_counts, a_failed_group_gives_claims_back, an_event_is_told_when_it_is_durable,
            a_dedupe_key_is_taken_until_its_event_is_done, changes_of_keys_make_events_in_the_same_commit,
        ]);
    };
    ($make:path, $module:ident: [$($case:ident),+ $(,)?]) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let (_guard, backend) = $make().await;
                $crate::kv_conformance::$module::$case(backend).await;
            }
        )+
    };
}

pub const APP: AppId = AppId(1);
pub const OTHER: AppId = AppId(2);

/// A clock that tests set.
#[derive(Default)]
pub struct SetClock {
    now_ms: AtomicU64,
    set: Notify,
}

impl SetClock {
    pub fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
        self.set.notify_waiters();
    }
}

#[async_trait]
impl Clock for SetClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    async fn until(&self, at_ms: u64) {
        let set = self.set.notified();
        if self.now_ms() < at_ms {
            set.await;
        }
    }
}

/// A store that can be made to wait, or to fail, before it writes.
pub struct Faulty<B> {
    pub inner: B,
    pub fail: AtomicBool,
    pub gate: Mutex<()>,
}

impl<B: KvBackend> Faulty<B> {
    pub fn over(inner: B) -> Arc<Self> {
        Arc::new(Self { inner, fail: AtomicBool::new(false), gate: Mutex::new(()) })
    }

    pub fn fail(&self, fail: bool) {
        self.fail.store(fail, Ordering::SeqCst);
    }
}

impl<B: KvBackend> KvBackend for Arc<Faulty<B>> {
    fn events(&self) -> &dyn Events {
        self.inner.events()
    }

    async fn load(&self, app: AppId, keys: &[Arc<str>]) -> Result<Vec<Option<KvEntry>>, StoreError> {
        self.inner.load(app, keys).await
    }

    async fn list(&self, app: AppId, range: &KeyRange, page: Page) -> Result<KvPage, StoreError> {
        self.inner.list(app, range, page).await
    }

    async fn apply(&self, group: &Group) -> Result<(), StoreError> {
        let _gate = self.gate.lock().await;
        if self.fail.load(Ordering::SeqCst) {
            return Err(StoreError("the test says so".into()));
        }
        self.inner.apply(group).await
    }

    async fn usage(&self, app: AppId) -> Result<(u64, Usage), StoreError> {
        self.inner.usage(app).await
    }

    async fn expiring(&self, limit: usize) -> Result<Vec<Expiring>, StoreError> {
        self.inner.expiring(limit).await
    }
}

/// Options with a cache so small that nearly everything is evicted, and a reaper that does not rest.
pub fn tiny() -> SequencerOptions {
    SequencerOptions {
        cache_bytes: 600,
        reaper_pause: Duration::from_millis(1),
        ..SequencerOptions::default()
    }
}

pub fn start<B: KvBackend>(backend: B) -> Arc<Sequencer<B>> {
    Arc::new(Sequencer::start(backend, 0, SequencerOptions::default()))
}

pub fn json(text: &str) -> KvWrite {
    KvWrite { value: KvValue::Json(text.into()), expires_ms: None }
}

/// A transaction in the making.
pub struct Tx<'a, K> {
    pub kv: &'a K,
    pub transaction: Transaction,
}

impl<'a, K: Kv> Tx<'a, K> {
    pub fn begin(kv: &'a K, app: AppId) -> Self {
        let snapshot = kv.begin();
        Self { kv, transaction: Transaction::new(app, snapshot, Cause::outside()) }
    }

    pub async fn get(&mut self, key: &str) -> Option<KvEntry> {
        let key: Arc<str> = key.into();
        let entry = self.kv.read(self.transaction.app, &[Arc::clone(&key)]).await.unwrap().remove(0);
        self.transaction.reads.push((key, entry.as_ref().map_or(0, |entry| entry.version)));
        entry
    }

    pub async fn text(&mut self, key: &str) -> Option<String> {
        self.get(key).await.map(|entry| text_of(&entry))
    }

    pub async fn list(&mut self, prefix: &str) -> Vec<(String, String)> {
        let range = range(prefix);
        let page =
            self.kv.list(self.transaction.app, &range, Page { entries: 1000, bytes: 1 << 20 }).await.unwrap();
        assert!(!page.more);
        self.transaction.ranges.push(range);
        page.entries.iter().map(|(key, entry)| (key.to_string(), text_of(entry))).collect()
    }

    pub fn set(mut self, key: &str, text: &str) -> Self {
        self.transaction.writes.push((key.into(), Some(json(text))));
        self
    }

    pub fn delete(mut self, key: &str) -> Self {
        self.transaction.writes.push((key.into(), None));
        self
    }

    pub async fn commit(self) -> Result<u64, CommitError> {
        self.kv.commit(self.transaction).await
    }
}

pub fn range(prefix: &str) -> KeyRange {
    KeyRange { prefix: prefix.into(), after: None, until: None }
}

pub fn text_of(entry: &KvEntry) -> String {
    match &entry.value {
        KvValue::Json(text) => text.to_string(),
        KvValue::Blob(bytes) => format!("{bytes:?}"),
    }
}

pub async fn set<K: Kv>(kv: &K, key: &str, text: &str) -> u64 {
    Tx::begin(kv, APP).set(key, text).commit().await.unwrap()
}

pub async fn delete<K: Kv>(kv: &K, key: &str) -> u64 {
    Tx::begin(kv, APP).delete(key).commit().await.unwrap()
}

pub async fn text<K: Kv>(kv: &K, key: &str) -> Option<String> {
    Tx::begin(kv, APP).text(key).await
}

pub fn is_conflict(result: &Result<u64, CommitError>) -> bool {
    matches!(result, Err(CommitError::Conflict))
}

pub fn is_store_error(result: &Result<u64, CommitError>) -> bool {
    matches!(result, Err(CommitError::Store(_)))
}

/// Numbers that look random and are the same in every run.
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = usize::try_from(self.roll(from.len() as u64)).unwrap();
        &from[at]
    }
}

/// No transaction at all: the snapshot of an empty store.
pub fn nothing(app: AppId) -> Transaction {
    Transaction::new(app, Snapshot(0), Cause::outside())
}

/// What a future says when it is asked once.
pub async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *future).poll(context))).await
}
