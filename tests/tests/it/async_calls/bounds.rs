//! What bounds asynchronous calls and kept answers.

use picloud_tests::{Reply, TestApp};

use super::{ECHO, SLOW, accepted, answer, one_at_a_time, send, value, wait_for_state};

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_than_may_wait_are_refused_and_there_is_room_again_afterwards() {
    let app = one_at_a_time().limits(|limits| limits.async_calls = 3).start().await;
    app.deploy("slow", SLOW).await;
    let first = accepted(&app, "/default/slow", "500").await;
    wait_for_state(&app, &first, "running").await;
    let others = futures_util::future::join_all((0..8).map(|_| send(&app, "/default/slow", "1"))).await;
    let refused: Vec<&Reply> = others.iter().filter(|reply| reply.status != 202).collect();
    // Those that come at the same moment may keep each other out, but never let too many in.
    assert!(refused.len() >= 6, "{}", refused.len());
    for reply in refused {
        reply.assert_problem(503, "saturated");
        assert_eq!(reply.header("retry-after"), Some("10"));
    }
    assert_eq!(
        Reply::of(app.anonymous("POST", "/default/slow").body("1")).await.status,
        200,
        "who waits is not meant"
    );
    for reply in others.iter().filter(|reply| reply.status == 202) {
        assert_eq!(answer(&app, reply.header("location").unwrap()).await.status, 200);
    }
    assert_eq!(answer(&app, &accepted(&app, "/default/slow", "1").await).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_limit_of_its_own() {
    let app = TestApp::builder().limits(|limits| limits.async_body_bytes = 100).start().await;
    app.deploy("echo", ECHO).await;
    assert_eq!(send(&app, "/default/echo", &"x".repeat(100)).await.status, 202);
    send(&app, "/default/echo", &"x".repeat(101)).await.assert_problem(413, "body-too-large");
    assert_eq!(app.post("/default/echo", "x".repeat(101)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_fill_the_room_that_they_have_and_no_more() {
    let app = TestApp::builder().limits(|limits| limits.answers_kept_bytes = 1 << 20).start().await;
    app.deploy("much", r#"fn handle(req) { kv::incr("much"); let b = blob(300000, 0); b }"#).await;
    let keyed = async |key: &str| {
        Reply::of(app.anonymous("POST", "/default/much").header("idempotency-key", key)).await
    };
    for key in ["a", "b", "c", "d"] {
        assert_eq!(keyed(key).await.status, 200, "{key}");
    }
    keyed("e").await.assert_problem(503, "saturated");
    send(&app, "/default/much", "").await.assert_problem(503, "saturated");
    assert_eq!(value(&app, "much").await, 4, "what was refused has not run");
    assert_eq!(keyed("a").await.status, 200, "a repetition needs no room");
    assert_eq!(app.post("/default/much", "").await.status, 200, "and neither does who keeps nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_were_accepted_do_not_run_when_there_is_no_room_for_their_answers_any_more() {
    let app = one_at_a_time().limits(|limits| limits.answers_kept_bytes = 1 << 20).start().await;
    app.deploy("slow", SLOW).await;
    app.deploy("much", r#"fn handle(req) { kv::incr("much"); blob(400000, 0) }"#).await;
    let blocker = accepted(&app, "/default/slow", "500").await;
    wait_for_state(&app, &blocker, "running").await;
    // There is room for all of them as long as they wait, and for the answers of three and one more.
    let mut waiting = Vec::new();
    for _ in 0..8 {
        waiting.push(accepted(&app, "/default/much", "").await);
    }
    let (mut answered, mut refused) = (0, 0);
    for location in &waiting {
        let answer = answer(&app, location).await;
        match answer.status {
            200 => answered += 1,
            _ => {
                answer.assert_problem(503, "saturated");
                refused += 1;
            }
        }
    }
    assert_eq!((answered, refused), (3, 5));
    assert_eq!(value(&app, "much").await, 3, "what was refused has not run");
}
