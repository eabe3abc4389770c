//! Uploads while calls are made: no call is dropped, and each runs one version from its start to its end.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use picloud_tests::{Reply, TestApp};

use super::slow;

#[tokio::test(flavor = "multi_thread")]
async fn no_call_is_dropped_while_scripts_are_uploaded() {
    const UPLOADS: u64 = 40;
    let app = TestApp::start().await;
    let source = |n: u64| format!("const N = {n}; fn handle() {{ [ctx.version, N] }}");
    app.deploy("a", source(1)).await;
    let (done, calls) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    let call = async || {
        let mut last = 0;
        while !done.load(Ordering::Relaxed) {
            let reply = app.get("/default/a").await;
            assert_eq!(reply.status, 200, "{reply}");
            let seen: Vec<u64> = serde_json::from_slice(&reply.body).unwrap();
            assert_eq!(seen[0], seen[1], "the version and the source that ran belong together");
            assert!(seen[0] >= last, "version {} was called after version {last}", seen[0]);
            last = seen[0];
            calls.fetch_add(1, Ordering::Relaxed);
        }
    };
    let upload = async {
        for n in 2..=UPLOADS {
            app.deploy("a", source(n)).await;
            // Who uploads calls what was uploaded.
            assert_eq!(app.get("/default/a").await.text(), format!("[{n},{n}]"));
        }
        done.store(true, Ordering::Relaxed);
    };
    futures_util::future::join4(upload, call(), call(), call()).await;
    assert!(calls.into_inner() > UPLOADS, "there were too few calls to show anything");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_keeps_its_version() {
    let app = TestApp::builder().limits(|limits| limits.fuel = 1_000_000_000_000).start().await;
    app.deploy("a", slow(1500)).await;
    let call = tokio::spawn(Reply::of(app.request("GET", "/default/a")));
    tokio::time::sleep(Duration::from_millis(150)).await;
    app.deploy("a", "\"new\"").await;
    assert_eq!(app.get("/default/a").await.text(), "new");
    assert!(!call.is_finished(), "the slow call was too fast to show anything");
    assert_eq!(call.await.unwrap().text(), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_outlives_its_script() {
    let app = TestApp::builder().limits(|limits| limits.fuel = 1_000_000_000_000).start().await;
    app.deploy("a", slow(1500)).await;
    let call = tokio::spawn(Reply::of(app.request("GET", "/default/a")));
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(app.delete(&picloud_tests::app::script_path("a")).await.status, 204);
    app.get("/default/a").await.assert_problem(404, "route-not-found");
    assert_eq!(call.await.unwrap().text(), "1");
}

/// Its source loaded when it was uploaded. The caller cannot know that the operator has changed a limit since.
#[tokio::test(flavor = "multi_thread")]
async fn a_cold_script_that_no_longer_loads_is_no_fault_of_the_caller() {
    let mut app = TestApp::start().await;
    app.deploy("heavy", "let n = 0; for i in 0..20000 { n += i; } fn handle(req) { 1 }").await;
    app.deploy("light", "fn handle(req) { 1 }").await;
    assert_eq!(app.get("/default/heavy").await.text(), "1");
    app.restart_with(|config| config.limits.fuel = 10_000_000).await;
    let reply = app.get("/default/heavy").await;
    reply.assert_problem(500, "fuel-exhausted");
    assert_eq!(reply.json()["fault"], "limit");
    let record = app.get(&format!("/api/v1/apps/default/executions/{}", reply.execution_id())).await.json();
    assert_eq!((&record["fault"], &record["status"]), (&"limit".into(), &500.into()), "{record}");
    assert_eq!(app.get("/default/light").await.text(), "1");
}
