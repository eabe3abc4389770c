//! Who may see an execution: whoever has its key, and whoever has a token.

use picloud_tests::{Reply, TestApp};
use serde_json::json;

use super::{ECHO, accepted, answer, answer_of, look};

#[tokio::test(flavor = "multi_thread")]
async fn the_key_opens_its_execution_and_nothing_else() {
    let app = TestApp::builder().dev(false).start().await;
    app.deploy("echo", ECHO).await;
    let (one, two) = (accepted(&app, "/default/echo", "1").await, accepted(&app, "/default/echo", "2").await);
    assert_eq!(answer(&app, &one).await.json()["body"], "1");
    assert_eq!(answer(&app, &two).await.json()["body"], "2");
    let (path, key) = one.split_once("?key=").unwrap();
    assert_eq!(key.len(), 22);
    let (_, other) = two.split_once("?key=").unwrap();
    for wrong in
        ["", "?key=", &format!("?key={other}"), &format!("?key={key}x"), &format!("?key={}", &key[1..])]
    {
        for path in [path, &format!("{path}/answer")] {
            look(&app, &format!("{path}{wrong}")).await.assert_problem(401, "unauthorized");
        }
        let cancel = Reply::of(app.anonymous("DELETE", &format!("{path}{wrong}"))).await;
        cancel.assert_problem(401, "unauthorized");
    }
    for elsewhere in ["/api/v1/apps/default/executions", "/api/v1/apps/default/kv", "/api/v1/apps"] {
        look(&app, &format!("{elsewhere}?key={key}")).await.assert_problem(401, "unauthorized");
    }
    let nobodys = format!("/api/v1/apps/default/executions/{}?key={key}", uuid::Uuid::now_v7());
    look(&app, &nobodys).await.assert_problem(401, "unauthorized");
    // Neither cost nor log is the caller's business.
    let seen = look(&app, &one).await;
    assert_eq!(seen.json()["fuel"], json!(null));
    assert_eq!(seen.header("referrer-policy"), Some("no-referrer"));
    let with_token = app.get(path).await.json();
    assert!(with_token["fuel"].as_u64() > Some(0) && with_token["log"].is_array(), "{with_token}");
    assert_eq!(app.get(&format!("{path}/answer")).await.json()["body"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_does_not_hold_the_key() {
    let app = TestApp::start().await;
    app.deploy("echo", ECHO).await;
    let request = app.anonymous("POST", "/default/echo").header("prefer", "respond-async");
    let reply = Reply::of(request.header("idempotency-key", "k").body("needle")).await;
    let plain = accepted(&app, "/default/echo", "").await;
    let repeatable = reply.header("location").unwrap().to_owned();
    assert_eq!(answer(&app, &repeatable).await.status, 201);
    assert_eq!(answer(&app, &plain).await.status, 201);
    let data = app.stop().await;
    let database = std::fs::read(data.path().join("picloud.db")).unwrap();
    let holds = |text: &str| database.windows(text.len()).any(|bytes| bytes == text.as_bytes());
    assert!(holds("needle"), "the answer is in it");
    for location in [plain, repeatable] {
        assert!(!holds(location.split_once("?key=").unwrap().1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_no_page_of_the_control_plane() {
    let app = TestApp::start().await;
    app.deploy("page", r#"fn handle(req) { html("<script>steal()</script>") }"#).await;
    let location = accepted(&app, "/default/page", "").await;
    let page = answer(&app, &location).await;
    assert_eq!(page.text(), "<script>steal()</script>");
    assert_eq!(page.header("content-security-policy"), Some("sandbox"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_goes_when_its_time_is_over() {
    let app = TestApp::builder().dev(false).limits(|limits| limits.answer_kept_ms = 1000).start().await;
    app.deploy("echo", ECHO).await;
    let location = accepted(&app, "/default/echo", "").await;
    assert_eq!(answer(&app, &location).await.status, 201);
    tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
    look(&app, &location).await.assert_problem(401, "unauthorized");
    let path = location.split('?').next().unwrap();
    assert_eq!(app.get(path).await.json()["state"], "done", "the record stays");
    let gone = app.get(&answer_of(&format!("{path}?"))).await;
    gone.assert_problem(404, "execution-not-found");
}
