//! Callers that are slow, leave early, or come all at once.

use std::time::{Duration, Instant};

use picloud_tests::{Reply, TestApp};
use tokio::io::AsyncWriteExt as _;

use super::raw::{connect, get};
use super::{neighbour_is_served, target};

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_silent_callers_keep_nobody_waiting() {
    let app = target().await;
    let mut held = Vec::new();
    for n in 0..400 {
        let mut stream = connect(&app).await;
        let head = match n % 4 {
            // Nothing at all; the beginning of HTTP/2; half a head; a body that does not come.
            0 => String::new(),
            1 => "PRI * HTTP/2".to_owned(),
            2 => get(&app, "/default/neighbour"),
            _ => format!(
                "POST /default/neighbour HTTP/1.1\r\nhost: {}\r\ncontent-length: 100\r\n\r\nx",
                app.address
            ),
        };
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    let started = Instant::now();
    for _ in 0..20 {
        neighbour_is_served(&app).await;
    }
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?}", started.elapsed());
    drop(held);
    app.assert_healthy().await;
}

/// Starts a call that takes a while, and leaves.
async fn call_and_leave(app: &TestApp, path: &str) {
    let mut stream = connect(app).await;
    stream.write_all(format!("{}\r\n", get(app, path)).as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    drop(stream);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_caller_leaves_is_finished_committed_and_recorded() {
    let app = TestApp::builder().limits(|limits| limits.fuel = 20_000_000_000).start().await;
    app.deploy(
        "slow",
        "fn handle(req) { kv::incr(\"begun\"); for i in 0..2000000 { let x = i; } kv::incr(\"done\") }",
    )
    .await;
    app.deploy("read", "fn handle(req) { kv::get_many([\"begun\", \"done\"]) }").await;
    for _ in 0..3 {
        call_and_leave(&app, "/default/slow").await;
    }
    let deadline = Instant::now() + Duration::from_secs(30);
    while app.get("/default/read").await.text() != "[3,3]" {
        assert!(Instant::now() < deadline, "{}", app.get("/default/read").await);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let records = loop {
        let reply = app.get("/api/v1/apps/default/executions?script=slow").await.json();
        let records = reply["items"].as_array().cloned().unwrap_or_default();
        if records.len() == 3 {
            break records;
        }
        assert!(Instant::now() < deadline, "{reply}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(records.iter().all(|record| record["status"] == 200), "{records:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_leave_at_every_moment_do_no_harm() {
    let app = target().await;
    let request = format!("{}\r\n", get(&app, "/default/neighbour"));
    for length in 0..request.len() {
        let mut stream = connect(&app).await;
        stream.write_all(&request.as_bytes()[..length]).await.unwrap();
    }
    for _ in 0..100 {
        let mut stream = connect(&app).await;
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_there_is_room_for_are_told_when_to_come_back() {
    let app = TestApp::builder()
        .limits(|limits| {
            limits.fuel = 1_000_000_000_000;
            limits.deadline_ms = 500;
        })
        .config(|config| {
            config.max_concurrent_calls = std::num::NonZeroUsize::new(2);
            config.max_waiting_calls = 2;
        })
        .start()
        .await;
    app.deploy("hostile", "loop {}").await;
    let replies = futures_util::future::join_all((0..20).map(|_| app.get("/default/hostile"))).await;
    let saturated: Vec<_> = replies.iter().filter(|reply| reply.status == 503).collect();
    assert!((1..=18).contains(&saturated.len()), "{} were refused", saturated.len());
    for reply in &replies {
        if reply.status == 503 {
            reply.assert_problem(503, "saturated");
            let seconds = reply.header("retry-after").and_then(|value| value.parse::<u64>().ok());
            assert!(seconds.is_some_and(|seconds| (1..=3600).contains(&seconds)), "{reply}");
        } else {
            reply.assert_problem(504, "deadline-exceeded");
        }
    }
    app.assert_healthy().await;
}

/// Each body stays below its limit and never ends. Together they would be 40 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn many_bodies_that_never_end_share_a_bounded_memory() {
    let app = TestApp::builder()
        .limits(|limits| limits.request_body_bytes = 1 << 20)
        .config(|config| config.body_memory_bytes = Some(8 << 20))
        .start()
        .await;
    app.deploy("neighbour", "fn handle(req) { if req.method == \"POST\" { req.body.len } else { \"ok\" } }")
        .await;
    let head = format!(
        "POST /default/neighbour HTTP/1.1\r\nhost: {}\r\ncontent-length: 1048576\r\n\r\n",
        app.address
    );
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut stream = connect(&app).await;
        // Refused in the middle, the rest of it may find nobody who reads.
        let _ = stream.write_all(&[head.as_bytes(), &vec![b'x'; 1_000_000]].concat()).await;
        held.push(stream);
    }
    let post =
        || async { Reply::of(app.request("POST", "/default/neighbour").body(vec![b'y'; 600_000])).await };
    let deadline = Instant::now() + Duration::from_secs(10);
    let refused = loop {
        let reply = post().await;
        if reply.status == 503 || Instant::now() > deadline {
            break reply;
        }
    };
    refused.assert_problem(503, "saturated");
    assert_eq!(refused.header("retry-after"), Some("1"));
    // A small body is not counted, and a call without one needs none of that memory.
    assert_eq!(app.post("/default/neighbour", "y").await.text(), "1");
    assert_eq!(app.get("/default/neighbour").await.text(), "ok");
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while post().await.status != 200 {
        assert!(Instant::now() < deadline, "the memory of bodies whose callers have left is not free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(post().await.text(), "600000");
}

/// Answers that nobody reads fill what the kernel takes, and then memory.
#[tokio::test(flavor = "multi_thread")]
async fn many_answers_that_nobody_reads_share_a_bounded_memory() {
    let app = app_with_large_answers().await;
    ask_until_nothing_more_is_sent(&app, "/default/large").await;
}

/// An answer that is kept can be asked for as often as one likes, and costs no call.
#[tokio::test(flavor = "multi_thread")]
async fn kept_answers_that_nobody_reads_share_the_same_memory() {
    let app = app_with_large_answers().await;
    let accepted = Reply::of(app.anonymous("GET", "/default/large").header("prefer", "respond-async")).await;
    let answer = accepted.header("location").unwrap().replacen('?', "/answer?", 1);
    let deadline = Instant::now() + Duration::from_secs(10);
    while Reply::of(app.anonymous("GET", &answer)).await.status != 200 {
        assert!(Instant::now() < deadline, "there is no answer");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ask_until_nothing_more_is_sent(&app, &answer).await;
}

async fn app_with_large_answers() -> TestApp {
    let app = TestApp::builder().config(|config| config.body_memory_bytes = Some(64 << 20)).start().await;
    app.deploy("large", "fn handle(req) { blob(4000000, 65) }").await;
    app.deploy("neighbour", "fn handle(req) { \"ok\" }").await;
    app
}

/// Ask for a large answer on many connections and read none, until others are refused. They are served again afterwards.
async fn ask_until_nothing_more_is_sent(app: &TestApp, path: &str) {
    let mut held = Vec::new();
    for _ in 0..60 {
        let mut stream = connect(app).await;
        stream.write_all(format!("{}\r\n", get(app, path)).as_bytes()).await.unwrap();
        held.push(stream);
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    let refused = loop {
        let reply = app.get("/default/neighbour").await;
        if reply.status == 503 || Instant::now() > deadline {
            break reply;
        }
    };
    refused.assert_problem(503, "saturated");
    Reply::of(app.anonymous("GET", path)).await.assert_problem(503, "saturated");
    assert_eq!(app.get("/livez").await.status, 200);
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    while app.get("/default/neighbour").await.status != 200 {
        assert!(Instant::now() < deadline, "the memory of answers whose callers have left is not free again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Each connection could hold its head for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_is_refused_before_its_end() {
    let app = TestApp::start().await;
    let mut stream = connect(&app).await;
    let head = format!("GET /livez HTTP/1.1\r\nhost: {}\r\nx: {}", app.address, "a".repeat(200_000));
    // The rest may find nobody who reads.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut answer = String::new();
    let read = tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), read).await.expect("the connection ends");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    app.assert_healthy().await;
}
