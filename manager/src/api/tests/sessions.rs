//! Sessions, as clients see them.

use picloud_host::attempts::{ANYWHERE, Attempts, Subject};
use serde_json::{Value, json};

use super::fixture::{Answer, TestApi};
use super::users::{PASSWORD, api, api_at, put, with};
use crate::api::{Auth, Origin};

async fn log_in(api: &TestApi, user: &str, password: &str) -> Answer {
    let body = json!({ "user": user, "password": password }).to_string();
    api.send("POST", "/api/v1/session", &[("content-type", "application/json")], body).await
}

async fn token(api: &TestApi, user: &str) -> String {
    let session = log_in(api, user, PASSWORD).await;
    assert_eq!((session.status, session.header("cache-control")), (201, "no-store"), "{}", session.text());
    session.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_opens_what_its_user_may_and_ends_when_it_is_told_to() {
    let (api, admin) = api().await;
    put(&api, &admin, "ann", &["app:default:read"]).await;
    let first = token(&api, "ann").await;
    assert!(first.starts_with("picloud_session_"), "{first}");
    let second = token(&api, "ann").await;
    let status =
        async |token: &str| with(&api, token, "GET", "/api/v1/apps/default", Value::Null).await.status;
    assert_eq!((status(&first).await, status(&second).await), (200, 200));
    with(&api, &first, "GET", "/api/v1/users", Value::Null).await.problem(403, "forbidden");
    let who = with(&api, &first, "GET", "/api/v1/session", Value::Null).await;
    assert_eq!(who.header("cache-control"), "no-store");
    assert_eq!(
        who.json(),
        json!({
            "kind": "user", "name": "ann", "scopes": ["app:default:read"],
            "expires_at": "2023-12-14T22:13:20Z", "csrf_token": null,
        })
    );
    let list = with(&api, &admin, "GET", "/api/v1/users/ann/sessions", Value::Null).await;
    assert!(!list.text().contains(&first) && !list.text().contains("hash"));
    let list = list.json();
    assert_eq!((list["items"].as_array().unwrap().len(), &list["items"][0]["kind"]), (2, &json!("bearer")));
    assert_eq!(with(&api, &first, "DELETE", "/api/v1/session", Value::Null).await.status, 204);
    assert_eq!((status(&first).await, status(&second).await), (401, 200));
    assert_eq!(with(&api, &admin, "DELETE", "/api/v1/users/ann/sessions", Value::Null).await.status, 204);
    assert_eq!(status(&second).await, 401);
    for method in ["GET", "DELETE"] {
        with(&api, &admin, method, "/api/v1/users/bob/sessions", Value::Null)
            .await
            .problem(404, "user-not-found");
    }
}

#[tokio::test]
async fn a_session_ends_with_its_password_with_its_user_and_with_time() {
    let (api, admin) = api().await;
    put(&api, &admin, "ann", &["app:default:read"]).await;
    let status =
        async |token: &str| with(&api, token, "GET", "/api/v1/apps/default", Value::Null).await.status;
    let session = token(&api, "ann").await;
    // What it may do counts at once.
    let scopes = json!({ "scopes": ["app:default:invoke"] });
    with(&api, &admin, "PUT", "/api/v1/users/ann", scopes).await;
    assert_eq!(status(&session).await, 403);
    put(&api, &admin, "ann", &["app:default:read"]).await;
    assert_eq!(status(&session).await, 401, "a password was set");
    let session = token(&api, "ann").await;
    let path = "/api/v1/users/ann/password";
    let other = json!({ "password": "another long one" });
    assert_eq!(with(&api, &admin, "PUT", path, other).await.status, 204);
    assert_eq!(status(&session).await, 401);
    log_in(&api, "ann", PASSWORD).await.problem(401, "login-failed");
    assert_eq!(with(&api, &admin, "PUT", path, json!({ "password": PASSWORD })).await.status, 204);
    let idle = token(&api, "ann").await;
    api.test.clock.advance(7 * 24 * 3_600_000 - 1);
    assert_eq!(status(&idle).await, 200);
    api.test.clock.advance(7 * 24 * 3_600_000);
    assert_eq!(status(&idle).await, 401);
    let session = token(&api, "ann").await;
    assert_eq!(with(&api, &admin, "DELETE", "/api/v1/users/ann", Value::Null).await.status, 204);
    assert_eq!(status(&session).await, 401);
    log_in(&api, "ann", PASSWORD).await.problem(401, "login-failed");
}

#[tokio::test]
async fn users_set_their_own_passwords_with_the_old_one_only() {
    let (api, admin) = api().await;
    put(&api, &admin, "ann", &[]).await;
    let session = token(&api, "ann").await;
    let set = async |token: &str, current: &str, new: &str| {
        let body = json!({ "current_password": current, "password": new });
        with(&api, token, "PUT", "/api/v1/session/password", body).await
    };
    set(&session, PASSWORD, "short").await.problem(422, "password-invalid");
    set(&admin, PASSWORD, "another long one").await.problem(409, "session-unavailable");
    for _ in 0..10 {
        set(&session, "wrong", "another long one").await.problem(401, "login-failed");
    }
    set(&session, PASSWORD, "another long one").await.problem(429, "too-many-attempts");
    api.test.clock.advance(6000);
    assert_eq!(set(&session, PASSWORD, "another long one").await.status, 204);
    let who = with(&api, &session, "GET", "/api/v1/session", Value::Null).await;
    who.problem(401, "unauthorized");
    assert_eq!(log_in(&api, "ann", "another long one").await.status, 201);
}

#[tokio::test]
async fn nobody_learns_which_users_there_are_and_who_guesses_has_to_wait() {
    let (api, admin) = api().await;
    put(&api, &admin, "ann", &[]).await;
    let told = |answer: &Answer| {
        let mut problem = answer.problem(401, "login-failed");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"picloud\"");
        problem.as_object_mut().unwrap().remove("instance");
        problem
    };
    let known = told(&log_in(&api, "ann", "wrong").await);
    assert_eq!(told(&log_in(&api, "nobody", "wrong").await), known);
    for _ in 0..8 {
        log_in(&api, "nobody", "wrong").await;
    }
    // A right one must not be told either, and no hash is computed for it.
    let limited = log_in(&api, "ann", PASSWORD).await;
    limited.problem(429, "too-many-attempts");
    assert_eq!(limited.header("retry-after"), "6");
    api.test.clock.advance(6000);
    assert_eq!(log_in(&api, "ann", PASSWORD).await.status, 201);
    // One that was right does not count.
    api.test.clock.advance(60_000);
    for _ in 0..15 {
        assert_eq!(log_in(&api, "ann", PASSWORD).await.status, 201);
    }
}

/// Fill the bucket of a user, as many addresses would.
fn guess_from_everywhere(attempts: &Attempts, name: &str, now_ms: u64) {
    use sha2::{Digest as _, Sha256};
    let hash: [u8; 32] = Sha256::digest(name.as_bytes()).into();
    let subject = Subject::LoginsOf(u64::from_be_bytes(hash[..8].try_into().unwrap()));
    while attempts.count(subject, ANYWHERE, now_ms).is_ok() {}
}

#[tokio::test]
async fn who_is_logged_in_already_is_not_kept_out_by_the_guesses_of_others() {
    let (api, admin) = api().await;
    put(&api, &admin, "ann", &[]).await;
    put(&api, &admin, "bob", &[]).await;
    token(&api, "ann").await;
    for name in ["ann", "bob", "nobody"] {
        guess_from_everywhere(&api.state.attempts, name, api.state.clock.now_ms());
    }
    assert_eq!(log_in(&api, "ann", PASSWORD).await.status, 201, "ann has been here");
    for name in ["bob", "nobody"] {
        log_in(&api, name, PASSWORD).await.problem(429, "too-many-attempts");
    }
    api.test.clock.advance(6000);
    assert_eq!(log_in(&api, "bob", PASSWORD).await.status, 201, "it does not take long");
}

#[tokio::test]
async fn logins_are_written_down_without_what_was_typed() {
    let (api, admin) = api().await;
    put(&api, &admin, "ann", &[]).await;
    log_in(&api, "ann", "wrong-password").await;
    // Somebody has typed the password where the name belongs.
    log_in(&api, "hunter2hunter2", "x").await;
    let session = token(&api, "ann").await;
    with(&api, &session, "DELETE", "/api/v1/session", Value::Null).await;
    let log = with(&api, &admin, "GET", "/api/v1/audit", Value::Null).await;
    for secret in ["wrong-password", "hunter2hunter2", PASSWORD, &session] {
        assert!(!log.text().contains(secret), "{secret}");
    }
    let told = |entry: &Value| {
        format!("{} {} {} {}", entry["kind"], entry["name"], entry["method"], entry["status"])
            .replace('"', "")
    };
    let log = log.json();
    let told: Vec<String> = log["items"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(
        told[..4],
        ["user ann DELETE 204", "user ann POST 201", "user null POST 401", "user ann POST 401"]
    );
}

#[tokio::test]
async fn what_cannot_be_done_is_not_written_down() {
    let (api, admin) = api().await;
    let any =
        with(&api, &admin, "POST", "/api/v1/tokens", json!({ "name": "any", "scopes": ["app:*:deploy"] }));
    let any = any.await.json()["token"].as_str().unwrap().to_owned();
    let entries = async || {
        let log = with(&api, &admin, "GET", "/api/v1/audit", Value::Null).await.json();
        log["items"].as_array().unwrap().len()
    };
    let before = entries().await;
    // Whoever has a token for anything must not be able to drive out what others have done.
    let password = json!({ "current_password": PASSWORD, "password": PASSWORD });
    with(&api, &any, "DELETE", "/api/v1/session", Value::Null).await.problem(409, "session-unavailable");
    with(&api, &any, "PUT", "/api/v1/session/password", password).await.problem(409, "session-unavailable");
    let nowhere = "/api/v1/apps/made-up/scripts/a";
    with(&api, &any, "DELETE", nowhere, Value::Null).await.problem(404, "app-not-found");
    assert_eq!(entries().await, before);
    let script = "/api/v1/apps/default/scripts/a";
    with(&api, &any, "DELETE", script, Value::Null).await.problem(404, "script-not-found");
    assert_eq!(entries().await, before + 1);
}

#[tokio::test]
async fn what_is_no_login_is_refused() {
    let (api, _) = api().await;
    let refused = async |media_type: &str, body: &str, status: u16, code: &str| {
        let answer =
            api.send("POST", "/api/v1/session", &[("content-type", media_type)], body.to_owned()).await;
        answer.problem(status, code);
    };
    refused("text/plain", "{}", 415, "media-type-unsupported").await;
    for body in ["", "[]", "{}", r#"{"user": "a"}"#, r#"{"user": "a", "password": "b", "c": 1}"#] {
        refused("application/json", body, 400, "request-invalid").await;
    }
    refused("application/json", r#"{"user": "A", "password": "b"}"#, 400, "name-invalid").await;
    refused("application/json", &" ".repeat(9000), 413, "body-too-large").await;
    let dev = TestApi::new().await;
    log_in(&dev, "ann", PASSWORD).await.problem(409, "session-unavailable");
    let who = dev.get("/api/v1/session").await.json();
    assert_eq!(
        (&who["kind"], &who["name"], &who["scopes"]),
        (&json!("dev"), &Value::Null, &json!(["admin"]))
    );
    dev.send("DELETE", "/api/v1/session", &[], "").await.problem(409, "session-unavailable");
}

/// Log in as a browser does. Returns the answer, the cookie to send and the token of its pages.
async fn browser(api: &TestApi, headers: &[(&str, &str)]) -> (Answer, String, String) {
    let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
    let body = json!({ "user": "ann", "password": PASSWORD, "cookie": true }).to_string();
    let answer = api.send("POST", "/api/v1/session", &headers, body).await;
    let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
    let csrf =
        serde_json::from_slice::<Value>(&answer.body).unwrap()["csrf_token"].as_str().map(str::to_owned);
    (answer, cookie, csrf.unwrap_or_default())
}

const HOST: (&str, &str) = ("host", "localhost:9000");

#[tokio::test]
async fn a_browser_is_logged_in_by_a_cookie_and_shows_its_token_with_every_change() {
    let (api, admin) = api_at(Origin::Own).await;
    put(&api, &admin, "ann", &["admin"]).await;
    let (answer, cookie, csrf) = browser(&api, &[HOST]).await;
    assert_eq!((answer.status, &answer.json()["token"]), (201, &Value::Null));
    assert!(answer.header("set-cookie").ends_with("; Path=/api; HttpOnly; Secure; SameSite=Strict"));
    let who = api.send("GET", "/api/v1/session", &[HOST, ("cookie", &cookie)], "").await.json();
    assert_eq!((&who["name"], &who["csrf_token"]), (&json!("ann"), &json!(csrf)));
    let key = "/api/v1/apps/default/config/a";
    let put = async |headers: &[(&str, &str)]| {
        let base = [HOST, ("cookie", &*cookie), ("content-type", "application/json")];
        let headers: Vec<_> = base.iter().chain(headers).copied().collect();
        api.send("PUT", key, &headers, "1").await
    };
    put(&[]).await.problem(403, "csrf-invalid");
    put(&[("x-csrf-token", "guessed")]).await.problem(403, "csrf-invalid");
    let shown = ("x-csrf-token", &*csrf);
    put(&[shown, ("origin", "http://localhost:8080")]).await.problem(403, "origin-forbidden");
    put(&[shown, ("sec-fetch-site", "same-site")]).await.problem(403, "origin-forbidden");
    let other =
        api.send("GET", key, &[HOST, ("cookie", &cookie), ("sec-fetch-site", "cross-site")], "").await;
    other.problem(403, "origin-forbidden");
    assert_eq!(put(&[shown, ("origin", "http://localhost:9000")]).await.status, 201);
    // A cookie is no token, and a token is no cookie.
    let text = cookie.split_once('=').unwrap().1;
    with(&api, text, "GET", key, Value::Null).await.problem(401, "unauthorized");
    let as_cookie = format!("picloud_session={admin}");
    api.send("GET", key, &[HOST, ("cookie", &as_cookie)], "").await.problem(401, "unauthorized");
    let twice = format!("{cookie}; {cookie}");
    api.send("GET", key, &[HOST, ("cookie", &twice)], "").await.problem(401, "unauthorized");
    // A token that comes as well is what counts, also when it is wrong.
    let both = [HOST, ("cookie", &*cookie), ("authorization", "Bearer picloud_wrong")];
    api.send("GET", key, &both, "").await.problem(401, "unauthorized");
    let out = [HOST, ("cookie", &*cookie), shown];
    let out = api.send("DELETE", "/api/v1/session", &out, "").await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").starts_with("picloud_session=; Max-Age=0; Path=/api"));
    api.send("GET", key, &[HOST, ("cookie", &cookie)], "").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn there_are_no_cookies_where_scripts_are_or_anybody_listens() {
    let (shared, admin) = api().await;
    put(&shared, &admin, "ann", &["admin"]).await;
    let (refused, ..) = browser(&shared, &[HOST]).await;
    let problem = refused.problem(409, "session-unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("--admin-address"), "{problem}");
    let (own, admin) = api_at(Origin::Own).await;
    put(&own, &admin, "ann", &["admin"]).await;
    let (refused, ..) = browser(&own, &[("host", "pi.example:9000")]).await;
    let problem = refused.problem(409, "session-unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("in the clear"), "{problem}");
    let (refused, ..) = browser(&own, &[HOST, ("origin", "http://evil.example")]).await;
    refused.problem(403, "origin-forbidden");
    // Nor does a cookie open anything there.
    let (_, cookie, csrf) = browser(&own, &[HOST]).await;
    let restarted = crate::api::router(crate::api::State { origin: Origin::Shared, ..own.state.clone() });
    let shared = TestApi { router: restarted, ..own };
    let headers = [HOST, ("cookie", &*cookie), ("x-csrf-token", &*csrf)];
    shared.send("GET", "/api/v1/session", &headers, "").await.problem(401, "unauthorized");
}

#[tokio::test]
async fn in_dev_mode_there_are_no_cookies_either() {
    let dev = TestApi::at(Auth::Dev, Origin::Own).await;
    browser(&dev, &[HOST]).await.0.problem(409, "session-unavailable");
}
