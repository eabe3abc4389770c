//! Logging in with a name and a password, and what ends that.

use futures_util::future::join_all;
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

use super::{PASSWORD, log_in_from, put_user, server, session};

async fn status(app: &TestApp, token: &str) -> u16 {
    Reply::of(app.anonymous("GET", "/api/v1/apps/default").bearer_auth(token)).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_works_wherever_tokens_do_and_survives_a_restart() {
    let mut app = server(&["app:default:deploy", "app:default:invoke"]).await;
    let ann = session(&app, "ann").await;
    app.deploy("who", "fn handle(req) { #{ who: req.principal, sent: req.headers.authorization } }").await;
    for restarted in [false, true] {
        if restarted {
            app.restart().await;
        }
        assert_eq!(status(&app, &ann).await, 200);
        let seen = Reply::of(app.anonymous("GET", "/default/who").bearer_auth(&ann)).await.json();
        assert_eq!(seen, json!({ "who": { "kind": "user", "name": "ann" }, "sent": null }));
        let put = app.anonymous("PUT", "/api/v1/apps/default/kv/a").bearer_auth(&ann).json(&1);
        assert!(Reply::of(put).await.is_success());
        let users = app.anonymous("GET", "/api/v1/users").bearer_auth(&ann);
        Reply::of(users).await.assert_problem(403, "forbidden");
    }
    let data = app.stop().await;
    for entry in std::fs::read_dir(data.path()).unwrap() {
        let path = entry.unwrap().path();
        let content = if path.is_file() { std::fs::read(&path).unwrap() } else { continue };
        let found = |secret: &str| content.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found(PASSWORD) && !found(&ann), "{} holds a secret, not only its hash", path.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_a_session_ends_it_at_once_for_calls_and_for_the_api() {
    let app = server(&["app:default:deploy", "app:default:invoke"]).await;
    app.deploy("who", "fn handle(req) { req.principal?.name }").await;
    let seen = async |token: &str| {
        let called = Reply::of(app.anonymous("GET", "/default/who").bearer_auth(token)).await;
        (status(&app, token).await, called.text() == "\"ann\"" || called.text() == "ann")
    };
    let own = json!({ "current_password": PASSWORD, "password": PASSWORD });
    let set = json!({ "password": PASSWORD });
    for (method, path, body, by_ann) in [
        ("DELETE", "/api/v1/session", Value::Null, true),
        ("PUT", "/api/v1/session/password", own, true),
        ("DELETE", "/api/v1/users/ann/sessions", Value::Null, false),
        ("PUT", "/api/v1/users/ann/password", set, false),
        ("DELETE", "/api/v1/users/ann", Value::Null, false),
    ] {
        let ann = session(&app, "ann").await;
        assert_eq!(seen(&ann).await, (200, true), "{method} {path}");
        let token = if by_ann { &ann } else { app.token.as_ref().unwrap() };
        let request = app.anonymous(method, path).bearer_auth(token);
        let request = if body.is_null() { request } else { request.json(&body) };
        let reply = Reply::of(request).await;
        assert_eq!(reply.status, 204, "{method} {path}: {reply}");
        assert_eq!(seen(&ann).await, (401, false), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_guesses_has_to_wait_and_nobody_else_does() {
    let app = server(&[]).await;
    // At the same time, so that none has failed when the next one comes.
    let guesses = join_all((0..14).map(|_| log_in_from(&app, "192.0.2.66", "ann", "wrong"))).await;
    let of = |status: u16| guesses.iter().filter(|reply| reply.status == status).count();
    assert_eq!((of(401), of(429)), (10, 4));
    let right = log_in_from(&app, "192.0.2.66", "ann", PASSWORD).await;
    right.assert_problem(429, "too-many-attempts");
    assert!(right.header("retry-after").is_some());
    assert_eq!(log_in_from(&app, "192.0.2.7", "ann", PASSWORD).await.status, 201);
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_log_in_at_the_same_time_are_all_let_in_or_told_to_come_later() {
    let app = server(&[]).await;
    put_user(&app, "bob", &[]).await;
    let logins = join_all((0..60).map(|n| {
        let (app, user) = (&app, if n % 2 == 0 { "ann" } else { "bob" });
        async move { log_in_from(app, &format!("192.0.2.{n}"), user, PASSWORD).await }
    }))
    .await;
    for reply in &logins {
        match reply.status {
            201 => {}
            _ => {
                reply.assert_problem(503, "saturated");
                assert!(reply.header("retry-after").is_some());
            }
        }
    }
    assert!(logins.iter().filter(|reply| reply.status == 201).count() >= 10);
    let sessions = app.get("/api/v1/users/ann/sessions").await.json();
    assert!(sessions["items"].as_array().unwrap().len() <= 20);
}
