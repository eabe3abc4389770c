//! Routes of apps: which requests they take, who has to be there, and what pages of other origins may read.

mod access;
mod cors;

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

/// Make a route of the app `default`, whatever comes of it.
async fn put_route(app: &TestApp, name: &str, route: Value) -> Reply {
    Reply::of(app.request("PUT", &format!("/api/v1/apps/default/routes/{name}")).json(&route)).await
}

async fn route(app: &TestApp, name: &str, route: Value) {
    let reply = put_route(app, name, route).await;
    assert_eq!(reply.status, 201, "{reply}");
}

/// Says what it was asked.
const ECHO: &str = r#"
fn handle(req) {
    #{ route: req.route, path: req.path, params: req.params, method: req.method, who: req.principal }
}"#;

async fn at(app: &TestApp, host: &str, method: &str, path: &str) -> Reply {
    Reply::of(app.anonymous(method, path).header("host", host)).await
}

/// A server that takes requests for every host, and the token with which to ask it for something.
async fn server() -> TestApp {
    TestApp::builder().dev(false).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_specific_route_answers_and_the_script_sees_which() {
    let mut app = server().await;
    app.deploy("echo", ECHO).await;
    route(&app, "user", json!({ "path": "/users/{id}", "script": "echo" })).await;
    route(&app, "me", json!({ "path": "/users/me", "script": "echo" })).await;
    route(&app, "files", json!({ "host": "files.example.org", "path": "/{*rest}", "script": "echo" })).await;
    route(&app, "below", json!({ "host": "*.example.org", "path": "/users/{name}", "script": "echo" })).await;
    let seen = async |app: &TestApp, host: &str, path: &str| {
        let answer = at(app, host, "GET", path).await;
        assert_eq!(answer.status, 200, "{host}{path}: {answer}");
        let answer = answer.json();
        (answer["route"].as_str().unwrap().to_owned(), answer["path"].clone(), answer["params"].clone())
    };
    let expected = |route: &str, path: &str, params: Value| (route.to_owned(), json!(path), params);
    for restarted in [false, true] {
        if restarted {
            app.restart().await;
        }
        let user = expected("/users/{id}", "/users/a%20b", json!({ "id": "a b" }));
        assert_eq!(seen(&app, "any.org", "/users/a%20b?x=1").await, user);
        assert_eq!(seen(&app, "any.org", "/users/me").await, expected("/users/me", "/users/me", json!({})));
        let below = expected("/users/{name}", "/users/me", json!({ "name": "me" }));
        assert_eq!(seen(&app, "Shop.Example.ORG:8080", "/users/me").await, below);
        let file = expected("/{*rest}", "/users/me/x", json!({ "rest": "users/me/x" }));
        assert_eq!(seen(&app, "files.example.org", "/users/me/x").await, file);
        // The route that every script has is still there, and sees what is below it.
        let built_in = expected("/{app}/{script}", "/more", json!({}));
        assert_eq!(seen(&app, "any.org", "/default/echo/more").await, built_in);
        at(&app, "any.org", "GET", "/users").await.assert_problem(404, "route-not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_that_a_route_does_not_have_are_told() {
    let app = server().await;
    app.deploy("echo", ECHO).await;
    route(&app, "get", json!({ "path": "/a", "methods": ["GET"], "script": "echo" })).await;
    route(&app, "post", json!({ "path": "/a", "methods": ["POST"], "script": "echo" })).await;
    assert_eq!(at(&app, "x", "HEAD", "/a").await.status, 200);
    assert_eq!(at(&app, "x", "POST", "/a").await.json()["method"], "POST");
    let refused = at(&app, "x", "DELETE", "/a").await;
    refused.assert_problem(405, "method-not-allowed");
    assert_eq!(refused.header("allow"), Some("GET, HEAD, POST"));
    let conflict = put_route(&app, "third", json!({ "path": "/a", "script": "echo" })).await;
    let problem = conflict.assert_problem(409, "route-conflict");
    assert!(problem["detail"].as_str().unwrap().contains("get"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_and_static_answers_need_no_script() {
    let app = server().await;
    route(&app, "old", json!({ "path": "/old/{id}", "redirect": { "location": "/new/{id}?from=old" } }))
        .await;
    route(&app, "robots", json!({
        "path": "/robots.txt", "methods": ["GET"], "answer": { "body": "User-agent: *\n", "headers": { "cache-control": "max-age=60" } },
    }))
    .await;
    route(&app, "gone", json!({ "path": "/gone", "answer": { "status": 410 } })).await;
    let moved = at(&app, "x", "GET", "/old/a%2Fb").await;
    assert_eq!((moved.status, moved.header("location")), (308, Some("/new/a%2Fb?from=old")));
    let robots = at(&app, "x", "GET", "/robots.txt").await;
    assert_eq!((robots.status, robots.text()), (200, "User-agent: *\n"));
    assert_eq!(robots.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(robots.header("cache-control"), Some("max-age=60"));
    assert_eq!(at(&app, "x", "GET", "/gone").await.status, 410);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_the_server_or_to_another_app_is_not_to_be_had() {
    let app = server().await;
    app.deploy("echo", ECHO).await;
    for path in ["/api/v1/apps", "/api", "/_/x", "/metrics", "/livez", "/openapi.json"] {
        let refused = put_route(&app, "mine", json!({ "path": path, "script": "echo" })).await;
        refused.assert_problem(422, "route-invalid");
    }
    let made = Reply::of(app.request("PUT", "/api/v1/apps/other").json(&json!({}))).await;
    assert_eq!(made.status, 201);
    let refused = put_route(&app, "mine", json!({ "path": "/other/echo", "script": "echo" })).await;
    refused.assert_problem(409, "route-conflict");
    // One that takes everything takes nothing that is somebody's.
    route(&app, "rest", json!({ "path": "/{*rest}", "script": "echo" })).await;
    let put = app.request("PUT", "/api/v1/apps/other/scripts/mine").body("\"other's\"");
    assert!(Reply::of(put).await.is_success());
    assert_eq!(at(&app, "x", "GET", "/other/mine").await.text(), "other's");
    at(&app, "x", "GET", "/other/none").await.assert_problem(404, "route-not-found");
    assert_eq!(at(&app, "x", "GET", "/nobody/none").await.json()["route"], "/{*rest}");
    assert_eq!(app.get("/livez").await.text(), "ok\n");
    // Nor is there a second one for it, of whatever app.
    let request = app.request("PUT", "/api/v1/apps/other/routes/rest");
    let request = request.json(&json!({ "path": "/{everything}", "script": "mine" }));
    Reply::of(request).await.assert_problem(409, "route-conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_without_its_script_says_so_and_goes_when_it_is_deleted() {
    let app = server().await;
    route(&app, "a", json!({ "path": "/a", "script": "later" })).await;
    at(&app, "x", "GET", "/a").await.assert_problem(404, "script-not-found");
    app.deploy("later", "\"here\"").await;
    assert_eq!(at(&app, "x", "GET", "/a").await.text(), "here");
    let path = "/api/v1/apps/default/routes/a";
    let tag = app.get(path).await.header("etag").unwrap().to_owned();
    let changed = put_route(&app, "a", json!({ "path": "/b", "script": "later" })).await;
    assert_eq!(changed.status, 200);
    let lost = app.request("DELETE", path).header("if-match", tag);
    Reply::of(lost).await.assert_problem(412, "precondition-failed");
    at(&app, "x", "GET", "/a").await.assert_problem(404, "route-not-found");
    assert_eq!(app.delete(path).await.status, 204);
    at(&app, "x", "GET", "/b").await.assert_problem(404, "route-not-found");
    app.delete(path).await.assert_problem(404, "route-unknown");
    for wrong in [
        json!({}),
        json!({ "path": "/x" }),
        json!({ "path": "x", "script": "s" }),
        json!({ "path": "/x", "script": "s", "more": 1 }),
        json!({ "path": "/x", "script": "s", "redirect": { "location": "/" } }),
        json!([]),
        json!({ "path": "/x", "answer": [204] }),
        json!({ "path": "/x", "redirect": ["/"] }),
        json!({ "path": "/x", "script": "s", "access": ["token"] }),
        json!({ "path": "/x", "script": "s", "cors": [["*"]] }),
    ] {
        put_route(&app, "wrong", wrong).await.assert_problem(422, "route-invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn asynchronous_calls_and_records_keep_the_route() {
    let app = server().await;
    app.deploy("echo", ECHO).await;
    route(&app, "user", json!({ "path": "/users/{id}", "script": "echo" })).await;
    let later = Reply::of(app.anonymous("POST", "/users/7").header("prefer", "respond-async")).await;
    let location = later.header("location").unwrap().replacen('?', "/answer?", 1);
    let begun = std::time::Instant::now();
    let answer = loop {
        let answer = Reply::of(app.anonymous("GET", &location)).await;
        if answer.status == 200 {
            break answer.json();
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{answer}");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    };
    assert_eq!((&answer["route"], &answer["params"]), (&json!("/users/{id}"), &json!({ "id": "7" })));
    let call = at(&app, "x", "GET", "/users/8").await;
    let record = app.get(&format!("/api/v1/apps/default/executions/{}", call.execution_id())).await.json();
    assert_eq!(record["path"], "/users/8");
}

/// A host that belongs to an app has nothing of another one, and what begins with the name of an app is for no other.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_and_the_name_of_an_app_are_boundaries() {
    let app = server().await;
    app.deploy("echo", ECHO).await;
    assert_eq!(Reply::of(app.request("PUT", "/api/v1/apps/bob").json(&json!({}))).await.status, 201);
    let put = app.request("PUT", "/api/v1/apps/bob/scripts/mine").body("\"bob's\"");
    assert!(Reply::of(put).await.is_success());
    route(&app, "shop", json!({ "host": "shop.example", "path": "/cart", "script": "echo" })).await;
    let of_bob = async |name: &str, route: Value, token: Option<&str>| {
        let path = format!("/api/v1/apps/bob/routes/{name}");
        let request = match token {
            Some(token) => app.anonymous("PUT", &path).bearer_auth(token),
            None => app.request("PUT", &path),
        };
        Reply::of(request.json(&route)).await
    };
    assert_eq!(of_bob("rest", json!({ "path": "/{*rest}", "script": "mine" }), None).await.status, 201);
    assert_eq!(of_bob("login", json!({ "path": "/login", "script": "mine" }), None).await.status, 201);
    // At the host of `default` bob has nothing.
    for path in ["/bob/mine", "/login", "/anything"] {
        at(&app, "shop.example", "GET", path).await.assert_problem(404, "route-not-found");
        assert_eq!(at(&app, "other.example", "GET", path).await.text(), "bob's");
    }
    assert_eq!(at(&app, "shop.example", "GET", "/default/echo").await.status, 200);
    // A script of `default` that is not there, or not there any more, is not bob's to answer for.
    at(&app, "other.example", "POST", "/default/gone").await.assert_problem(404, "route-not-found");
    // What all apps share is given by whoever may do everything, and not taken.
    let body = json!({ "name": "bob", "scopes": ["app:bob:admin"] });
    let token = Reply::of(app.request("POST", "/api/v1/tokens").json(&body)).await.json();
    let token = token["token"].as_str().unwrap().to_owned();
    for route in [
        json!({ "host": "cloud.example", "path": "/{*rest}", "script": "mine" }),
        json!({ "path": "/pay", "script": "mine" }),
    ] {
        of_bob("more", route, Some(&token)).await.assert_problem(403, "forbidden");
    }
    assert_eq!(
        of_bob("own", json!({ "path": "/bob/x/{y}", "script": "mine" }), Some(&token)).await.status,
        201
    );
    assert_eq!(
        of_bob("in", json!({ "path": "/login/in", "script": "mine" }), Some(&token)).await.status,
        201
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_writes_into_a_redirect_stays_small_and_is_not_looked_through() {
    let app = server().await;
    let target = json!({ "location": "/new/{a}/{b}" });
    route(&app, "old", json!({ "path": "/old/{a}/{b}", "redirect": target })).await;
    let bomb = format!("/old/{}/{}", "{b}".repeat(900), "x".repeat(2000));
    let moved = at(&app, "x", "GET", &bomb).await;
    assert!(moved.status == 308 || moved.status == 400, "{moved}");
    assert!(moved.header("location").is_none_or(|location| location.len() < 8 << 10));
    let long = format!("/old/{}/{}", "x".repeat(5000), "y".repeat(5000));
    at(&app, "x", "GET", &long).await.assert_problem(400, "request-invalid");
}

/// Whom a trusted proxy says that it has the request from, the script sees; whoever else says so is not believed.
#[tokio::test(flavor = "multi_thread")]
async fn the_address_of_a_client_is_that_before_trusted_proxies() {
    let source = "fn handle(req) { req.client_ip }";
    for (trusted, expected) in [("127.0.0.0/8", "203.0.113.7"), ("10.0.0.0/8", "127.0.0.1")] {
        let network = trusted.parse().unwrap();
        let app = TestApp::builder().config(|config| config.trusted_proxies = vec![network]).start().await;
        app.deploy("ip", source).await;
        let call = app.request("GET", "/default/ip").header("x-forwarded-for", "1.2.3.4, 203.0.113.7");
        assert_eq!(Reply::of(call).await.text(), expected);
    }
}
