//! Asynchronous calls: a request is accepted, waits, runs, and its answer is fetched later. And requests with an
//! idempotency key, whose answers are kept, too.

mod access;
mod bounds;
mod callback;
mod cancel;
mod follow;
mod idempotency;
mod races;

use std::time::{Duration, Instant};

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use tokio::time::sleep;

/// How long something may take that is to happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers with what it was asked, and counts.
const ECHO: &str = r#"
fn handle(req) {
    kv::incr("calls");
    response(201, #{ method: req.method, path: req.path, query: req.query, body: req.body, id: ctx.execution_id,
                     token: req.headers["x-token"], root: ctx.root_execution_id, depth: ctx.trigger_depth })
        .header("x-echo", "yes")
}"#;

/// Runs for as many milliseconds as its body says, and counts.
const SLOW: &str = r#"
fn handle(req) {
    let end = time::now() + parse_int(req.body);
    while time::now() < end {}
    kv::incr("slow");
    "done"
}"#;

/// A server on which one event runs at a time, and a call may take long.
fn one_at_a_time() -> picloud_tests::Builder {
    let builder = TestApp::builder().limits(|limits| limits.fuel = 1_000_000_000_000);
    builder.config(|config| config.max_concurrent_events = 1)
}

/// A request whose caller does not wait.
async fn send(app: &TestApp, path: &str, body: &str) -> Reply {
    let request = app.anonymous("POST", path).header("prefer", "respond-async").body(body.to_owned());
    Reply::of(request).await
}

/// The address of its execution.
async fn accepted(app: &TestApp, path: &str, body: &str) -> String {
    let reply = send(app, path, body).await;
    assert_eq!(reply.status, 202, "{reply}");
    reply.header("location").unwrap().to_owned()
}

/// The address of the answer, from that of the execution.
fn answer_of(location: &str) -> String {
    location.replacen('?', "/answer?", 1)
}

/// Look at an execution with nothing but its address.
async fn look(app: &TestApp, address: &str) -> Reply {
    Reply::of(app.anonymous("GET", address)).await
}

/// Look again and again until what is waited for is there; the error says what is there instead.
async fn until<T, F: Future<Output = Result<T, String>>>(mut found: impl FnMut() -> F) -> T {
    let begun = Instant::now();
    loop {
        match found().await {
            Ok(found) => return found,
            Err(seen) => assert!(begun.elapsed() < PATIENCE, "{seen}"),
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Wait until the call has this state.
async fn wait_for_state(app: &TestApp, location: &str, state: &str) -> Value {
    until(|| async {
        let seen = look(app, location).await;
        assert_eq!(seen.status, 200, "{seen}");
        let seen = seen.json();
        if seen["state"] == state { Ok(seen) } else { Err(format!("not {state}: {seen}")) }
    })
    .await
}

/// The answer, when it is there.
async fn answer(app: &TestApp, location: &str) -> Reply {
    wait_for_state(app, location, "done").await;
    look(app, &answer_of(location)).await
}

async fn value(app: &TestApp, key: &str) -> Value {
    let reply = app.get(&format!("/api/v1/apps/default/kv/{key}")).await;
    if reply.status == 404 { Value::Null } else { reply.json() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_accepted_and_its_answer_is_the_one_that_a_caller_who_waits_gets() {
    let app = TestApp::start().await;
    app.deploy("echo", ECHO).await;
    let request = |method| {
        let request = app.anonymous(method, "/default/echo/below?a=1").header("x-request-id", "r-1");
        request.header("x-token", "t").body("höh")
    };
    let reply = Reply::of(request("PUT").header("prefer", "wait=1, respond-async")).await;
    assert_eq!(reply.status, 202, "{reply}");
    assert_eq!(reply.header("preference-applied"), Some("respond-async"));
    assert_eq!((reply.header("vary"), reply.header("cache-control")), (Some("prefer"), Some("no-store")));
    let location = reply.header("location").unwrap();
    let id = reply.execution_id();
    assert!(location.starts_with(&format!("/api/v1/apps/default/executions/{id}?key=")), "{location}");
    assert_eq!(reply.json(), json!({ "execution_id": id, "state": "queued", "url": location }));

    let answer = answer(&app, location).await;
    assert_eq!((answer.status, answer.header("x-echo")), (201, Some("yes")), "{answer}");
    assert_eq!(answer.execution_id(), id);
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
    assert_eq!(
        answer.json(),
        json!({ "method": "PUT", "path": "/below", "query": { "a": "1" }, "body": "höh", "id": id, "token": "t",
                "root": id, "depth": 0 })
    );
    let waited = Reply::of(request("PUT")).await;
    assert_eq!((waited.status, waited.header("content-type")), (201, answer.header("content-type")));
    assert_eq!(value(&app, "calls").await, 2);
    assert!(app.get("/api/v1/apps/default/events").await.json()["items"].as_array().unwrap().is_empty());

    let record = app.get(&format!("/api/v1/apps/default/executions/{id}")).await.json();
    assert_eq!(
        (&record["state"], &record["trigger"], &record["status"]),
        (&json!("done"), &json!("http"), &json!(201))
    );
    assert_eq!((&record["root_id"], &record["trigger_depth"]), (&json!(id), &json!(0)));
    assert_eq!((&record["method"], &record["path"]), (&json!("PUT"), &json!("/below")));
    assert_eq!(record["fuel"].as_u64(), Some(answer.fuel()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_any_bytes_arrives_as_it_was() {
    let app = TestApp::start().await;
    app.deploy("back", "fn handle(req) { req.blob }").await;
    let body: Vec<u8> = (0..=255).collect();
    let request = app.anonymous("POST", "/default/back").header("prefer", "respond-async");
    let reply = Reply::of(request.body(body.clone())).await;
    assert_eq!(answer(&app, reply.header("location").unwrap()).await.body, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_has_no_effects_and_its_problem_is_the_answer() {
    let app = TestApp::builder().limits(|limits| limits.fuel = 20_000_000).start().await;
    app.deploy("threw", r#"fn handle(req) { kv::set("x", 1); throw #{ status: 404, message: "no" } }"#).await;
    app.deploy("loops", r#"fn handle(req) { kv::set("x", 1); loop {} }"#).await;
    app.deploy("broken", r#"fn handle(req) { kv::set("x", 1); nothing() }"#).await;
    for (script, status, code) in
        [("threw", 404, "script-threw"), ("loops", 500, "fuel-exhausted"), ("broken", 500, "script-error")]
    {
        let path = format!("/default/{script}");
        let location = accepted(&app, &path, "").await;
        let answer = answer(&app, &location).await;
        let problem = answer.assert_problem(status, code);
        let mut waited = app.post(&path, "").await.assert_problem(status, code);
        waited["execution_id"] = problem["execution_id"].clone();
        assert_eq!(problem, waited);
        let record = app.get(location.split('?').next().unwrap()).await.json();
        assert_eq!((&record["code"], &record["status"]), (&json!(code), &json!(status)), "{record}");
    }
    assert_eq!(value(&app, "x").await, Value::Null);
    assert!(app.get("/api/v1/apps/default/events").await.json()["items"].as_array().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_there_after_a_restart_and_answers_stay() {
    let mut app = one_at_a_time().start().await;
    app.deploy("echo", ECHO).await;
    app.deploy("slow", SLOW).await;
    let done = accepted(&app, "/default/echo", "first").await;
    assert_eq!(answer(&app, &done).await.json()["body"], "first");
    let blocker = accepted(&app, "/default/slow", "1500").await;
    wait_for_state(&app, &blocker, "running").await;
    let waits = accepted(&app, "/default/echo", "second").await;
    assert_eq!(look(&app, &waits).await.json()["state"], "queued");
    look(&app, &answer_of(&waits)).await.assert_problem(404, "answer-pending");
    app.restart().await;
    assert_eq!(answer(&app, &blocker).await.text(), "done");
    assert_eq!(answer(&app, &waits).await.json()["body"], "second");
    assert_eq!(answer(&app, &done).await.json()["body"], "first");
    assert_eq!((value(&app, "calls").await, value(&app, "slow").await), (json!(2), json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_is_gone_by_then_is_the_answer() {
    let app = one_at_a_time().start().await;
    app.deploy("echo", ECHO).await;
    app.deploy("slow", SLOW).await;
    let blocker = accepted(&app, "/default/slow", "400").await;
    wait_for_state(&app, &blocker, "running").await;
    let waits = accepted(&app, "/default/echo/a", "").await;
    assert_eq!(app.delete("/api/v1/apps/default/scripts/echo").await.status, 204);
    let problem = answer(&app, &waits).await.assert_problem(404, "script-not-found");
    assert_eq!(problem["instance"], "/default/echo/a");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_waits_is_an_event_whose_headers_and_body_are_nobody_elses_business() {
    let app = one_at_a_time().start().await;
    app.deploy("echo", ECHO).await;
    app.deploy("slow", SLOW).await;
    let blocker = accepted(&app, "/default/slow", "600").await;
    wait_for_state(&app, &blocker, "running").await;
    let request = app.anonymous("POST", "/default/echo/x?y=1").header("authorization", "Bearer very-secret");
    let reply = Reply::of(request.header("prefer", "respond-async").body("private")).await;
    let list = app.get("/api/v1/apps/default/events?kind=http&script=echo").await;
    let event = &list.json()["items"][0];
    assert_eq!((&event["id"], &event["trigger_depth"]), (&json!(reply.execution_id()), &json!(0)), "{event}");
    assert_eq!(event["event"]["subject"], "/default/echo/x");
    assert_eq!(
        event["event"]["data"],
        json!({ "method": "POST", "path": "/x", "query": "y=1", "request_id": reply.execution_id(), "body_bytes": 7 })
    );
    assert!(!list.text().contains("very-secret") && !list.text().contains("private"));
    let trace = app.get(&format!("/api/v1/apps/default/traces/{}", reply.execution_id())).await.json();
    assert_eq!(trace["roots"][0]["event"]["kind"], "http", "{trace}");
    answer(&app, reply.header("location").unwrap()).await;
}
