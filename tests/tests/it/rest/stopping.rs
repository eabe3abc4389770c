//! Stopping in order: calls under way finish, nothing new is taken.

use std::time::{Duration, Instant};

use picloud_tests::{Reply, TestApp};

use super::slow;

async fn with_slow_call(
    ms: u32,
    drain_seconds: u64,
) -> (TestApp, tokio::task::JoinHandle<reqwest::Result<Reply>>) {
    let builder = TestApp::builder().limits(|limits| limits.fuel = 1_000_000_000_000);
    let app = builder.config(|config| config.drain_seconds = drain_seconds).start().await;
    app.deploy("a", format!("kv::incr(\"finished\"); {}", slow(ms))).await;
    let call = tokio::spawn(Reply::try_of(app.request("GET", "/default/a")));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!call.is_finished(), "the call was too fast to show anything");
    (app, call)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_finishes() {
    let (mut app, call) = with_slow_call(700, 30).await;
    let new = app.request("GET", "/livez");
    let begin = Instant::now();
    let (reply, (), refused) = futures_util::future::join3(call, app.restart(), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Reply::try_of(new).await
    })
    .await;
    assert_eq!(reply.unwrap().expect("the call was answered").text(), "1");
    assert!(begin.elapsed() < Duration::from_secs(10), "stopping waits for calls, not for the whole drain");
    assert!(refused.is_err(), "a server that stops takes no new connection");
    app.deploy("b", "kv::get(\"finished\")").await;
    assert_eq!(app.get("/default/b").await.text(), "1", "what it wrote is there");
    let executions = app.get("/api/v1/apps/default/executions?script=a").await.json();
    assert_eq!(executions["items"][0]["status"], 200, "and it is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_drain_has_an_end() {
    let (app, call) = with_slow_call(8000, 1).await;
    let begin = Instant::now();
    app.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "stopping took {:?}", begin.elapsed());
    call.abort();
}

/// An idle connection that a client keeps must not hold the server up.
#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_delay_the_stop() {
    let app = TestApp::start().await;
    let silent = tokio::net::TcpStream::connect(app.address).await.unwrap();
    assert_eq!(app.get("/livez").await.status, 200);
    let begin = Instant::now();
    app.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(3), "stopping took {:?}", begin.elapsed());
    drop(silent);
}

/// Who follows the log waits for what the server will not do any more.
#[tokio::test(flavor = "multi_thread")]
async fn followers_of_the_log_do_not_delay_the_stop() {
    let app = TestApp::start().await;
    app.deploy("a", "log::info(\"hi\")").await;
    assert_eq!(app.get("/default/a").await.status, 204);
    let seen = app.get("/api/v1/apps/default/logs").await.json();
    let after = seen["next_after"].as_str().expect("there is a place to go on from");
    let follow = app.request("GET", &format!("/api/v1/apps/default/logs?wait_ms=25000&after={after}"));
    let follower = tokio::spawn(Reply::try_of(follow));
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!follower.is_finished(), "there was nothing to wait for");
    let begin = Instant::now();
    app.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(5), "stopping took {:?}", begin.elapsed());
    assert_eq!(follower.await.unwrap().expect("the follower is answered").status, 200);
}
