//! Keys and values in SQLite: what every store must do, and what only a file can be asked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use picloud_host::call::AppId;
use picloud_host::kv_conformance::{APP, OTHER, Tx, increment, json, nothing, text};
use picloud_host::ports::Kv as _;
use picloud_host::sequencer::SequencerOptions;

use crate::store::kv::{self, KvTable};
use crate::store::testing::TestStore;

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
