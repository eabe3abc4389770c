//! What bounds calls of scripts, and what happens at the bounds.

use std::time::{Duration, Instant};

use picloud_tests::TestApp;
use serde_json::json;

use super::{caught, executions, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_tree_has_so_many_calls() {
    let app = TestApp::start().await;
    app.deploy("leaf", "1").await;
    app.deploy("branch", "scripts::invoke(\"leaf\"); scripts::invoke(\"leaf\").json").await;
    let source = r#"
        let done = 0;
        let message = "";
        try { for n in 0..100 { scripts::invoke("leaf"); done += 1; } } catch (e) { message = e; }
        [done, message]"#;
    let message = "scripts: a call may call at most 16 scripts, with all that those call";
    assert_eq!(run(&app, source).await.json(), json!([16, message]));
    let source = source.replace("leaf", "branch");
    let message = format!("scripts: branch failed with script-error: {message} (line 1, column 10)");
    assert_eq!(run(&app, &source).await.json(), json!([5, message]));
    assert_eq!(executions(&app, "leaf").await.len(), 16 + 10, "the sixteenth call was the sixth branch");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_ends_with_its_depth() {
    let app = TestApp::builder().limits(|limits| limits.trigger_depth = 3).start().await;
    app.deploy("a", "kv::incr(\"n\"); scripts::invoke(\"b\").body").await;
    app.deploy("b", "kv::incr(\"n\"); scripts::invoke(\"a\").body").await;
    let reply = app.get("/default/a").await;
    let detail = reply.assert_problem(500, "script-error")["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("depth-exceeded: more than 3 calls followed on one another"), "{detail}");
    assert_eq!(app.get("/api/v1/apps/default/kv/n").await.status, 404);
    let depths = app.get("/api/v1/apps/default/executions?code=depth-exceeded").await.json();
    assert_eq!(depths["items"][0]["trigger_depth"], 4);
    assert_eq!(
        run(&app, "let r = \"\"; try { scripts::invoke(\"a\") } catch (e) { r = e } r").await.status,
        200
    );
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callee_that_loops_or_eats_memory_ends_alone() {
    let app = TestApp::builder().limits(|limits| limits.fuel = 100_000_000).start().await;
    for (source, code) in [
        ("loop {}", "fuel-exhausted"),
        ("let a = \"x\"; loop { a += a; }", "memory-exhausted"),
        ("blob(5_000_000, 1)", "answer-too-large"),
    ] {
        app.deploy("callee", source).await;
        let message = caught(&app, "scripts::invoke(\"callee\")").await;
        assert!(message.starts_with(&format!("scripts: callee failed with {code}")), "{source}: {message}");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_of_the_caller_ends_the_tree() {
    let limits = |limits: &mut picloud_host::limits::Limits| {
        limits.deadline_ms = 500;
        limits.fuel = 1_000_000_000_000;
    };
    let app = TestApp::builder().limits(limits).start().await;
    app.deploy("slow", "kv::set(\"slow\", 1); log::info(\"begun\"); loop {}").await;
    app.deploy("middle", "scripts::invoke(\"slow\").body").await;
    let begun = Instant::now();
    let reply = run(&app, "kv::set(\"a\", 1); try { scripts::invoke(\"middle\"); } catch {} 1").await;
    // Whoever is first at the deadline: the script, which may catch it, or the fence, which nobody catches.
    assert!(matches!(reply.status, 200 | 504), "{reply}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for script in ["slow", "middle"] {
        let records = executions(&app, script).await;
        assert_eq!(records.len(), 1, "{script}");
    }
    assert_eq!(executions(&app, "slow").await[0]["code"], "deadline-exceeded");
    assert_eq!(app.get("/api/v1/apps/default/kv/slow").await.status, 404);
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_events_and_bytes_are_counted_for_the_tree() {
    let limits = |limits: &mut picloud_host::limits::Limits| {
        limits.kv_operations = 10;
        limits.events = 5;
        limits.request_body_bytes = 1000;
    };
    let app = TestApp::builder().limits(limits).start().await;
    app.deploy("reader", "for n in 0..6 { kv::get(`${n}`); } 6").await;
    let message = caught(&app, "for n in 0..5 { kv::get(`${n}`); } scripts::invoke(\"reader\")").await;
    assert!(message.contains("reader failed with script-error: kv"), "{message}");
    app.deploy("emitter", "for n in 0..3 { triggers::emit(\"t\", n); } 3").await;
    let message = caught(&app, "scripts::invoke(\"emitter\"); scripts::invoke(\"emitter\")").await;
    assert!(message.contains("emitter failed with script-error: triggers"), "{message}");
    let body = caught(&app, "let b = \"\"; b.pad(1001, \"x\"); scripts::invoke(\"reader\", b)").await;
    assert_eq!(body, "scripts: a body may have at most 1000 bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_must_fit_into_the_caller() {
    let limits = |limits: &mut picloud_host::limits::Limits| {
        limits.memory_bytes = 8 << 20;
        limits.response_body_bytes = 3 << 20;
    };
    let app = TestApp::builder().limits(limits).start().await;
    app.deploy("large", "let a = \"\"; a.pad(2_000_000, \"x\"); a").await;
    let source = "let all = []; for n in 0..10 { all.push(scripts::invoke(\"large\")); } all.len";
    run(&app, source).await.assert_problem(500, "memory-exhausted");
    app.assert_healthy().await;
}
