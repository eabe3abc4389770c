//! Which pages of other origins may read the answers of a route.

use picloud_tests::{Reply, TestApp};
use serde_json::json;

use super::{ECHO, route, server};

const PAGE: &str = "https://app.example.org";

async fn preflight(app: &TestApp, path: &str, origin: &str, method: &str) -> Reply {
    let request = app.anonymous("OPTIONS", path).header("origin", origin);
    Reply::of(request.header("access-control-request-method", method)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_named_may_and_no_other() {
    let app = server().await;
    app.deploy("echo", ECHO).await;
    let cors = json!({ "origins": [PAGE], "headers": ["x-mine"], "credentials": true, "max_age_s": 60 });
    route(&app, "put", json!({ "path": "/a", "methods": ["GET", "PUT"], "script": "echo", "cors": cors }))
        .await;
    let asked = preflight(&app, "/a", PAGE, "PUT").await;
    assert_eq!(asked.status, 200, "{asked}");
    assert_eq!(asked.header("access-control-allow-origin"), Some(PAGE));
    assert_eq!(asked.header("access-control-allow-methods"), Some("GET,PUT"));
    assert_eq!(asked.header("access-control-allow-headers"), Some("x-mine"));
    assert_eq!(asked.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(asked.header("access-control-max-age"), Some("60"));
    assert_eq!(asked.header("picloud-execution-id"), None, "the script was not called");
    let other = preflight(&app, "/a", "https://evil.example", "PUT").await;
    assert_eq!(other.header("access-control-allow-origin"), None);
    let got = Reply::of(app.anonymous("GET", "/a").header("origin", PAGE)).await;
    assert_eq!((got.status, got.header("access-control-allow-origin")), (200, Some(PAGE)));
    assert!(got.header("vary").unwrap().contains("origin"), "{got}");
    assert!(got.header("access-control-expose-headers").unwrap().contains("picloud-execution-id"));
    let got = Reply::of(app.anonymous("GET", "/a").header("origin", "https://evil.example")).await;
    assert_eq!((got.status, got.header("access-control-allow-origin")), (200, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn problems_can_be_read_too_and_what_has_no_cors_stays_closed() {
    let app = server().await;
    app.deploy("fail", "fn handle(req) { throw \"no\" }").await;
    route(&app, "open", json!({ "path": "/open", "script": "fail", "cors": { "origins": ["*"] } })).await;
    route(&app, "closed", json!({ "path": "/closed", "methods": ["GET"], "script": "fail" })).await;
    let problem = Reply::of(app.anonymous("GET", "/open").header("origin", PAGE)).await;
    problem.assert_problem(500, "script-threw");
    assert_eq!(problem.header("access-control-allow-origin"), Some("*"));
    let problem = Reply::of(app.anonymous("GET", "/closed").header("origin", PAGE)).await;
    assert_eq!((problem.status, problem.header("access-control-allow-origin")), (500, None));
    // Without CORS what a browser asks about is a request like any other: its method is OPTIONS.
    for method in ["GET", "PUT"] {
        preflight(&app, "/closed", PAGE, method).await.assert_problem(405, "method-not-allowed");
    }
    for cors in [
        json!({ "origins": ["*"], "credentials": true }),
        json!({ "origins": [] }),
        json!({ "origins": ["a.example"] }),
    ] {
        let refused =
            super::put_route(&app, "wrong", json!({ "path": "/w", "script": "fail", "cors": cors })).await;
        refused.assert_problem(422, "route-invalid");
    }
}
