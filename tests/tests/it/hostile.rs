//! Hostile scripts and hostile callers. Each ends in its documented problem, while a neighbour is served, and leaves
//! the server healthy.

mod answers;
mod arithmetic;
mod callers;
mod connections;
mod encodings;
mod floods;
mod loops;
mod nesting;
mod raw;
mod refused;
mod sources;
mod top_level;

use picloud_tests::{Reply, TestApp};

/// Enough for everything that is not an attack, and used up by an attack in a fraction of a second.
const FUEL: u64 = 1_000_000_000;

/// A server for many attacks in turn.
async fn target() -> TestApp {
    target_with(FUEL).await
}

async fn target_with(fuel: u64) -> TestApp {
    let app = TestApp::builder().limits(|limits| limits.fuel = fuel).start().await;
    app.deploy("neighbour", "6 * 7").await;
    app
}

/// Upload a script, call it, and call its neighbour at the same time.
async fn attack(app: &TestApp, source: &str) -> Reply {
    app.deploy("hostile", source.to_owned()).await;
    let (reply, ()) = tokio::join!(app.get("/default/hostile"), neighbour_is_served(app));
    reply
}

/// Upload a script that should be refused, and call a neighbour at the same time.
async fn upload(app: &TestApp, source: impl Into<reqwest::Body>) -> Reply {
    let (reply, ()) = tokio::join!(app.put_script("hostile", source), neighbour_is_served(app));
    reply
}

async fn neighbour_is_served(app: &TestApp) {
    let reply = app.get("/default/neighbour").await;
    assert_eq!((reply.status, reply.text()), (200, "42"), "the neighbour suffers: {reply}");
}

/// Each script, called, ends with the status and the code; an empty code stands for an answer without a problem.
async fn check_calls(cases: &[(&str, u16, &str)]) {
    let app = target().await;
    for (source, status, code) in cases {
        let reply = attack(&app, source).await;
        assert_eq!(
            (reply.status, reply.problem_code().as_str()),
            (*status, *code),
            "{}: {reply}",
            excerpt(source)
        );
        assert_ne!(reply.execution_id(), "", "every call is an execution");
    }
    app.assert_healthy().await;
}

/// Each script answers this text with status 200.
async fn check_answers(cases: &[(&str, &str)]) {
    let app = target().await;
    for (source, answer) in cases {
        let reply = attack(&app, source).await;
        assert_eq!((reply.status, reply.text()), (200, *answer), "{}: {reply}", excerpt(source));
    }
    app.assert_healthy().await;
}

/// Stands for a source that may be accepted or take more fuel to compile than there is: a matter of its price alone.
const EITHER: &str = "accepted or top-level-limit";

/// Each source is refused with status 422 and the code, or accepted if the code is empty.
async fn check_uploads(cases: &[(String, &str)]) {
    // Less than the default, so that sources that are dear to compile are refused soon.
    let app = target_with(150_000_000).await;
    for (source, code) in cases {
        let reply = upload(&app, source.clone()).await;
        if *code == EITHER && reply.is_success() {
            continue;
        }
        let code = if *code == EITHER { "top-level-limit" } else { code };
        assert_eq!(reply.problem_code(), code, "{}: {reply}", excerpt(source));
        assert!(if code.is_empty() { reply.is_success() } else { reply.status == 422 }, "{reply}");
    }
    app.assert_healthy().await;
}

/// Enough of a source to recognise it.
fn excerpt(source: &str) -> String {
    source.chars().take(100).collect()
}
