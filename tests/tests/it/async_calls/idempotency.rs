//! Requests with an idempotency key: done once, answered as often as they come.

use std::time::Duration;

use futures_util::future::join_all;
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

use super::{ECHO, SLOW, answer, one_at_a_time, value};

async fn keyed(app: &TestApp, path: &str, key: &str, body: &str) -> Reply {
    Reply::of(app.anonymous("POST", path).header("idempotency-key", key).body(body.to_owned())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_gets_the_same_answer_and_does_nothing() {
    let mut app = TestApp::start().await;
    app.deploy("echo", ECHO).await;
    let first = keyed(&app, "/default/echo", "\"k-1\"", "b").await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None), "{first}");
    app.restart().await;
    // With quotes or without, it is the same key.
    let again = keyed(&app, "/default/echo", "k-1", "b").await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (201, Some("true")), "{again}");
    assert_eq!((&again.body, again.execution_id()), (&first.body, first.execution_id()));
    assert_eq!((again.header("x-echo"), again.fuel()), (Some("yes"), first.fuel()));
    assert_eq!(value(&app, "calls").await, 1);
    assert_eq!(keyed(&app, "/default/echo", "k-2", "b").await.header("idempotency-replayed"), None);
    app.deploy("echo2", ECHO).await;
    assert_eq!(keyed(&app, "/default/echo2", "k-1", "b").await.header("idempotency-replayed"), None);
    assert_eq!(value(&app, "calls").await, 3, "a key belongs to its script");
    let id = first.execution_id();
    let kept = app.get(&format!("/api/v1/apps/default/executions/{id}/answer")).await;
    assert_eq!(kept.body, first.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_request_with_the_key_is_refused() {
    let app = TestApp::start().await;
    app.deploy("echo", ECHO).await;
    assert_eq!(keyed(&app, "/default/echo", "k", "b").await.status, 201);
    let request = |method, path| app.anonymous(method, path).header("idempotency-key", "k");
    for other in [
        request("POST", "/default/echo").body("c"),
        request("POST", "/default/echo/x").body("b"),
        request("POST", "/default/echo?x=1").body("b"),
        request("PATCH", "/default/echo").body("b"),
        request("POST", "/default/echo").header("authorization", "Bearer x").body("b"),
        request("POST", "/default/echo").header("cookie", "x=1").body("b"),
    ] {
        Reply::of(other).await.assert_problem(422, "idempotency-key-reused");
    }
    assert_eq!(value(&app, "calls").await, 1);
    for invalid in ["", "a b", "\"a", &"x".repeat(256)] {
        keyed(&app, "/default/echo", invalid, "b").await.assert_problem(400, "idempotency-key-invalid");
    }
    assert_eq!(value(&app, "calls").await, 1);
    // Where repeating is harmless by itself, a key is ignored.
    for _ in 0..2 {
        let get = Reply::of(request("GET", "/default/echo")).await;
        assert_eq!((get.status, get.header("idempotency-replayed")), (201, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_runs() {
    let app = one_at_a_time().start().await;
    app.deploy("slow", SLOW).await;
    let replies = join_all((0..20).map(|_| keyed(&app, "/default/slow", "k", "200"))).await;
    let (done, others): (Vec<&Reply>, Vec<&Reply>) = replies.iter().partition(|reply| reply.status == 200);
    assert!(!done.is_empty() && !others.is_empty());
    for reply in others {
        reply.assert_problem(409, "idempotency-key-busy");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    let first = done.iter().filter(|reply| reply.header("idempotency-replayed").is_none());
    assert_eq!(first.count(), 1);
    assert_eq!(value(&app, "slow").await, 1);
    assert_eq!(keyed(&app, "/default/slow", "k", "200").await.text(), "done");
    assert_eq!(value(&app, "slow").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_fails_runs_again_and_one_without_effects_does_not() {
    let app = TestApp::start().await;
    app.deploy(
        "gate",
        r#"fn handle(req) { if kv::get("open") == () { throw "closed" } random::int(0, 1000000000000) }"#,
    )
    .await;
    keyed(&app, "/default/gate", "k", "").await.assert_problem(500, "script-threw");
    app.request("PUT", "/api/v1/apps/default/kv/open").json(&json!(true)).send().await.unwrap();
    let first = keyed(&app, "/default/gate", "k", "").await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None), "{first}");
    assert_eq!(keyed(&app, "/default/gate", "k", "").await.text(), first.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_finds_the_answer_when_it_comes_again() {
    let app = one_at_a_time().start().await;
    app.deploy("slow", SLOW).await;
    let request = app.anonymous("POST", "/default/slow").header("idempotency-key", "k").body("300");
    assert!(request.timeout(Duration::from_millis(100)).send().await.is_err());
    loop {
        let again = keyed(&app, "/default/slow", "k", "300").await;
        if again.status == 200 {
            assert_eq!((again.text(), again.header("idempotency-replayed")), ("done", Some("true")));
            break;
        }
        again.assert_problem(409, "idempotency-key-busy");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(value(&app, "slow").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_call_with_a_key_is_accepted_once() {
    let app = TestApp::builder().dev(false).start().await;
    app.deploy("echo", ECHO).await;
    app.deploy("broken", "fn handle(req) { nothing() }").await;
    let send = async |path: &str, key: &str, body: &'static str| {
        let request = app.anonymous("POST", path).header("prefer", "respond-async");
        Reply::of(request.header("idempotency-key", key).body(body)).await
    };
    let replies = join_all((0..10).map(|_| send("/default/echo", "k", "b"))).await;
    let accepted: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 202).collect();
    let location = accepted[0].header("location").unwrap().to_owned();
    assert!(accepted.iter().all(|reply| reply.header("location") == Some(&location)));
    replies
        .iter()
        .filter(|reply| reply.status != 202)
        .for_each(|reply| drop(reply.assert_problem(409, "idempotency-key-busy")));
    assert_eq!(answer(&app, &location).await.status, 201);
    let again = send("/default/echo", "k", "b").await;
    assert_eq!((again.status, again.header("location")), (202, Some(&*location)), "{again}");
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    send("/default/echo", "k", "c").await.assert_problem(422, "idempotency-key-reused");
    // It was answered so the first time: a repetition that would wait does not get another answer.
    assert_eq!(keyed(&app, "/default/echo", "k", "b").await.status, 202);
    assert_eq!(value(&app, "calls").await, 1);

    let first = send("/default/broken", "k", "").await.header("location").unwrap().to_owned();
    answer(&app, &first).await.assert_problem(500, "script-error");
    let second = send("/default/broken", "k", "").await;
    assert_eq!((second.status, second.header("idempotency-replayed")), (202, None));
    assert_ne!(second.header("location"), Some(&*first), "one that has failed runs again");
    let other: Value = answer(&app, second.header("location").unwrap()).await.json();
    assert_eq!(other["code"], "script-error");
}
