//! kill -9 under write load, again and again: what was acknowledged is there, and nothing is half done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use picloud_tests::{Process, Reply, Site};
use serde_json::Value;
use sqlx::{Connection as _, SqliteConnection};
use tokio::task::JoinSet;
use tokio::time::sleep;

const ROUNDS: usize = 5;
const WRITERS: usize = 64;

/// Counters are shared, so that calls get into each other's way and run again.
const COUNTERS: usize = 4;

/// Two keys and a counter in each call, all or nothing.
const WRITE: &str = "
fn handle(req) {
    let id = req.query.id;
    kv::set(`left/${id}`, id);
    kv::set(`right/${id}`, id);
    kv::incr(`count/${req.query.counter}`)
}";

/// Keys with a prefix, page by page.
const READ: &str = "
fn handle(req) {
    let cursor = if \"cursor\" in req.query { req.query.cursor } else { () };
    kv::list(req.query.prefix, 1000, cursor)
}";

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_under_load_loses_nothing_and_leaves_nothing_half_done() {
    let site = Site::new();
    let mut acknowledged = BTreeSet::new();
    let mut server = site.serve(&["--dev"]).await;
    server.deploy("write", WRITE).await;
    server.deploy("read", READ).await;
    for round in 0..ROUNDS {
        let before = acknowledged.len();
        // Not the same moment of the load in each round.
        let load_for = Duration::from_millis(150 + 170 * round as u64);
        server = load_and_kill(server, round, load_for, &mut acknowledged).await;
        assert!(acknowledged.len() > before + WRITERS, "there was no load in round {round}");
        check_files(&site.data()).await;
        drop(server);
        server = site.serve(&["--dev"]).await;
        check_contents(&server, &acknowledged).await;
    }
    println!("{} acknowledged writes survived {ROUNDS} kills", acknowledged.len());
    server.stop().await;
}

/// Write from all sides for a while, then kill the server. Gives back the dead one.
async fn load_and_kill(
    server: Process,
    round: usize,
    load_for: Duration,
    acknowledged: &mut BTreeSet<String>,
) -> Process {
    let answers = Arc::new(AtomicUsize::new(0));
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let answers = Arc::clone(&answers);
        // Connections of its own for each, so that they are made before the load counts.
        let request = server
            .request("POST", &format!("/default/write?counter={}&id=", writer % COUNTERS))
            .build()
            .unwrap();
        let (client, base) = (picloud_tests::client().build().unwrap(), request.url().to_string());
        writers.spawn(async move {
            let mut mine = Vec::new();
            for number in 0.. {
                let id = format!("{round}-{writer}-{number}");
                // Written down only when the whole answer is here: that is what a client may rely on.
                match Reply::try_of(client.post(format!("{base}{id}"))).await {
                    Ok(reply) if reply.status == 200 => mine.push(id),
                    // Lost too many races against the others: not acknowledged, and must not be there in part.
                    Ok(reply) => assert_eq!(reply.problem_code(), "kv-conflict", "{reply}"),
                    Err(_) => break,
                }
                answers.fetch_add(1, Ordering::Relaxed);
            }
            mine
        });
    }
    let begun = Instant::now();
    while answers.load(Ordering::Relaxed) < WRITERS * 2 {
        assert!(begun.elapsed() < Duration::from_secs(20), "there is no load");
        sleep(Duration::from_millis(1)).await;
    }
    sleep(load_for).await;
    server.signal(rustix::process::Signal::KILL);
    while let Some(mine) = writers.join_next().await {
        acknowledged.extend(mine.unwrap());
    }
    server
}

/// Look at a copy of the files as the dead process left them, before a new one repairs anything.
async fn check_files(data: &Path) {
    let copy = tempfile::tempdir().unwrap();
    for name in ["picloud.db", "telemetry.db"] {
        // Without the index of the log (-shm), which SQLite makes again.
        for file in [name.to_owned(), format!("{name}-wal")] {
            std::fs::copy(data.join(&file), copy.path().join(&file)).unwrap();
        }
        let url = format!("sqlite://{}", copy.path().join(name).display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        let report: Vec<String> =
            sqlx::query_scalar("pragma integrity_check").fetch_all(&mut connection).await.unwrap();
        assert_eq!(report, ["ok"], "{name}");
        let foreign: Vec<String> =
            sqlx::query_scalar("pragma foreign_key_check").fetch_all(&mut connection).await.unwrap();
        assert!(foreign.is_empty(), "{name}: {foreign:?}");
        connection.close().await.unwrap();
    }
}

async fn check_contents(server: &Process, acknowledged: &BTreeSet<String>) {
    let (left, right) = (keys(server, "left/").await, keys(server, "right/").await);
    let ids = |keys: &BTreeMap<String, Value>| keys.keys().cloned().collect::<BTreeSet<_>>();
    let (left_ids, right_ids) = (ids(&left), ids(&right));
    let lost: Vec<_> = acknowledged.difference(&left_ids).take(5).collect();
    assert!(lost.is_empty(), "acknowledged, and not there: {lost:?}");
    let half: Vec<_> = left_ids.symmetric_difference(&right_ids).take(5).collect();
    assert!(half.is_empty(), "half done: {half:?}");
    let wrong: Vec<_> =
        left.iter().chain(&right).filter(|(id, value)| value.as_str() != Some(id)).take(5).collect();
    assert!(wrong.is_empty(), "not what was written: {wrong:?}");
    let counts = keys(server, "count/").await;
    let counted: u64 = counts.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(counted, left.len() as u64, "the counters do not say how many calls were kept: {counts:?}");
}

/// Every key with a prefix, the prefix cut off, and its value.
async fn keys(server: &Process, prefix: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let request = server.request("GET", "/default/read").query(&[("prefix", prefix)]);
        let page = Reply::of(request.query(&cursor.as_ref().map(|cursor| [("cursor", cursor)]))).await;
        assert_eq!(page.status, 200, "{page}");
        let page = page.json();
        for entry in page["entries"].as_array().unwrap() {
            let key = entry["key"].as_str().unwrap().strip_prefix(prefix).unwrap();
            assert!(found.insert(key.to_owned(), entry["value"].clone()).is_none(), "{key} is there twice");
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return found,
        }
    }
}
