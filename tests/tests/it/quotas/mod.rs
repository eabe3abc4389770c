//! What an app may have of what all share: calls and fuel, keys and events, and that one at its limit is nothing to
//! another.

mod fairness;
mod memory;
mod processor;
mod storage;

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use picloud_host::quota::Quotas;
use picloud_tests::{Builder, Reply, TestApp};
use serde_json::json;

/// Runs for as many milliseconds as the body says.
const SLOW: &str = r#"
fn handle(req) {
    let end = time::now() + parse_int(req.body);
    while time::now() < end {}
    "done"
}"#;

/// A server whose apps have these quotas.
fn with(quotas: Quotas) -> Builder {
    let builder = TestApp::builder().limits(|limits| limits.fuel = 1_000_000_000_000);
    builder.config(|config| config.quotas = quotas)
}

/// Make another app with a script in it.
async fn add_app(app: &TestApp, name: &str, script: &str, source: &str) {
    let made = Reply::of(app.request("PUT", &format!("/api/v1/apps/{name}")).json(&json!({}))).await;
    assert_eq!(made.status, 201, "{made}");
    let path = format!("/api/v1/apps/{name}/scripts/{script}");
    let upload = app.request("PUT", &path).header("content-type", "text/plain").body(source.to_owned());
    let reply = Reply::of(upload).await;
    assert_eq!(reply.status, 201, "{reply}");
}

/// Seconds after which a refused call may come back.
#[track_caller]
fn refused(reply: &Reply, quota: &str) -> u64 {
    let problem = reply.assert_problem(429, "quota-exceeded");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(quota)), "{problem}");
    assert_eq!((&problem["fault"], &problem["retryable"]), (&"limit".into(), &true.into()));
    reply.header("retry-after").unwrap().parse().unwrap()
}

/// An event from outside for a script.
async fn post_event(app: &TestApp, of: &str, script: &str, data: &str) -> Reply {
    let whole = json!({ "specversion": "1.0", "id": "1", "source": "/test", "type": "test",
                        "data": data.parse::<serde_json::Value>().unwrap() });
    let request = app.request("POST", &format!("/api/v1/apps/{of}/events?script={script}"));
    let request = request.header("content-type", "application/cloudevents+json");
    Reply::of(request.body(whole.to_string())).await
}

async fn wait_for_value(app: &TestApp, key: &str, value: &str) {
    let begun = Instant::now();
    loop {
        let reply = app.get(&format!("/api/v1/apps/default/kv/{key}")).await;
        if reply.status == 200 && reply.text() == value {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{key} is {reply}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_a_second_than_the_quota_get_429() {
    let app = with(Quotas { calls_per_second: Some(5), ..Quotas::default() }).start().await;
    app.deploy("hello", "fn handle(req) { kv::incr(\"calls\"); 1 }").await;
    add_app(&app, "other", "hello", "fn handle(req) { 2 }").await;
    let begun = Instant::now();
    let replies = join_all((0..40).map(|_| app.get("/default/hello"))).await;
    let fine = replies.iter().filter(|reply| reply.status == 200).count();
    // Five at once, and what comes in the time that all of them take.
    let most = 5 + 5 * begun.elapsed().as_millis() / 1000 + 1;
    assert!((5..=most).contains(&(fine as u128)), "{fine} in {:?}", begun.elapsed());
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        assert_eq!(refused(reply, "calls_per_second of 5 calls/s"), 1);
    }
    assert_eq!(app.get("/other/hello").await.text(), "2", "that is nothing to another app");
    assert_eq!(
        app.get("/api/v1/apps/default/kv/calls").await.text(),
        fine.to_string(),
        "the others did not run"
    );
    let metrics = app.get("/metrics").await;
    let line =
        format!("picloud_calls_over_quota_total{{app=\"default\",quota=\"calls_per_second\"}} {}", 40 - fine);
    assert!(metrics.text().contains(&line), "{metrics}");
    tokio::time::sleep(Duration::from_millis(1000)).await;
    assert_eq!(app.get("/default/hello").await.status, 200, "after Retry-After there is room");
}

#[tokio::test(flavor = "multi_thread")]
async fn fuel_is_charged_after_the_call_and_paid_off_by_the_second() {
    const RATE: u64 = 100_000;
    let app = with(Quotas { fuel_per_second: Some(RATE), ..Quotas::default() }).start().await;
    app.deploy("callee", "fn handle(req) { let n = 0; while n < 20000 { n += 1; } n }").await;
    app.deploy("caller", "fn handle(req) { scripts::invoke(\"callee\").body }").await;
    add_app(&app, "other", "hello", "fn handle(req) { 2 }").await;
    let before = Instant::now();
    let first = app.get("/default/caller").await;
    assert_eq!(first.status, 200, "{first}");
    let used = first.fuel();
    assert!(used > 12 * RATE, "the test needs a call that leaves a debt: {used}");
    let secs = refused(&app.get("/default/caller").await, "fuel_per_second of 100000 units/s");
    let owed = (used - 10 * RATE).div_ceil(RATE);
    let passed = before.elapsed().as_secs() + 1;
    assert!((owed - passed.min(owed)..=owed + 1).contains(&secs), "{secs}, but {owed} are owed");
    assert_eq!(app.get("/other/hello").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_so_many_calls_at_once() {
    let app = with(Quotas { concurrent_calls: Some(2), ..Quotas::default() }).start().await;
    app.deploy("slow", SLOW).await;
    add_app(&app, "other", "hello", "fn handle(req) { 2 }").await;
    // Long enough for all six to have come before the first one ends.
    let replies = join_all((0..6).map(|_| app.post("/default/slow", "2500"))).await;
    let fine = replies.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(fine, 2);
    for reply in replies.iter().filter(|reply| reply.status != 200) {
        let secs = refused(reply, "concurrent_calls of 2 calls");
        assert!((1..=4).contains(&secs), "{secs}");
    }
    let (held, other) = tokio::join!(app.post("/default/slow", "300"), app.get("/other/hello"));
    assert_eq!((held.status, other.status), (200, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_over_the_rate_wait_and_none_is_lost() {
    let app = with(Quotas { calls_per_second: Some(10), ..Quotas::default() }).start().await;
    app.deploy("work", "fn on_event(event) { kv::incr(\"done\") }").await;
    app.deploy("submit", "fn handle(req) { for n in 0..25 { triggers::enqueue(\"work\", n); } 1 }").await;
    let begun = Instant::now();
    assert_eq!(app.get("/default/submit").await.status, 200);
    wait_for_value(&app, "done", "25").await;
    // 26 calls, of which ten may run at once.
    assert!(begun.elapsed() >= Duration::from_millis(1500), "{:?}", begun.elapsed());
    let left = app.get("/api/v1/apps/default/events").await.json();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(0), "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_whose_callers_do_not_wait_wait_themselves() {
    let app = with(Quotas { calls_per_second: Some(4), ..Quotas::default() }).start().await;
    app.deploy("count", "fn handle(req) { kv::incr(\"calls\") }").await;
    let begun = Instant::now();
    for _ in 0..10 {
        let request = app.anonymous("POST", "/default/count").header("prefer", "respond-async");
        assert_eq!(Reply::of(request).await.status, 202, "none is refused");
    }
    wait_for_value(&app, "calls", "10").await;
    assert!(begun.elapsed() >= Duration::from_millis(1400), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_one_app_over_its_rate_do_not_hold_up_another() {
    let app = with(Quotas { calls_per_second: Some(2), ..Quotas::default() }).start().await;
    app.deploy("work", "fn on_event(event) { kv::incr(\"done\") }").await;
    app.deploy("submit", "fn handle(req) { for n in 0..100 { triggers::enqueue(\"work\", n); } 1 }").await;
    add_app(&app, "other", "work", "fn on_event(event) { kv::incr(\"done\") }").await;
    assert_eq!(app.get("/default/submit").await.status, 200);
    assert_eq!(post_event(&app, "other", "work", "1").await.status, 202);
    let begun = Instant::now();
    while app.get("/api/v1/apps/other/kv/done").await.status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(5), "it waits for the other app");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_has_quotas_of_its_own_in_the_place_of_the_servers() {
    let mut app = with(Quotas { calls_per_second: Some(1), ..Quotas::default() }).start().await;
    app.deploy("hello", "1").await;
    let set =
        app.request("PUT", "/api/v1/apps/default").json(&json!({ "quotas": { "calls_per_second": 1000 } }));
    let shown = Reply::of(set).await.json();
    assert_eq!(shown["effective_quotas"]["calls_per_second"], 1000);
    app.restart().await;
    for _ in 0..5 {
        assert_eq!(app.get("/default/hello").await.status, 200);
    }
    let wrong =
        app.request("PUT", "/api/v1/apps/default").json(&json!({ "quotas": { "calls_per_second": 0 } }));
    Reply::of(wrong).await.assert_problem(422, "app-invalid");
    assert!(Reply::of(app.request("PUT", "/api/v1/apps/default").json(&json!({}))).await.is_success());
    let replies = join_all((0..5).map(|_| app.get("/default/hello"))).await;
    assert!(replies.iter().any(|reply| reply.status == 429));
}
