//! Who has to be there: nobody, somebody with a token, with a password, or who has signed the body.

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

use super::{ECHO, route, server};

async fn token(app: &TestApp, name: &str, scope: &str) -> String {
    let body = json!({ "name": name, "scopes": [scope] });
    let made = Reply::of(app.request("POST", "/api/v1/tokens").json(&body)).await;
    made.json()["token"].as_str().unwrap().to_owned()
}

async fn secret(app: &TestApp, name: &str, text: &'static str) {
    let put = app
        .request("PUT", &format!("/api/v1/apps/default/secrets/{name}"))
        .header("content-type", "text/plain");
    assert!(Reply::of(put.body(text)).await.is_success());
}

async fn put_access(app: &TestApp, script: &str, access: Value) -> Reply {
    Reply::of(app.request("PUT", &format!("/api/v1/apps/default/scripts/{script}/access")).json(&access))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_seen_by_the_script_as_its_name_and_never_as_itself() {
    let app = server().await;
    let source = "fn handle(req) { #{ who: req.principal, headers: req.headers.keys(), authorization: req.headers.authorization } }";
    app.deploy("who", source).await;
    let call =
        async |token: &str| Reply::of(app.anonymous("GET", "/default/who").bearer_auth(token)).await.json();
    let invoke = token(&app, "caller", "app:default:invoke").await;
    let seen = call(&invoke).await;
    assert_eq!(
        (&seen["who"], &seen["authorization"]),
        (&json!({ "kind": "token", "name": "caller" }), &Value::Null)
    );
    // One that may not call scripts of the app is nobody to them, and is not shown either.
    let reader = token(&app, "reader", "app:default:read").await;
    let seen = call(&reader).await;
    assert_eq!((&seen["who"], &seen["authorization"]), (&Value::Null, &Value::Null));
    assert_eq!(call("picloud_nobody").await["authorization"], Value::Null);
    // What is no token of this server is the script's own affair.
    let seen = call("of-another-service").await;
    assert_eq!((&seen["who"], &seen["authorization"]), (&Value::Null, &json!("Bearer of-another-service")));
    // Revoked at once.
    assert_eq!(app.delete("/api/v1/tokens/caller").await.status, 204);
    assert_eq!(call(&invoke).await["who"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_can_ask_for_a_token_wherever_it_is_called_from_outside() {
    let mut app = server().await;
    app.deploy("order", "fn handle(req) { `for ${req.principal?.name}` }").await;
    app.deploy("front", "fn handle(req) { scripts::invoke(\"order\").body }").await;
    route(&app, "open", json!({ "path": "/order", "script": "order" })).await;
    assert_eq!(put_access(&app, "order", json!({ "kind": "token" })).await.status, 200);
    let invoke = token(&app, "shop", "app:default:invoke").await;
    let reader = token(&app, "reader", "app:default:read").await;
    for restarted in [false, true] {
        if restarted {
            app.restart().await;
        }
        for path in ["/default/order", "/default/order/", "/default/order/x", "/order"] {
            let refused = Reply::of(app.anonymous("GET", path)).await;
            refused.assert_problem(401, "unauthorized");
            assert_eq!(refused.header("www-authenticate"), Some("Bearer realm=\"picloud\""));
            let other = Reply::of(app.anonymous("GET", path).bearer_auth(&reader)).await;
            other.assert_problem(401, "unauthorized");
            let let_in = Reply::of(app.anonymous("GET", path).bearer_auth(&invoke)).await;
            assert_eq!(let_in.text(), "for shop", "{path}");
        }
        let front = Reply::of(app.anonymous("GET", "/default/front").bearer_auth(&invoke)).await;
        assert_eq!(front.text(), "for shop", "who calls is passed on");
        assert_eq!(Reply::of(app.anonymous("GET", "/default/front")).await.status, 200);
    }
    // A new version is no reason to let everybody in.
    app.deploy("order", "\"new\"").await;
    Reply::of(app.anonymous("GET", "/default/order")).await.assert_problem(401, "unauthorized");
    assert_eq!(
        app.get("/api/v1/apps/default/scripts/order").await.json()["access"],
        json!({ "kind": "token" })
    );
    assert_eq!(put_access(&app, "order", json!({ "kind": "none" })).await.status, 200);
    assert_eq!(Reply::of(app.anonymous("GET", "/default/order")).await.text(), "new");
    for wrong in [
        json!({ "kind": "all" }),
        json!({}),
        json!({ "kind": "basic", "secret": "none" }),
        json!({ "kind": "basic" }),
    ] {
        put_access(&app, "order", wrong).await.assert_problem(422, "access-invalid");
    }
    put_access(&app, "none", json!({ "kind": "none" })).await.assert_problem(404, "script-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_in_and_guessing_is_slow() {
    let app = server().await;
    app.deploy("echo", ECHO).await;
    secret(&app, "users", "ann:correct horse\nbob:battery staple\n").await;
    let access = json!({ "kind": "basic", "secret": "users" });
    route(&app, "private", json!({ "path": "/private", "script": "echo", "access": access })).await;
    route(&app, "page", json!({ "path": "/page", "answer": { "body": "hello" }, "access": access })).await;
    let get = async |path: &str, user: &str, password: &str| {
        Reply::of(app.anonymous("GET", path).basic_auth(user, Some(password))).await
    };
    let asked = Reply::of(app.anonymous("GET", "/private")).await;
    asked.assert_problem(401, "credentials-invalid");
    assert_eq!(asked.header("www-authenticate"), Some("Basic realm=\"picloud\", charset=\"UTF-8\""));
    let who = get("/private", "bob", "battery staple").await.json();
    assert_eq!(who["who"], json!({ "kind": "basic", "name": "bob" }));
    assert_eq!(get("/page", "ann", "correct horse").await.text(), "hello");
    // A script that is let to see a password would be one that can lose it.
    app.deploy("peek", "fn handle(req) { req.headers.authorization }").await;
    route(&app, "peek", json!({ "path": "/peek", "script": "peek", "access": access })).await;
    assert_eq!(get("/peek", "ann", "correct horse").await.status, 204);
    for _ in 0..10 {
        get("/private", "ann", "guess").await.assert_problem(401, "credentials-invalid");
    }
    // Not even a right guess is told then.
    get("/private", "ann", "correct horse").await.assert_problem(429, "too-many-attempts");
    let slow = get("/private", "ann", "guess").await;
    slow.assert_problem(429, "too-many-attempts");
    assert!(slow.header("retry-after").unwrap().parse::<u64>().unwrap() <= 6);
    assert!(app.delete("/api/v1/apps/default/secrets/users").await.is_success());
    let lost = Reply::of(app.anonymous("GET", "/private")).await;
    lost.assert_problem(503, "access-unavailable");
    assert_eq!(lost.header("retry-after"), Some("60"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_of_the_whole_body() {
    let app = server().await;
    app.deploy("echo", "fn handle(req) { `${req.principal.kind} ${req.principal.name} ${req.body}` }").await;
    secret(&app, "key", "what do ya want for nothing?").await;
    let access =
        json!({ "kind": "hmac", "secret": "key", "header": "X-Hub-Signature-256", "prefix": "sha256=" });
    route(&app, "hook", json!({ "path": "/hook", "methods": ["POST"], "script": "echo", "access": access }))
        .await;
    // What `printf 'hello' | openssl dgst -sha256 -hmac 'what do ya want for nothing?'` prints.
    let right = "sha256=bd27eeba8fc4045457556ae03cba6a7bf729d246a056c46d42e1c996bae47aeb";
    let send = async |signature: Option<&str>, body: &'static str| {
        let request = app.anonymous("POST", "/hook").body(body);
        Reply::of(match signature {
            Some(signature) => request.header("x-hub-signature-256", signature),
            None => request,
        })
        .await
    };
    assert_eq!(send(Some(right), "hello").await.text(), "hmac key hello");
    for (signature, body) in [(Some(right), "hello!"), (Some("sha256=00"), "hello"), (None, "hello")] {
        send(signature, body).await.assert_problem(401, "signature-invalid");
    }
    let page = json!({ "path": "/p", "answer": { "body": "x" }, "access": access });
    super::put_route(&app, "page", page).await.assert_problem(422, "route-invalid");
}
