//! kill -9 while asynchronous calls run and requests with idempotency keys are repeated: each is done exactly once, and
//! whoever was promised an answer gets it, as does the URL that was to be told.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::post;
use http::HeaderMap;
use picloud_tests::{Process, Reply, Site};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::http::remote::Remote;

const ROUNDS: usize = 5;
const CLIENTS: usize = 6;

/// Counts in two ways, and lets an event count, too.
const COUNT: &str = "
fn handle(req) {
    kv::incr(`one/${req.body}`);
    kv::incr(`sum/${req.body.len() % 3}`);
    triggers::enqueue(\"count\", req.body);
    `counted ${req.body}`
}
fn on_event(event) { kv::incr(`two/${event.data}`); }";

/// Of which executions a server was told, and the ids of the messages.
type Told = Arc<Mutex<HashMap<String, HashSet<String>>>>;

/// A server that is told of answers. Every third message it does not take the first time: if it were every third time, one of many
/// messages would be unlucky until its next attempt is a minute away.
async fn receiver() -> (Remote, Told) {
    let told = Told::default();
    let (kept, count) = (told.clone(), Arc::new(AtomicUsize::new(0)));
    let receive = move |headers: HeaderMap, axum::Json(message): axum::Json<Value>| {
        let mut told = kept.lock().unwrap();
        let ids = told.entry(message["subject"].as_str().unwrap().to_owned()).or_default();
        let is_new = ids.insert(headers["webhook-id"].to_str().unwrap().to_owned());
        let refused = is_new && count.fetch_add(1, Ordering::Relaxed) % 3 == 0;
        let status = if refused { 500 } else { 200 };
        async move { http::StatusCode::from_u16(status).unwrap() }
    };
    (Remote::start(Router::new().route("/told", post(receive))).await, told)
}

async fn allow_callbacks(server: &Process, remote: &Remote) {
    let mut rule = remote.rule();
    rule["callbacks"] = json!(true);
    let put = |what: &str| server.request("PUT", &format!("/api/v1/apps/default/{what}"));
    let policy = put("http-policy").json(&json!({ "rules": [rule] }));
    let secret = put("secrets/callback").header("content-type", "text/plain").body("a long enough key");
    for request in [policy, secret] {
        let reply = Reply::of(request).await;
        assert!(reply.is_success(), "{reply}");
    }
}

/// What a client has sent, and what it was told.
struct Sent {
    id: String,
    /// Where the answer of an accepted call is; none for a request with a key, which has been answered.
    location: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_while_calls_run_does_each_exactly_once() {
    let site = Site::new();
    let mut server = site.serve(&["--dev"]).await;
    server.deploy("count", COUNT).await;
    let (remote, messages) = receiver().await;
    allow_callbacks(&server, &remote).await;
    let (mut sent, mut unsure) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (told, open) = load_and_kill(&server, round, &remote.url("/told")).await;
        drop(server);
        server = site.serve(&["--dev"]).await;
        sent.extend(told);
        // Whoever was told nothing sends the same again, with the same key.
        for id in open {
            let reply = keyed(&server, &id).await;
            assert_eq!((reply.status, reply.text()), (200, &*format!("counted {id}")), "{reply}");
            unsure.push(Sent { id, location: None });
        }
    }
    let mut executions = Vec::new();
    for Sent { id, location } in &sent {
        if let Some(location) = location {
            let answer = answer(&server, location).await;
            assert_eq!((answer.status, answer.text()), (200, &*format!("counted {id}")));
            executions.push(answer.execution_id().to_owned());
        }
    }
    wait_until_nothing_is_left(&server).await;
    {
        let messages = messages.lock().unwrap();
        for execution in executions {
            let told = messages.get(&execution).map_or(0, HashSet::len);
            assert_eq!(told, 1, "{execution}: each answer is one message, however often it was sent");
        }
    }
    let asynchronous = sent.iter().filter(|sent| sent.location.is_some()).count();
    println!(
        "{} calls, {asynchronous} of them asynchronous, {} repeated, {ROUNDS} kills",
        sent.len(),
        unsure.len()
    );
    assert!(asynchronous > 20 && sent.len() - asynchronous > 20 && !unsure.is_empty(), "there was no load");
    for Sent { id, .. } in sent.iter().chain(&unsure) {
        for kind in ["one", "two"] {
            let count = server.get(&format!("/api/v1/apps/default/kv/{kind}%2F{id}")).await;
            assert_eq!(count.json(), 1, "{kind}/{id}: {count}");
        }
    }
    server.stop().await;
}

/// Send calls from all sides, each client one after the other, then kill the server in the middle of it. Returns what
/// was promised or answered, and the ids of the requests with keys that were not.
async fn load_and_kill(server: &Process, round: usize, told: &str) -> (Vec<Sent>, Vec<String>) {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let request = server.request("POST", "/default/count").build().unwrap();
        let (http, url) = (picloud_tests::client().build().unwrap(), request.url().to_string());
        let told = told.to_owned();
        clients.spawn(async move {
            let (mut sent, asynchronous) = (Vec::new(), client % 2 == 0);
            for number in 0.. {
                let id = format!("{round}-{client}-{number}");
                let request = http.post(&url).body(id.clone());
                let request = match asynchronous {
                    true => request.header("prefer", "respond-async").header("picloud-callback", &told),
                    false => request.header("idempotency-key", &id),
                };
                match Reply::try_of(request).await {
                    Ok(reply) => {
                        let expected = if asynchronous { 202 } else { 200 };
                        assert_eq!(reply.status, expected, "{reply}");
                        let location = reply.header("location").map(str::to_owned);
                        sent.push(Sent { id, location });
                    }
                    // An accepted call that we do not know of may run or not; there is nothing to say about it.
                    Err(_) => return (sent, (!asynchronous).then_some(id)),
                }
                sleep(Duration::from_millis(3)).await;
            }
            (sent, None)
        });
    }
    sleep(Duration::from_millis(350 + 90 * round as u64)).await;
    server.signal(rustix::process::Signal::KILL);
    let (mut sent, mut open) = (Vec::new(), Vec::new());
    for (told, unsure) in clients.join_all().await {
        sent.extend(told);
        open.extend(unsure);
    }
    (sent, open)
}

async fn keyed(server: &Process, id: &str) -> Reply {
    let request = server.request("POST", "/default/count").header("idempotency-key", id);
    Reply::of(request.body(id.to_owned())).await
}

async fn answer(server: &Process, location: &str) -> Reply {
    let begun = Instant::now();
    loop {
        let reply = server.get(&location.replacen('?', "/answer?", 1)).await;
        if reply.problem_code() != "answer-pending" {
            return reply;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{reply}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn wait_until_nothing_is_left(server: &Process) {
    let begun = Instant::now();
    loop {
        let queues: Value = server.get("/api/v1/apps/default/queues").await.json();
        if queues["items"].as_array().unwrap().is_empty() {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "events are left: {queues}");
        sleep(Duration::from_millis(20)).await;
    }
}
