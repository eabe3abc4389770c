//! Reads, writes, versions, conflicts, expiry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{APP, OTHER, SetClock, Tx, delete, is_conflict, json, nothing, set, start, text, tiny};
use crate::ports::{Kv, KvValue, KvWrite};
use crate::sequencer::{KvBackend, Sequencer, SequencerOptions};

pub async fn a_commit_is_read_back<B: KvBackend>(backend: B) {
    let kv = start(backend);
    assert_eq!(text(&*kv, "a").await, None);
    let version = set(&*kv, "a", "1").await;
    let entry = Tx::begin(&*kv, APP).get("a").await.unwrap();
    assert_eq!((entry.version, entry.value), (version, KvValue::Json("1".into())));
    delete(&*kv, "a").await;
    assert_eq!(text(&*kv, "a").await, None);
}

pub async fn values_come_back_byte_for_byte<B: KvBackend>(backend: B) {
    // Nothing is kept in the cache, so they come from the store.
    let kv = Sequencer::start(backend, 0, tiny());
    let values = [
        KvValue::Json("{ \"a\" : [1.50, \"\\u0000 \u{10ffff}'\"] }".into()),
        KvValue::Json("null".into()),
        KvValue::Blob(Bytes::new()),
        KvValue::Blob((0..=255).collect::<Vec<u8>>().into()),
        KvValue::Blob(vec![0; 300_000].into()),
    ];
    for (number, value) in values.iter().enumerate() {
        let mut transaction = nothing(APP);
        let expires_ms = (number == 1).then_some(u64::MAX >> 1);
        transaction.writes =
            vec![(format!("{number}").into(), Some(KvWrite { value: value.clone(), expires_ms }))];
        kv.commit(transaction).await.unwrap();
    }
    for (number, value) in values.iter().enumerate() {
        let entry = Tx::begin(&kv, APP).get(&format!("{number}")).await.unwrap();
        assert_eq!(entry.value, *value);
        assert_eq!(entry.expires_ms, (number == 1).then_some(u64::MAX >> 1));
    }
}

pub async fn versions_grow<B: KvBackend>(backend: B) {
    let kv = start(backend);
    let mut last = 0;
    for round in 0..20 {
        let version = if round % 3 == 2 { delete(&*kv, "a").await } else { set(&*kv, "a", "1").await };
        assert!(version > last);
        last = version;
    }
    assert!(kv.begin().0 >= last);
}

pub async fn a_changed_read_conflicts<B: KvBackend>(backend: B) {
    let kv = start(backend);
    set(&*kv, "changed", "1").await;
    set(&*kv, "deleted", "1").await;
    for key in ["changed", "deleted", "created"] {
        let mut reader = Tx::begin(&*kv, APP);
        let mut writer = Tx::begin(&*kv, APP).set("seen", "1");
        let before = reader.get(key).await;
        assert_eq!(before, writer.get(key).await);
        match key {
            "deleted" => delete(&*kv, key).await,
            _ => set(&*kv, key, "2").await,
        };
        assert!(is_conflict(&reader.commit().await), "{key}");
        assert!(is_conflict(&writer.commit().await), "{key}");
    }
    assert_eq!(text(&*kv, "seen").await, None);
    // Reads that still hold are no conflict, whatever else was written.
    let mut writer = Tx::begin(&*kv, APP).set("seen", "1");
    writer.get("changed").await;
    writer.get("never").await;
    set(&*kv, "unrelated", "1").await;
    writer.commit().await.unwrap();
}

pub async fn blind_writes_never_conflict<B: KvBackend>(backend: B) {
    let kv = start(backend);
    let late = Tx::begin(&*kv, APP).set("a", "\"late\"");
    set(&*kv, "a", "\"early\"").await;
    late.commit().await.unwrap();
    assert_eq!(text(&*kv, "a").await.as_deref(), Some("\"late\""));
}

pub async fn a_key_can_come_back<B: KvBackend>(backend: B) {
    let kv = start(backend);
    let first = set(&*kv, "a", "1").await;
    let mut reader = Tx::begin(&*kv, APP);
    reader.get("a").await;
    delete(&*kv, "a").await;
    let second = set(&*kv, "a", "1").await;
    assert!(second > first);
    assert!(is_conflict(&reader.commit().await), "the same value is not the same version");
    // Set and deleted within the same group, again and again.
    let kv = &*kv;
    futures_util::future::join_all(
        (0..50)
            .map(|n| async move { if n % 2 == 0 { set(kv, "b", "1").await } else { delete(kv, "b").await } }),
    )
    .await;
    delete(kv, "b").await;
    assert_eq!(text(kv, "b").await, None);
}

pub async fn apps_are_apart<B: KvBackend>(backend: B) {
    let kv = Sequencer::start(backend, 0, tiny());
    let mut mine = Tx::begin(&kv, APP).set("a", "1").set("b", "1");
    mine.get("a").await;
    mine.list("").await;
    Tx::begin(&kv, OTHER).set("a", "2").commit().await.unwrap();
    mine.commit().await.unwrap();
    for (app, a, all) in [(APP, "1", 2), (OTHER, "2", 1)] {
        let mut reader = Tx::begin(&kv, app);
        assert_eq!(reader.text("a").await.as_deref(), Some(a));
        assert_eq!(reader.list("").await.len(), all);
    }
}

pub async fn many_keys_at_once<B: KvBackend>(backend: B) {
    let kv = Sequencer::start(backend, 0, tiny());
    let keys: Vec<Arc<str>> = (0..1003).map(|n| format!("{n:04}").into()).collect();
    let mut transaction = nothing(APP);
    transaction.writes = keys.iter().map(|key| (Arc::clone(key), Some(json(key)))).collect();
    kv.commit(transaction).await.unwrap();
    let mut wanted: Vec<Arc<str>> = keys.iter().rev().cloned().collect();
    wanted.extend(["0007".into(), "none".into(), "0007".into()]);
    let entries = kv.read(APP, &wanted).await.unwrap();
    for (key, entry) in wanted.iter().zip(entries) {
        let expected = (**key != *"none").then(|| KvValue::Json(Arc::clone(key)));
        assert_eq!(entry.map(|entry| entry.value), expected);
    }
    let mut transaction = nothing(APP);
    transaction.writes = keys.iter().map(|key| (Arc::clone(key), None)).collect();
    kv.commit(transaction).await.unwrap();
    assert!(Tx::begin(&kv, APP).list("").await.is_empty());
}

pub async fn an_evicted_read_is_still_checked<B: KvBackend>(backend: B) {
    let kv = Sequencer::start(backend, 0, tiny());
    set(&kv, "a", "1").await;
    set(&kv, "b", "1").await;
    let mut stale = Tx::begin(&kv, APP).set("x", "1");
    stale.get("a").await;
    let mut valid = Tx::begin(&kv, APP).set("y", "1");
    valid.get("b").await;
    valid.get("none").await;
    set(&kv, "a", "2").await;
    for n in 0..100 {
        set(&kv, &format!("filler {n}"), "1").await;
    }
    assert!(is_conflict(&stale.commit().await));
    valid.commit().await.unwrap();
}

pub async fn the_expired_is_returned_until_it_is_deleted<B: KvBackend>(backend: B) {
    let clock = Arc::new(SetClock::default());
    clock.set(1_000);
    let options = SequencerOptions { clock: Arc::clone(&clock) as _, ..tiny() };
    let kv = Sequencer::start(backend, 0, options);
    let write = |key: &str, expires_ms| (key.into(), Some(KvWrite { expires_ms, ..json("1") }));
    let mut transaction = nothing(APP);
    transaction.writes =
        vec![write("a", Some(2_000)), write("b", Some(2_000)), write("c", Some(u64::MAX >> 1))];
    transaction.writes.extend((0..600).map(|n| write(&format!("d{n:03}"), Some(2_000 + n))));
    kv.commit(transaction).await.unwrap();
    let entry = Tx::begin(&kv, APP).get("a").await.unwrap();
    assert!(entry.expired(2_000) && !entry.expired(1_999));
    // Set again without an end, so it stays.
    set(&kv, "b", "2").await;

    clock.set(10_000);
    // The reaper sleeps by the clock it saw; a new expiry makes it look again.
    let mut transaction = nothing(APP);
    transaction.writes = vec![write("e", Some(1_500))];
    kv.commit(transaction).await.unwrap();
    for _ in 0..2_000 {
        if Tx::begin(&kv, APP).list("").await.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let left: Vec<String> = Tx::begin(&kv, APP).list("").await.into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, ["b", "c"]);
}
