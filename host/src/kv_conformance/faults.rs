//! Stores that fail or take long.

use std::pin::pin;
use std::sync::Arc;

use super::{APP, Faulty, Tx, is_conflict, is_store_error, json, nothing, poll_once, set, start, text};
use crate::ports::Kv;
use crate::sequencer::KvBackend;

pub async fn a_failed_group_leaves_nothing<B: KvBackend>(backend: B) {
    let faulty = Faulty::over(backend);
    let kv = start(Arc::clone(&faulty));
    let before = set(&*kv, "a", "1").await;
    set(&*kv, "b", "1").await;
    faulty.fail(true);
    let failed = Tx::begin(&*kv, APP).set("a", "2").delete("b").set("c", "2").commit().await;
    assert!(is_store_error(&failed));
    let mut reader = Tx::begin(&*kv, APP);
    assert_eq!(reader.get("a").await.map(|entry| entry.version), Some(before));
    let old = [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "1".to_owned())];
    assert_eq!(reader.list("").await, old);
    assert_eq!(reader.text("c").await, None);
    // Reading works while writing does not.
    reader.commit().await.unwrap();
    faulty.fail(false);
    let after = set(&*kv, "a", "3").await;
    assert!(after > before + 2, "the number of a failed commit is not used again");
    assert_eq!(text(&*kv, "a").await.as_deref(), Some("3"));
}

pub async fn what_was_built_on_a_failure_fails<B: KvBackend>(backend: B) {
    let faulty = Faulty::over(backend);
    let kv = start(Arc::clone(&faulty));
    set(&*kv, "a", "1").await;
    set(&*kv, "b", "1").await;
    let gate = faulty.gate.lock().await;
    let mut first = pin!(Tx::begin(&*kv, APP).set("a", "2").delete("b").commit());
    assert!(poll_once(&mut first).await.is_pending());

    // They see what is not durable; the ones that are ordered before the failure fail with it.
    let mut writer = Tx::begin(&*kv, APP).set("c", "1");
    assert_eq!(writer.text("a").await.as_deref(), Some("2"));
    let mut writer = pin!(writer.commit());
    assert!(poll_once(&mut writer).await.is_pending());
    let mut readers = Vec::new();
    for case in 0..3 {
        let mut reader = Tx::begin(&*kv, APP);
        match case {
            0 => drop(reader.text("a").await),
            1 => assert_eq!(reader.text("b").await, None),
            _ => assert_eq!(reader.list("b").await, []),
        }
        let mut reader = Box::pin(reader.commit());
        assert!(poll_once(&mut reader).await.is_pending(), "{case}");
        readers.push(reader);
    }
    // The ones that come later find that what they saw is gone.
    let mut late = Vec::new();
    for key in ["a", "b", "list"] {
        let mut tx = Tx::begin(&*kv, APP).set("d", "1");
        if key == "list" {
            drop(tx.list("b").await)
        } else {
            drop(tx.text(key).await)
        }
        late.push((key, tx));
    }
    faulty.fail(true);
    drop(gate);
    assert!(is_store_error(&first.await));
    assert!(is_store_error(&writer.await));
    for reader in readers {
        assert!(is_store_error(&reader.await));
    }
    faulty.fail(false);
    for (key, tx) in late {
        assert!(is_conflict(&tx.commit().await), "{key}");
    }
    assert_eq!(text(&*kv, "a").await.as_deref(), Some("1"));
    assert_eq!(Tx::begin(&*kv, APP).list("").await.len(), 2);
}

pub async fn readers_wait_for_what_they_read<B: KvBackend>(backend: B) {
    let faulty = Faulty::over(backend);
    let kv = start(Arc::clone(&faulty));
    set(&*kv, "old", "1").await;
    let gate = faulty.gate.lock().await;
    let mut write = pin!(Tx::begin(&*kv, APP).set("new", "1").commit());
    assert!(poll_once(&mut write).await.is_pending());
    let mut durable = Tx::begin(&*kv, APP);
    durable.get("old").await;
    durable.get("none").await;
    durable.list("o").await;
    durable.commit().await.unwrap();
    let mut waits = Tx::begin(&*kv, APP);
    assert_eq!(waits.text("new").await.as_deref(), Some("1"));
    let mut waits = pin!(waits.commit());
    assert!(poll_once(&mut waits).await.is_pending());
    drop(gate);
    waits.await.unwrap();
    write.await.unwrap();
}

pub async fn a_closed_store_refuses<B: KvBackend>(backend: B) {
    let faulty = Faulty::over(backend);
    let kv = start(Arc::clone(&faulty));
    let gate = faulty.gate.lock().await;
    let mut taken = nothing(APP);
    taken.writes.push(("a".into(), Some(json("1"))));
    let mut commit = pin!(kv.commit(taken.clone()));
    assert!(poll_once(&mut commit).await.is_pending());
    let mut close = pin!(kv.close());
    assert!(poll_once(&mut close).await.is_pending(), "it waits for what was taken");
    assert!(is_store_error(&kv.commit(taken).await));
    drop(gate);
    close.await;
    commit.await.unwrap();
    assert_eq!(text(&*kv, "a").await.as_deref(), Some("1"));
    kv.close().await;
}
