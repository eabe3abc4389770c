//! `picloud users`, against a server that plays the API.

use http::HeaderValue;
use serde_json::{Value, json};

use super::picloud;
use super::server::{FakeServer, json as answer, problem};
use crate::exit::Exit;

#[tokio::test]
async fn users_are_listed_with_what_they_may_do() {
    let ann = json!({
        "name": "ann", "scopes": ["admin", "app:shop:read"], "password_changed_at": "now", "last_used_at": null,
    });
    let server =
        FakeServer::start(move |_| answer(200, &json!({ "items": [ann.clone()], "next_cursor": null })))
            .await;
    let ran = picloud(&server.url, &["users"]).await.expect(Exit::Ok);
    let rows: Vec<&str> = ran.out.lines().collect();
    assert_eq!(rows[0], "NAME  SCOPES                PASSWORD SET  LAST THERE");
    assert_eq!(rows[1], "ann   admin, app:shop:read  now           never");
    let ran = picloud(&server.url, &["users", "list", "-o", "json"]).await.expect(Exit::Ok);
    assert_eq!(ran.json()["items"][0]["name"], "ann");
}

#[tokio::test]
async fn where_a_user_is_logged_in_is_listed_and_ended() {
    let session = json!({
        "id": 4, "kind": "cookie", "client_ip": "192.0.2.7",
        "created_at": "then", "last_used_at": "now", "expires_at": "soon",
    });
    let server = FakeServer::start(move |seen| match seen.line.as_str() {
        line if line.starts_with("GET ") => answer(200, &json!({ "items": [session], "next_cursor": null })),
        _ => answer(204, &json!(null)),
    })
    .await;
    let ran = picloud(&server.url, &["users", "sessions", "ann"]).await.expect(Exit::Ok);
    let rows: Vec<&str> = ran.out.lines().collect();
    assert_eq!(rows[0], "LOGGED IN  KIND    FROM       LAST USED  ENDS");
    assert_eq!(rows[1], "then       cookie  192.0.2.7  now        soon");
    let ran = picloud(&server.url, &["users", "sessions", "ann", "--end"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "logged out  ann\n");
    assert_eq!(server.lines().pop().unwrap(), "DELETE /api/v1/users/ann/sessions");
}

#[tokio::test]
async fn a_password_comes_from_standard_input_and_is_sent_once() {
    let server = FakeServer::start(|_| answer(201, &json!({ "name": "ann" }))).await;
    // What the tests type is `[1]`.
    let ran = picloud(&server.url, &["users", "create", "ann", "--scope", "admin"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "made  ann\n");
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.line, "PUT /api/v1/users/ann");
    assert_eq!(seen.headers["if-none-match"], HeaderValue::from_static("*"));
    let sent: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(sent, json!({ "scopes": ["admin"], "password": "[1]" }));
    picloud(&server.url, &["users", "passwd", "ann", "--password-stdin"]).await.expect(Exit::Ok);
    let seen = server.seen().pop().unwrap();
    assert_eq!((&*seen.line, &*seen.body), ("PUT /api/v1/users/ann/password", r#"{"password":"[1]"}"#));
    picloud(&server.url, &["users", "set-scopes", "ann"]).await.expect(Exit::Ok);
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.headers["if-match"], HeaderValue::from_static("*"));
    assert_eq!(seen.body, r#"{"scopes":[]}"#);
    let ran = picloud(&server.url, &["users", "rm", "a/b"]).await.expect(Exit::Ok);
    assert_eq!(
        (&*ran.out, &*server.lines().pop().unwrap()),
        ("deleted  a/b\n", "DELETE /api/v1/users/a%2Fb")
    );
}

#[tokio::test]
async fn who_is_there_or_not_is_told_in_the_words_of_the_command() {
    let server = FakeServer::start(|_| problem(412, "precondition-failed", json!({}))).await;
    let ran =
        picloud(&server.url, &["users", "create", "ann", "--scope", "admin"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("there is a user ann already"), "{}", ran.err);
    let ran = picloud(&server.url, &["users", "set-scopes", "ann"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("there is no user ann"), "{}", ran.err);
}
