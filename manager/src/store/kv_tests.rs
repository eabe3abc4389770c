//! Keys and values in SQLite: what every store must do, and what only a file can be asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use picloud_host::call::AppId;
use picloud_host::event::EventOp;
use picloud_host::kv_conformance::{APP, OTHER, Tx, increment, json, nothing, text};
use picloud_host::ports::Kv as _;
use picloud_host::sequencer::{KvBackend as _, SequencerOptions, Usage};

use crate::store::MIGRATOR;
use crate::store::kv::{self, KvTable};
use crate::store::testing::{TestStore, event, insert};

async fn backend() -> (TestStore, KvTable) {
    let test = TestStore::new().await;
    assert_eq!(test.app, APP);
    sqlx::query("insert into app (id, name, created_ms) values ($1, 'other', 0)")
        .bind(OTHER.0)
        .execute(&test.database.write)
        .await
        .unwrap();
    let table = test.table();
    (test, table)
}

picloud_host::kv_conformance!(backend);

#[tokio::test]
async fn what_is_committed_outlives_the_process() {
    let (test, _) = backend().await;
    let first = kv::open(test.database.clone(), SequencerOptions::default()).await.unwrap();
    for _ in 0..10 {
        increment(&first, "n").await.unwrap();
    }
    let last = increment(&first, "n").await.unwrap();
    drop(first);
    let test = test.reopen().await;
    let second = kv::open(test.database.clone(), SequencerOptions::default()).await.unwrap();
    assert_eq!(text(&second, "n").await.as_deref(), Some("11"));
    assert_eq!(increment(&second, "n").await.unwrap(), last + 1, "numbers go on where they ended");
}

#[tokio::test]
async fn a_group_that_the_database_refuses_is_rolled_back() {
    let (test, _) = backend().await;
    let kv = kv::open(test.database.clone(), SequencerOptions::default()).await.unwrap();
    Tx::begin(&kv, APP).set("a", "1").commit().await.unwrap();
    // There is no such app, which the foreign key finds after other rows of the group have been written.
    let mut transaction = nothing(AppId(99));
    transaction.writes = vec![("a".into(), Some(json("1")))];
    let (good, bad) = tokio::join!(Tx::begin(&kv, APP).set("a", "2").commit(), kv.commit(transaction));
    assert!(bad.is_err());
    let expected = if good.is_ok() { "2" } else { "1" };
    assert_eq!(text(&kv, "a").await.as_deref(), Some(expected));
    kv.close().await;
    let test = test.reopen().await;
    let kv = kv::open(test.database.clone(), SequencerOptions::default()).await.unwrap();
    assert_eq!(text(&kv, "a").await.as_deref(), Some(expected));
    Tx::begin(&kv, APP).set("a", "3").commit().await.unwrap();
}

#[tokio::test]
async fn pages_and_expiry_are_read_from_an_index() {
    let (test, _) = backend().await;
    for (statement, index) in kv::STATEMENTS {
        let plan = test.plan_of(statement).await;
        assert_eq!(plan.len(), 1, "{plan:?}");
        assert!(plan[0].contains(index), "{plan:?}");
    }
}

#[tokio::test]
async fn what_an_app_keeps_is_read_from_one_row() {
    let (test, _) = backend().await;
    let plan = test.plan_of(kv::USAGE).await;
    let [number, usage] = &plan[..] else { panic!("{plan:?}") };
    assert!(number.contains("SEARCH n USING INTEGER PRIMARY KEY"), "{plan:?}");
    assert!(usage.contains("SEARCH u USING INDEX sqlite_autoindex_app_usage_1 (app_id=?)"), "{plan:?}");
}

/// A database from before there were totals is counted once, and goes on from there.
#[tokio::test]
async fn what_was_there_before_there_were_totals_is_counted() {
    let (test, table) = backend().await;
    let write = &test.database.write;
    sqlx::raw_sql(
        "drop trigger app_added; drop trigger kv_added; drop trigger kv_changed; drop trigger kv_removed;
         drop trigger event_added; drop trigger event_removed; drop table app_usage;
         delete from _sqlx_migrations where version = 10;
         insert into kv (app_id, key, kind, json, blob, version) values
            (1, 'ä', 'json', '\"ü\"', null, 1), (1, 'b', 'blob', null, x'00112233', 2);",
    )
    .execute(write)
    .await
    .unwrap();
    let events = [event("queue/a"), event("queue/a"), event("script/s")];
    test.apply(events.iter().map(insert).collect()).await;
    MIGRATOR.run(write).await.unwrap();
    let counted = async |app| table.usage(AppId(app)).await.unwrap().1;
    assert_eq!(counted(1).await, Usage { kv_bytes: 2 + 4 + 1 + 4, events: 3 });
    assert_eq!(counted(2).await, Usage::default());
    test.apply(vec![insert(&event("queue/a")), EventOp::Remove { id: events[0].id }]).await;
    sqlx::raw_sql("delete from kv where key = 'b'").execute(write).await.unwrap();
    assert_eq!(counted(1).await, Usage { kv_bytes: 6, events: 3 });
    sqlx::raw_sql("delete from app where id = 1").execute(write).await.unwrap();
    assert_eq!(counted(1).await, Usage::default(), "nothing is left of an app that is gone");
}

/// How fast it is: `cargo test --release -p picloud-manager -- --ignored --nocapture commits_a_second`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn commits_a_second() {
    const SECONDS: u64 = 3;
    for (tasks, keys) in [(1, 1), (64, 1), (64, 64), (64, 100_000)] {
        let (test, _) = backend().await;
        let kv = Arc::new(kv::open(test.database.clone(), SequencerOptions::default()).await.unwrap());
        let end = Instant::now() + Duration::from_secs(SECONDS);
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let kv = Arc::clone(&kv);
                tokio::spawn(async move {
                    let (mut done, mut conflicts) = (0_u64, 0_u64);
                    while Instant::now() < end {
                        let key = format!("counter/{}", (task + done * tasks) % keys);
                        match increment(&*kv, &key).await {
                            Ok(_) => done += 1,
                            Err(_) => conflicts += 1,
                        }
                    }
                    (done, conflicts)
                })
            })
            .collect();
        let (mut done, mut conflicts) = (0, 0);
        for task in running {
            let (more_done, more_conflicts) = task.await.unwrap();
            done += more_done;
            conflicts += more_conflicts;
        }
        kv.close().await;
        let rate = done / SECONDS;
        println!("{tasks:3} tasks, {keys:6} keys: {rate:7} commits/s, {conflicts} conflicts");
    }
}
