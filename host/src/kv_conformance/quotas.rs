//! What an app keeps is counted, and bounded by its quotas.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::events::{bury, claim, event};
use super::{APP, Dice, Faulty, OTHER, Tx, delete, is_store_error, nothing, text, tiny};
use crate::active::{Active, ActiveApp, ActiveSet};
use crate::call::AppId;
use crate::event::{EventOp, NewEvent};
use crate::ports::{CommitError, Kv};
use crate::quota::{Quotas, StorageQuota};
use crate::sequencer::{KvBackend, Sequencer, SequencerOptions, Usage};

/// A store whose app 1 has these quotas.
fn bounded<B: KvBackend>(backend: B, quotas: Quotas, options: SequencerOptions) -> Sequencer<B> {
    let active = Arc::new(Active::default());
    publish(&active, quotas);
    Sequencer::start(backend, 0, SequencerOptions { active, ..options })
}

fn publish(active: &Active, quotas: Quotas) {
    let app = ActiveApp {
        id: APP,
        limits: Arc::default(),
        quotas: Arc::new(quotas),
        http: Arc::default(),
        secrets: Arc::default(),
        config: Arc::default(),
        scripts: HashMap::new(),
    };
    active.publish(ActiveSet { apps: [("one".into(), app)].into(), ..ActiveSet::default() });
}

fn insert(id: Uuid) -> EventOp {
    EventOp::Insert(Box::new(NewEvent { id, ..event("0") }))
}

fn kv_bytes(most: u64) -> Quotas {
    Quotas { kv_bytes: Some(most), ..Quotas::default() }
}

fn queued_events(most: u64) -> Quotas {
    Quotas { queued_events: Some(most), ..Quotas::default() }
}

async fn try_set<K: Kv>(kv: &K, app: AppId, key: &str, text: &str) -> Result<u64, CommitError> {
    Tx::begin(kv, app).set(key, text).commit().await
}

async fn of_events<K: Kv>(kv: &K, ops: Vec<EventOp>) -> Result<u64, CommitError> {
    let mut transaction = nothing(APP);
    transaction.snapshot = kv.begin();
    transaction.events = ops;
    kv.commit(transaction).await
}

fn is_over(result: &Result<u64, CommitError>, quota: StorageQuota) -> bool {
    matches!(result, Err(CommitError::Quota(exceeded)) if *exceeded == quota)
}

pub async fn keys_and_values_are_bounded<B: KvBackend>(backend: B) {
    let kv = bounded(backend, kv_bytes(10), SequencerOptions::default());
    try_set(&kv, APP, "a", "1234").await.unwrap();
    try_set(&kv, APP, "b", "1234").await.unwrap();
    let over = StorageQuota::KvBytes(10);
    assert!(is_over(&try_set(&kv, APP, "c", "").await, over), "ten bytes, and one more");
    assert!(is_over(&try_set(&kv, APP, "a", "12345").await, over));
    assert_eq!(text(&kv, "a").await.as_deref(), Some("1234"), "nothing was changed");
    try_set(&kv, APP, "a", "abcd").await.unwrap();
    try_set(&kv, OTHER, "a", "a long value of another app").await.unwrap();
    // One transaction counts as a whole.
    Tx::begin(&kv, APP).delete("a").set("c", "abcd").commit().await.unwrap();
    delete(&kv, "b").await;
    try_set(&kv, APP, "b", "123").await.unwrap();
    assert!(is_over(&try_set(&kv, APP, "d", "1").await, over));
}

/// Whoever has lowered a quota leaves the app with what it has.
pub async fn what_makes_nothing_more_is_possible_beyond_the_quota<B: KvBackend>(backend: B) {
    let active = Arc::new(Active::default());
    publish(&active, kv_bytes(100));
    let options = SequencerOptions { active: Arc::clone(&active), ..SequencerOptions::default() };
    let kv = Sequencer::start(backend, 0, options);
    try_set(&kv, APP, "a", &"x".repeat(50)).await.unwrap();
    publish(&active, kv_bytes(10));
    try_set(&kv, APP, "a", &"y".repeat(49)).await.unwrap();
    assert!(is_over(&try_set(&kv, APP, "a", &"z".repeat(50)).await, StorageQuota::KvBytes(10)));
    delete(&kv, "a").await;
    try_set(&kv, APP, "a", "123456789").await.unwrap();
    // What was written while there was none counts when there is one again.
    publish(&active, Quotas::default());
    try_set(&kv, APP, "b", &"x".repeat(50)).await.unwrap();
    publish(&active, kv_bytes(60));
    assert!(is_over(&try_set(&kv, APP, "c", "").await, StorageQuota::KvBytes(60)));
}

/// What a key had is not in memory; it counts all the same.
pub async fn what_is_replaced_counts_though_it_was_evicted<B: KvBackend>(backend: B) {
    let kv = bounded(backend, kv_bytes(20 * 104), tiny());
    let key = |n: u64| format!("k{n:03}");
    for n in 0..20 {
        try_set(&kv, APP, &key(n), &"x".repeat(100)).await.unwrap();
    }
    for round in 0..3 {
        for n in 0..20 {
            let value = if round % 2 == 0 { "y" } else { "z" }.repeat(100);
            try_set(&kv, APP, &key(n), &value).await.unwrap();
        }
    }
    assert!(is_over(&try_set(&kv, APP, "k", "").await, StorageQuota::KvBytes(2080)));
}

pub async fn events_are_bounded_whatever_their_state<B: KvBackend>(backend: B) {
    let kv = bounded(backend, queued_events(3), SequencerOptions::default());
    let ids: Vec<Uuid> = (0..4).map(|_| Uuid::now_v7()).collect();
    let over = StorageQuota::QueuedEvents(3);
    assert!(is_over(&of_events(&kv, ids.iter().map(|id| insert(*id)).collect()).await, over));
    of_events(&kv, ids[..3].iter().map(|id| insert(*id)).collect()).await.unwrap();
    assert!(is_over(&of_events(&kv, vec![insert(ids[3])]).await, over));
    of_events(&kv, vec![claim(ids[0], 1)]).await.unwrap();
    assert!(is_over(&of_events(&kv, vec![insert(ids[3])]).await, over), "one that runs counts");
    of_events(&kv, vec![claim(ids[2], 1)]).await.unwrap();
    of_events(&kv, vec![bury(ids[2])]).await.unwrap();
    assert!(is_over(&of_events(&kv, vec![insert(ids[3])]).await, over), "one that is dead counts");
    // One that ends makes room for one that follows from it.
    of_events(&kv, vec![insert(ids[3]), EventOp::Complete { id: ids[0] }]).await.unwrap();
    of_events(&kv, vec![EventOp::Remove { id: ids[1] }]).await.unwrap();
    of_events(&kv, vec![insert(ids[0])]).await.unwrap();
    assert!(is_over(&of_events(&kv, vec![insert(ids[1])]).await, over));
}

/// An event that was there already is not stored twice, and counts once.
pub async fn a_dedupe_key_does_not_use_up_the_quota<B: KvBackend>(backend: B) {
    let kv = bounded(backend, queued_events(3), SequencerOptions::default());
    let keyed = || {
        let EventOp::Insert(mut event) = insert(Uuid::now_v7()) else { unreachable!() };
        event.dedupe_key = Some("once".into());
        EventOp::Insert(event)
    };
    for _ in 0..10 {
        of_events(&kv, vec![keyed()]).await.unwrap();
    }
    of_events(&kv, vec![insert(Uuid::now_v7()), insert(Uuid::now_v7())]).await.unwrap();
    assert!(is_over(&of_events(&kv, vec![insert(Uuid::now_v7())]).await, StorageQuota::QueuedEvents(3)));
}

pub async fn what_a_failed_group_made_more_does_not_count<B: KvBackend>(backend: B) {
    let backend = Faulty::over(backend);
    let kv = bounded(Arc::clone(&backend), kv_bytes(10), SequencerOptions::default());
    try_set(&kv, APP, "a", "1234").await.unwrap();
    backend.fail(true);
    for _ in 0..3 {
        assert!(is_store_error(&try_set(&kv, APP, "b", "1234").await));
    }
    backend.fail(false);
    try_set(&kv, APP, "b", "1234").await.unwrap();
    assert!(is_over(&try_set(&kv, APP, "c", "").await, StorageQuota::KvBytes(10)));
}

/// Many at once never get beyond the quota, and those that are refused are refused rightly.
pub async fn the_quota_holds_for_many_at_once<B: KvBackend>(backend: B) {
    let backend = Faulty::over(backend);
    let kv = Arc::new(bounded(Arc::clone(&backend), kv_bytes(500), tiny()));
    let writers = (0..8_u64).map(|seed| {
        let (kv, backend) = (Arc::clone(&kv), Arc::clone(&backend));
        tokio::spawn(async move {
            let mut dice = Dice(seed * 7919 + 1);
            let mut refused = 0;
            for _ in 0..60 {
                let key = format!("{seed}/{}", dice.roll(10));
                let length = usize::try_from(dice.roll(20)).unwrap();
                let tx = Tx::begin(&*kv, APP);
                let tx = if dice.roll(4) == 0 { tx.delete(&key) } else { tx.set(&key, &"v".repeat(length)) };
                match tx.commit().await {
                    Ok(_) => {}
                    Err(CommitError::Quota(_)) => refused += 1,
                    Err(error) => panic!("{error}"),
                }
                let (_, usage) = backend.usage(APP).await.unwrap();
                assert!((0..=500).contains(&usage.kv_bytes), "{usage:?}");
            }
            refused
        })
    });
    let mut refused = 0;
    for writer in writers.collect::<Vec<_>>() {
        refused += writer.await.unwrap();
    }
    assert!(refused > 0, "it was never full");
    let listed = Tx::begin(&*kv, APP).list("").await;
    let bytes: usize = listed.iter().map(|(key, value)| key.len() + value.len()).sum();
    let by_store = backend.usage(APP).await.unwrap().1.kv_bytes;
    assert_eq!(i64::try_from(bytes), Ok(by_store));
    // One that just fits is taken, one that is a byte longer is not.
    let room = 500 - bytes;
    if room > 0 {
        assert!(is_over(&try_set(&*kv, APP, "z", &"x".repeat(room)).await, StorageQuota::KvBytes(500)));
        try_set(&*kv, APP, "z", &"x".repeat(room - 1)).await.unwrap();
    }
}

/// The store's totals are what is there, after every kind of change.
pub async fn totals_agree_with_a_model<B: KvBackend>(backend: B) {
    let backend = Faulty::over(backend);
    let kv = bounded(Arc::clone(&backend), kv_bytes(1 << 40), tiny());
    let (mut dice, mut model) = (Dice(4711), BTreeMap::new());
    for _ in 0..200 {
        let mut tx = Tx::begin(&kv, APP);
        let keys: BTreeMap<String, ()> =
            (0..=dice.roll(3)).map(|_| (format!("ä{}", dice.roll(12)), ())).collect();
        for key in keys.into_keys() {
            if dice.roll(3) == 0 {
                model.remove(&key);
                tx = tx.delete(&key);
            } else {
                let value = "ü".repeat(usize::try_from(dice.roll(9)).unwrap());
                tx = tx.set(&key, &value);
                model.insert(key, value);
            }
        }
        tx.commit().await.unwrap();
        let bytes: usize = model.iter().map(|(key, value)| key.len() + value.len()).sum();
        let (_, usage) = backend.usage(APP).await.unwrap();
        assert_eq!(usage, Usage { kv_bytes: i64::try_from(bytes).unwrap(), events: 0 });
    }
}
