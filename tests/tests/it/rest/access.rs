//! Who may do what: with tokens, and in dev mode without.

use picloud_tests::app::script_path;
use picloud_tests::{Reply, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn the_api_needs_the_token_and_scripts_do_not() {
    let app = TestApp::builder().dev(false).start().await;
    app.deploy("a", "\"open to all\"").await;
    let reply = Reply::of(app.anonymous("PUT", &script_path("a")).body("1")).await;
    reply.assert_problem(401, "unauthorized");
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"picloud\""));
    for path in
        ["/api/v1/apps", "/api/v1/apps/default/executions", &script_path("a"), &script_path("nothing")]
    {
        Reply::of(app.anonymous("GET", path)).await.assert_problem(401, "unauthorized");
        let wrong = app.anonymous("GET", path).bearer_auth("not-the-token");
        Reply::of(wrong).await.assert_problem(401, "unauthorized");
        let basic = app.anonymous("GET", path).basic_auth("admin", app.token.as_deref());
        Reply::of(basic).await.assert_problem(401, "unauthorized");
    }
    for path in ["/default/a", "/livez", "/readyz", "/openapi.json", "/api/v1/errors/unauthorized"] {
        assert_eq!(Reply::of(app.anonymous("GET", path)).await.status, 200, "{path}");
    }
    // Another host than this machine is fine where there is a token.
    let elsewhere = app.anonymous("POST", "/default/a").header("host", "picloud.example");
    assert_eq!(Reply::of(elsewhere.header("origin", "http://other.example")).await.text(), "open to all");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_made_once_and_stays() {
    let mut app = TestApp::builder().dev(false).start().await;
    let token = app.token.clone().expect("the first start makes a token");
    assert!(token.len() >= 32, "a token must not be guessed");
    app.deploy("a", "1").await;
    app.restart().await;
    assert_eq!(app.token.as_deref(), Some(&*token));
    app.deploy("a", "2").await;
    let data = app.stop().await;
    for entry in std::fs::read_dir(data.path()).unwrap() {
        let path = entry.unwrap().path();
        let content = if path.is_file() { std::fs::read(&path).unwrap() } else { continue };
        let found = content.windows(token.len()).any(|window| window == token.as_bytes());
        assert!(!found, "{} holds the token, not only its hash", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_mode_refuses_names_that_are_not_this_machine() {
    let app = TestApp::start().await;
    assert_eq!(app.token, None);
    app.deploy("a", "1").await;
    for path in ["/default/a", "/api/v1/apps", "/livez", "/metrics", "/nothing"] {
        let rebound = app.request("GET", path).header("host", "evil.example");
        Reply::of(rebound).await.assert_problem(421, "host-forbidden");
    }
    for host in ["localhost:8080", "127.0.0.1", "[::1]:80"] {
        assert_eq!(Reply::of(app.request("GET", "/default/a").header("host", host)).await.text(), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_mode_refuses_what_pages_of_other_origins_write() {
    let app = TestApp::start().await;
    app.deploy("a", "kv::incr(\"guarded\")").await;
    let own = format!("http://{}", app.address);
    for (name, value) in
        [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")]
    {
        for (method, path) in
            [("PUT", &*script_path("a")), ("GET", "/default/a"), ("DELETE", &*script_path("a"))]
        {
            let request = app.request(method, path).header(name, value).body("1");
            Reply::of(request).await.assert_problem(403, "origin-forbidden");
        }
    }
    let call =
        app.request("POST", "/default/a").header("origin", own).header("sec-fetch-site", "same-origin");
    assert_eq!(Reply::of(call).await.text(), "1", "the refused calls did not run");
}
