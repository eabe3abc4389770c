//! The processor, which apps share also where none of them has a quota: what one of them computes for long is not all waited
//! for by another. What is held against is who ends before whom, not how long anything takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use picloud_host::quota::Quotas;
use picloud_tests::{Reply, TestApp};
use tokio::task::JoinSet;

use super::{add_app, refused, with};

/// Many times longer than a tick, but it counts and does not look at the clock: how long it takes depends on who else computes.
const LONG: &str = "fn handle(req) { let n = 0; while n < 300000 { n += 1; } n }";

/// How many the greedy app has at the same time.
const MANY: usize = 24;

/// Start what the greedy app does, and tell when the first of it has ended: then all of it has begun.
async fn greedy(one: impl AsyncFn(usize) -> reqwest::RequestBuilder) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let (mut all, ended) = (JoinSet::new(), Arc::new(AtomicUsize::new(0)));
    for number in 0..MANY {
        let (request, ended) = (one(number).await, ended.clone());
        all.spawn(async move {
            let reply = Reply::of(request).await;
            assert!(reply.is_success(), "{reply}");
            ended.fetch_add(1, Ordering::Relaxed);
        });
    }
    all.join_next().await.unwrap().unwrap();
    (all, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_call_does_not_wait_for_all_long_calls_of_another_app() {
    let app = with(Quotas::default()).start().await;
    add_app(&app, "other", "long", LONG).await;
    app.deploy("long", LONG).await;
    let (all, ended) = greedy(async |_| app.request("GET", "/default/long")).await;
    let reply = app.get("/other/long").await;
    let before = ended.load(Ordering::Relaxed);
    assert_eq!(reply.status, 200, "{reply}");
    assert!(before < MANY / 2, "{before} of {MANY} went first");
    all.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_does_not_wait_for_all_uploads_of_another_app() {
    let app = with(Quotas::default()).start().await;
    add_app(&app, "other", "a", "1").await;
    let upload = |of: &str, name: &str, source: String| {
        let path = format!("/api/v1/apps/{of}/scripts/{name}");
        app.request("PUT", &path).header("content-type", "text/plain").body(source)
    };
    let (all, ended) = greedy(async |number| {
        let source = format!("let n = {number}; while n < 300000 {{ n += 1; }} fn handle(req) {{ 1 }}");
        upload("default", &format!("s{number}"), source)
    })
    .await;
    let reply = Reply::of(upload("other", "b", "fn handle(req) { 2 }".to_owned())).await;
    let before = ended.load(Ordering::Relaxed);
    assert_eq!(reply.status, 201, "{reply}");
    assert!(before < MANY / 2, "{before} of {MANY} went first");
    all.join_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fuel_of_uploads_has_a_bound_but_keeps_nobody_from_calling_or_going_back() {
    let quotas = Quotas { fuel_per_second: Some(1000), ..Quotas::default() };
    let app = with(quotas).start().await;
    let upload = async |source: &'static str| {
        let path = picloud_tests::app::script_path("a");
        Reply::of(app.request("PUT", &path).header("content-type", "text/plain").body(source)).await
    };
    // Some may be used before there is none any more.
    assert_eq!(upload("fn handle(req) { 1 }").await.status, 201);
    let wait = refused(&upload("fn handle(req) { 2 }").await, "fuel_per_second");
    assert!(wait > 100, "{wait}");
    assert_eq!(app.get("/default/a").await.status, 200);
    // To go back to a version that is better must be possible at once.
    let path = format!("{}/versions/1/activate", picloud_tests::app::script_path("a"));
    assert_eq!(Reply::of(app.request("POST", &path)).await.status, 200);
}

/// What the greedy app does is not lost: it only waits.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_alone_has_all_of_it() {
    let app: TestApp = with(Quotas::default()).start().await;
    app.deploy("long", LONG).await;
    let (all, ended) = greedy(async |_| app.request("GET", "/default/long")).await;
    all.join_all().await;
    assert_eq!(ended.load(Ordering::Relaxed), MANY);
}
