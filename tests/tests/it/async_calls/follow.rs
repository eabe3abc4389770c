//! Following an asynchronous call by server-sent events.

use std::time::Duration;

use picloud_tests::{Reply, TestApp};
use serde_json::Value;

use super::{SLOW, accepted, answer, one_at_a_time, wait_for_state};

/// Name and data of each event of a stream that has ended.
fn events(stream: &str) -> Vec<(&str, Value)> {
    let blocks = stream.split("\n\n").filter(|block| block.contains("event: "));
    blocks
        .map(|block| {
            let field = |name| block.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            (field("event: "), serde_json::from_str(field("data: ")).unwrap())
        })
        .collect()
}

async fn follow(app: &TestApp, location: &str) -> Reply {
    Reply::of(app.anonymous("GET", location).header("accept", "text/event-stream")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_sees_each_state_once_and_the_end() {
    let app = one_at_a_time().start().await;
    app.deploy("slow", SLOW).await;
    let blocker = accepted(&app, "/default/slow", "300").await;
    wait_for_state(&app, &blocker, "running").await;
    let location = accepted(&app, "/default/slow", "300").await;
    let stream = follow(&app, &location).await;
    assert_eq!(stream.header("content-type"), Some("text/event-stream"), "{stream}");
    let seen = events(stream.text());
    let states: Vec<&str> = seen.iter().map(|(state, _)| *state).collect();
    assert_eq!(states, ["queued", "running", "done"]);
    assert_eq!((&seen[0].1["attempt"], &seen[1].1["attempt"]), (&0.into(), &1.into()));
    assert_eq!((&seen[2].1["status"], &seen[2].1["state"]), (&200.into(), &"done".into()));
    assert_eq!(answer(&app, &location).await.text(), "done");
    let late = follow(&app, &location).await;
    assert_eq!(events(late.text()).len(), 1, "{late}");
    assert_eq!(events(late.text())[0].0, "done");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_is_told_that_it_is_cancelled() {
    let app = TestApp::builder().limits(|limits| limits.fuel = 1_000_000_000_000).start().await;
    app.deploy("slow", SLOW).await;
    let location = accepted(&app, "/default/slow", "9000").await;
    wait_for_state(&app, &location, "running").await;
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(Reply::of(app.anonymous("DELETE", &location)).await.status, 204);
    };
    let (stream, ()) = tokio::join!(follow(&app, &location), cancel);
    let seen = events(stream.text());
    assert_eq!((seen.len(), seen[1].0, &seen[1].1["status"]), (2, "done", &410.into()), "{stream}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_for_asynchronous_calls_and_their_callers() {
    let app = TestApp::builder().dev(false).start().await;
    app.deploy("slow", SLOW).await;
    let waited = app.post("/default/slow", "0").await;
    let path = format!("/api/v1/apps/default/executions/{}", waited.execution_id());
    follow(&app, &path).await.assert_problem(401, "unauthorized");
    let with_token = app.request("GET", &path).header("accept", "text/event-stream");
    Reply::of(with_token).await.assert_problem(404, "execution-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_lets_go_who_follows() {
    let app = one_at_a_time().start().await;
    app.deploy("slow", SLOW).await;
    let first = accepted(&app, "/default/slow", "1500").await;
    wait_for_state(&app, &first, "running").await;
    let waits = accepted(&app, "/default/slow", "0").await;
    let request = app.anonymous("GET", &waits).header("accept", "text/event-stream");
    let stream = tokio::spawn(Reply::of(request));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let begun = std::time::Instant::now();
    app.stop().await;
    let stream = stream.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "it waited for the follower");
    assert_eq!(events(stream.text()).len(), 1, "{stream}");
    assert_eq!(events(stream.text())[0].0, "queued");
}
