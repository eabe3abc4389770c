//! kill -9 while queues, triggers of keys and timers run: afterwards every effect is there exactly once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use picloud_tests::{Process, Reply, Site};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

const ROUNDS: usize = 6;
const WRITERS: usize = 8;

/// Accepts an order, and makes everything happen that follows from it. What it has accepted is what counts.
const ACCEPT: &str = "
fn handle(req) {
    let id = req.query.id;
    kv::set(`order/${id}`, id);
    triggers::enqueue(\"work\", id);
    triggers::schedule(\"ring\", time::now() + random::int(0, 400), id);
    triggers::emit(\"orders/new\", id);
    ()
}";

/// Writes into the ledger, and for the queue lets a second stage follow.
fn handler(kind: &str, then: &str) -> String {
    format!(
        "fn on_event(event) {{
            let id = {};
            kv::incr(`ledger/{kind}/${{id}}`);
            kv::incr(`total/{kind}/${{id.len() % 3}}`);
            {then}
        }}",
        if kind == "kv" { "event.data.after" } else { "event.data" }
    )
}

const KINDS: [&str; 5] = ["kv", "work", "second", "ring", "topic"];

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_events_run_loses_no_effect_and_doubles_none() {
    let site = Site::new();
    let mut server = site.serve(&["--dev"]).await;
    set_up(&server).await;
    for round in 0..ROUNDS {
        load_and_kill(&server, round).await;
        drop(server);
        server = site.serve(&["--dev"]).await;
    }
    wait_until_nothing_is_left(&server).await;
    let accepted = keys(&server, "order/").await;
    assert!(accepted.len() > ROUNDS * WRITERS, "there was no load: {}", accepted.len());
    for kind in KINDS {
        let ledger = keys(&server, &format!("ledger/{kind}/")).await;
        let missing: Vec<_> = accepted.keys().filter(|id| !ledger.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{kind}: never happened: {missing:?}");
        let wrong: Vec<_> =
            ledger.iter().filter(|(id, count)| !accepted.contains_key(*id) || **count != json!(1)).collect();
        assert!(wrong.is_empty(), "{kind}: not once, or for no order: {wrong:?}");
        let totals = keys(&server, &format!("total/{kind}/")).await;
        let total: u64 = totals.values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(total, accepted.len() as u64, "{kind}");
    }
    println!("{} orders, {} effects each, {ROUNDS} kills", accepted.len(), KINDS.len());
    server.stop().await;
}

async fn set_up(server: &Process) {
    server.deploy("accept", ACCEPT).await;
    server.deploy("on-order", handler("kv", "")).await;
    server.deploy("work", handler("work", "triggers::enqueue(\"second\", id);")).await;
    for (script, kind) in [("second", "second"), ("ring", "ring"), ("topic", "topic")] {
        server.deploy(script, handler(kind, "")).await;
    }
    let queue = |script| json!({"kind": "queue", "script": script, "concurrency": 4, "attempts": 100, "backoff_ms": 1});
    for (name, trigger) in [
        ("orders", json!({"kind": "kv", "script": "on-order", "prefix": "order/", "attempts": 100})),
        ("new", json!({"kind": "topic", "script": "topic", "topic": "orders/+", "attempts": 100})),
        ("work", queue("work")),
        ("second", queue("second")),
    ] {
        let request = server.request("PUT", &format!("/api/v1/apps/default/triggers/{name}")).json(&trigger);
        let reply = Reply::of(request).await;
        assert!(reply.is_success(), "{reply}");
    }
}

/// Send orders from all sides for a while, then kill the server in the middle of it.
async fn load_and_kill(server: &Process, round: usize) {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let request = server.request("POST", "/default/accept").build().unwrap();
        let (client, url) = (picloud_tests::client().build().unwrap(), request.url().to_string());
        writers.spawn(async move {
            for number in 0.. {
                let id = format!("{round}-{writer}-{number}");
                // Whether the answer has arrived does not matter: an order that is stored has everything else, too.
                if Reply::try_of(client.post(format!("{url}?id={id}"))).await.is_err() {
                    return;
                }
                // The handlers need a part of the processors.
                sleep(Duration::from_millis(5)).await;
            }
        });
    }
    sleep(Duration::from_millis(300 + 110 * round as u64)).await;
    server.signal(rustix::process::Signal::KILL);
    while writers.join_next().await.is_some() {}
}

async fn wait_until_nothing_is_left(server: &Process) {
    let begun = Instant::now();
    loop {
        let queues = server.get("/api/v1/apps/default/queues").await.json();
        if queues["items"].as_array().unwrap().is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "events are left: {queues}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Every key with a prefix, the prefix cut off, and its value.
async fn keys(server: &Process, prefix: &str) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    let mut cursor: Option<String> = None;
    loop {
        let request =
            server.request("GET", "/api/v1/apps/default/kv").query(&[("prefix", prefix), ("limit", "1000")]);
        let page = Reply::of(request.query(&cursor.as_ref().map(|cursor| [("cursor", cursor)]))).await.json();
        for entry in page["items"].as_array().unwrap() {
            let key = entry["key"].as_str().unwrap().strip_prefix(prefix).unwrap();
            found.insert(key.to_owned(), entry["value"].clone());
        }
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => return found,
        }
    }
}
