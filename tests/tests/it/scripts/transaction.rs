//! Caller and callees are one transaction.

use axum::Router;
use axum::routing::get;
use picloud_tests::TestApp;
use serde_json::{Value, json};

use super::{executions, run};
use crate::http::remote::{Remote, allow};

async fn value(app: &TestApp, key: &str) -> Value {
    let reply = app.get(&format!("/api/v1/apps/default/kv/{key}")).await;
    if reply.status == 404 { Value::Null } else { reply.json() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_sees_what_its_caller_wrote_and_both_are_committed_together() {
    let app = TestApp::start().await;
    app.deploy("callee", "let v = kv::get(\"a\"); kv::set(\"b\", v + 1); kv::delete(\"c\"); v").await;
    let source = "kv::set(\"a\", 1); kv::set(\"c\", 1); let r = scripts::invoke(\"callee\").json; [r, kv::get(\"b\"), kv::exists(\"c\")]";
    assert_eq!(run(&app, source).await.json(), json!([1, 2, false]));
    assert_eq!((value(&app, "a").await, value(&app, "b").await), (json!(1), json!(2)));
    // The caller fails after it.
    let source = "kv::set(\"a\", 10); scripts::invoke(\"callee\"); throw \"no\"";
    assert_eq!(run(&app, source).await.status, 500);
    assert_eq!((value(&app, "a").await, value(&app, "b").await), (json!(1), json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_callee_did_that_failed_is_undone_and_only_that() {
    let writes = "kv::set(\"own\", 2); kv::set(\"shared\", 2); kv::delete(\"gone\"); triggers::enqueue(\"recorder\", \"callee\");";
    for (end, seen) in [
        ("throw #{status: 409, message: \"no\"}", json!(409)),
        ("throw \"no\"", json!("error")),
        ("loop {}", json!("error")),
        ("let a = []; loop { a.push(\"xxxxxxxxxxxxxxxxxxxxxxxxxxxx\"); }", json!("error")),
    ] {
        let app = TestApp::builder().limits(|limits| limits.fuel = 50_000_000).start().await;
        app.deploy("recorder", "fn on_event(event) { kv::set(`event/${event.data}`, 1); }").await;
        app.deploy("callee", format!("{writes} {end}")).await;
        let source = r#"
            kv::set("shared", 1); kv::set("gone", 1); triggers::enqueue("recorder", "caller");
            let r = ();
            try { r = scripts::invoke("callee").status; } catch { r = "error"; }
            [r, kv::get("own"), kv::get("shared"), kv::get("gone")]"#;
        assert_eq!(run(&app, source).await.json(), json!([seen, null, 1, 1]), "{end}");
        assert_eq!((value(&app, "own").await, value(&app, "shared").await), (Value::Null, json!(1)), "{end}");
        let begun = std::time::Instant::now();
        while value(&app, "event%2Fcaller").await.is_null() {
            assert!(begun.elapsed() < std::time::Duration::from_secs(20), "the caller's event is lost");
        }
        assert_eq!(value(&app, "event%2Fcallee").await, Value::Null, "{end}");
        let left = app.get("/api/v1/apps/default/events").await.json();
        assert_eq!(left["items"], json!([]), "{end}");
        app.assert_healthy().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conflict_runs_the_whole_tree_again_and_each_call_is_recorded_once() {
    let app = TestApp::start().await;
    app.deploy("callee", "kv::incr(\"count\"); kv::incr(`by/${req.query.n}`)").await;
    app.deploy(
        "caller",
        "kv::get(\"other\"); scripts::invoke(\"callee\", (), #{query: `n=${req.query.n}`}).json",
    )
    .await;
    app.get("/default/caller?n=0").await;
    let calls = (1..=40).map(|n| {
        let app = &app;
        async move { app.get(&format!("/default/caller?n={n}")).await.status }
    });
    let statuses = futures_util::future::join_all(calls).await;
    let well = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(value(&app, "count").await, json!(well + 1));
    let (callers, callees) = (executions(&app, "caller").await, executions(&app, "callee").await);
    assert_eq!((callers.len(), callees.len()), (41, 41), "each is recorded once");
    let reruns: u64 = callers.iter().map(|record| record["reruns"].as_u64().unwrap()).sum();
    assert!(reruns > 0, "no two calls met, so this proves nothing");
}

/// A remote that does something with the app while a script waits for its answer.
async fn meddling(
    app: &TestApp,
    method: reqwest::Method,
    path: &str,
    media_type: &str,
    body: &str,
) -> Remote {
    let client = picloud_tests::client().build().unwrap();
    let (url, media_type, body) =
        (format!("http://{}{path}", app.address), media_type.to_owned(), body.to_owned());
    let meddle = move || {
        let request = client.request(method.clone(), &url).header("content-type", &media_type);
        let request = request.body(body.clone());
        async move { request.send().await.unwrap().status().to_string() }
    };
    let remote = Remote::start(Router::new().route("/", get(meddle))).await;
    allow(app, json!([remote.rule()])).await;
    remote
}

#[tokio::test(flavor = "multi_thread")]
async fn one_name_is_one_version_in_a_whole_tree() {
    let app = TestApp::start().await;
    app.deploy("versioned", "1").await;
    let path = "/api/v1/apps/default/scripts/versioned";
    let remote = meddling(&app, reqwest::Method::PUT, path, "text/plain", "2").await;
    let source = format!(
        "[scripts::invoke(\"versioned\").json, http::get(\"{}\").status, scripts::invoke(\"versioned\").json]",
        remote.url("/")
    );
    assert_eq!(run(&app, &source).await.json(), json!([1, 200, 1]));
    assert_eq!(app.get("/default/versioned").await.json(), json!(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_that_has_sent_a_request_cannot_run_again() {
    let app = TestApp::start().await;
    // Somebody else changes what the caller has read, while its callee waits.
    let path = "/api/v1/apps/default/kv/read";
    let remote = meddling(&app, reqwest::Method::PUT, path, "application/json", "1").await;
    app.deploy("callee", format!("http::get(\"{}\").body", remote.url("/"))).await;
    let reply = run(&app, "kv::get(\"read\"); kv::set(\"written\", scripts::invoke(\"callee\").body)").await;
    reply.assert_problem(503, "kv-conflict");
    assert_eq!(remote.hits(), 1);
    assert_eq!(value(&app, "written").await, Value::Null);
    assert_eq!(executions(&app, "callee").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_callee_come_from_the_callee() {
    let app = TestApp::start().await;
    app.deploy(
        "recorder",
        "fn on_event(event) { kv::set(`seen/${event.data}`, [event.source, ctx.trigger_depth]); }",
    )
    .await;
    app.deploy("callee", "triggers::enqueue(\"recorder\", \"in\"); ()").await;
    let source = "scripts::invoke(\"callee\"); triggers::enqueue(\"recorder\", \"out\"); ()";
    assert_eq!(run(&app, source).await.status, 204);
    let begun = std::time::Instant::now();
    while value(&app, "seen%2Fin").await.is_null() || value(&app, "seen%2Fout").await.is_null() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "an event is lost");
    }
    assert_eq!(value(&app, "seen%2Fin").await, json!(["/default/callee", 2]));
    assert_eq!(value(&app, "seen%2Fout").await, json!(["/default/caller", 1]));
}
