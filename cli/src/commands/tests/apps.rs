//! `picloud apps`, `tokens` and `audit`, against a server that plays the API.

use http::HeaderValue;
use serde_json::{Value, json};

use super::picloud;
use super::server::{FakeServer, json as answer, problem};
use crate::exit::Exit;

fn app() -> Value {
    json!({
        "name": "shop", "description": "Orders", "limits": { "fuel": 1000, "calls": 2 }, "quotas": { "kv_bytes": 9 },
        "effective_limits": { "calls": 2, "fuel": 1000, "deadline_ms": 10_000 },
        "effective_quotas": { "kv_bytes": 9 }, "created_at": "soon", "updated_at": "later",
    })
}

#[tokio::test]
async fn apps_are_listed_and_shown() {
    let server = FakeServer::start(|seen| match &*seen.line {
        "GET /api/v1/apps" => answer(200, &json!({ "items": [app()], "next_cursor": null })),
        _ => answer(200, &app()),
    })
    .await;
    let ran = picloud(&server.url, &["apps"]).await.expect(Exit::Ok);
    let rows: Vec<&str> = ran.out.lines().collect();
    assert_eq!(rows[0], "NAME  CREATED  OWN LIMITS AND QUOTAS           DESCRIPTION");
    assert_eq!(rows[1], "shop  soon     calls=2, fuel=1000, kv_bytes=9  Orders");
    let ran = picloud(&server.url, &["apps", "show", "shop"]).await.expect(Exit::Ok);
    assert_eq!(server.lines().last().unwrap(), "GET /api/v1/apps/shop");
    assert!(ran.out.contains("fuel         1000   its own\n"), "{}", ran.out);
    assert!(ran.out.contains("deadline_ms  10000"), "{}", ran.out);
    let shown = picloud(&server.url, &["apps", "show", "shop", "-o", "json"]).await.expect(Exit::Ok).json();
    assert_eq!(shown, app());
}

#[tokio::test]
async fn an_app_is_made_once_and_changed_where_it_is_told() {
    let server = FakeServer::start(|seen| {
        let mut reply = answer(if seen.line.starts_with("PUT") { 201 } else { 200 }, &app());
        reply.headers_mut().insert("etag", HeaderValue::from_static("\"7\""));
        reply
    })
    .await;
    let made = ["apps", "create", "guests", "--limit", "fuel=10", "--description", "Guests"];
    let ran = picloud(&server.url, &made).await.expect(Exit::Ok);
    assert_eq!(ran.out, "made  guests\n");
    let seen = server.seen().pop().unwrap();
    assert_eq!(
        (&*seen.line, &seen.headers["if-none-match"]),
        ("PUT /api/v1/apps/guests", &HeaderValue::from_static("*"))
    );
    let sent: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(sent, json!({ "description": "Guests", "limits": { "fuel": 10 }, "quotas": {} }));
    let set =
        ["apps", "set", "shop", "--limit", "fuel=", "--limit", "deadline_ms=500", "--quota", "versions=5"];
    picloud(&server.url, &set).await.expect(Exit::Ok);
    let seen = server.seen().pop().unwrap();
    assert_eq!(seen.headers["if-match"], "\"7\"");
    let sent: Value = serde_json::from_str(&seen.body).unwrap();
    let (limits, quotas) =
        (json!({ "calls": 2, "deadline_ms": 500 }), json!({ "kv_bytes": 9, "versions": 5 }));
    assert_eq!(sent, json!({ "description": "Orders", "limits": limits, "quotas": quotas }));
    for wrong in ["fuel", "fuel=x", "fuel=-1"] {
        picloud(&server.url, &["apps", "set", "shop", "--limit", wrong]).await.expect(Exit::Usage);
    }
}

#[tokio::test]
async fn an_app_is_deleted_by_whoever_names_it_twice() {
    let server = FakeServer::start(|seen| match seen.line.contains("confirm=shop") {
        true => answer(204, &Value::Null),
        false => problem(400, "confirmation-missing", json!({})),
    })
    .await;
    picloud(&server.url, &["apps", "rm", "shop"]).await.expect(Exit::Usage);
    let ran = picloud(&server.url, &["apps", "rm", "shop", "--confirm", "shp"]).await.expect(Exit::Usage);
    assert!(ran.err.contains("--confirm has to name the app once more"), "{}", ran.err);
    assert!(server.lines().is_empty());
    let ran = picloud(&server.url, &["apps", "rm", "shop", "--confirm", "shop"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "deleted  shop\n");
    assert_eq!(server.lines().last().unwrap(), "DELETE /api/v1/apps/shop?confirm=shop");
}

#[tokio::test]
async fn the_text_of_a_token_is_all_that_is_printed_of_it() {
    let server = FakeServer::start(|seen| match seen.line.starts_with("DELETE") {
        true => answer(204, &Value::Null),
        false => answer(201, &json!({ "name": "ci", "token": "picloud_abc", "scopes": ["app:shop:deploy"] })),
    })
    .await;
    let words = ["tokens", "create", "ci", "--scope", "app:shop:deploy", "--expires", "2027-01-31T12:00:00Z"];
    let ran = picloud(&server.url, &words).await.expect(Exit::Ok);
    assert_eq!((&*ran.out, &*ran.err), ("picloud_abc\n", "this is the token ci, shown only once\n"));
    let seen = server.seen().pop().unwrap();
    let sent: Value = serde_json::from_str(&seen.body).unwrap();
    let expected =
        json!({ "name": "ci", "scopes": ["app:shop:deploy"], "expires_at": "2027-01-31T12:00:00Z" });
    assert_eq!((&*seen.line, sent), ("POST /api/v1/tokens", expected));
    picloud(&server.url, &["tokens", "rotate", "ci"]).await.expect(Exit::Ok);
    assert_eq!(server.lines().last().unwrap(), "POST /api/v1/tokens/ci/rotate");
    let ran = picloud(&server.url, &["tokens", "rm", "ci"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "revoked  ci\n");
    for wrong in [&["create", "ci"][..], &["create", "ci", "--scope", "admin", "--expires", "soon"]] {
        picloud(&server.url, &[&["tokens"], wrong].concat()).await.expect(Exit::Usage);
    }
}

#[tokio::test]
async fn tokens_are_listed_without_their_texts() {
    let tokens = json!({ "items": [{
        "name": "ci", "prefix": "picloud_abc123", "scopes": ["app:shop:deploy", "app:blog:read"],
        "last_used_at": null, "expires_at": "soon",
    }], "next_cursor": null });
    let server = FakeServer::start(move |_| answer(200, &tokens)).await;
    let ran = picloud(&server.url, &["tokens"]).await.expect(Exit::Ok);
    let row = ran.out.lines().nth(1).unwrap();
    assert_eq!(row, "ci    picloud_abc123  app:shop:deploy, app:blog:read  never      soon");
}

#[tokio::test]
async fn the_audit_log_is_a_table_or_a_document_a_line() {
    let entry = |name: Option<&str>, status: Option<u16>, code: Option<&str>| {
        json!({
            "at": "soon", "kind": "dev", "name": name, "client_ip": "192.0.2.1", "method": "PUT",
            "path": "/api/v1/apps/shop", "status": status, "code": code,
        })
    };
    let items = [
        entry(Some("ann"), Some(403), Some("forbidden")),
        entry(None, Some(201), None),
        entry(None, None, None),
    ];
    let log = json!({ "items": items, "next_cursor": null });
    let server = FakeServer::start(move |_| answer(200, &log)).await;
    let words = ["audit", "--app", "shop", "--by", "ann", "--since", "2026-01-31T12:00:00Z"];
    let ran = picloud(&server.url, &words).await.expect(Exit::Ok);
    let rows: Vec<&str> = ran.out.lines().collect();
    assert_eq!(rows[1], "soon  ann  192.0.2.1  403 forbidden  PUT /api/v1/apps/shop");
    assert_eq!(rows[2], "soon  dev  192.0.2.1  201            PUT /api/v1/apps/shop");
    assert_eq!(rows[3], "soon  dev  192.0.2.1  not known      PUT /api/v1/apps/shop");
    assert_eq!(
        server.lines()[0],
        "GET /api/v1/audit?app=shop&name=ann&from=2026-01-31T12%3A00%3A00Z&limit=50"
    );
    let ran = picloud(&server.url, &["audit", "--all", "-o", "json"]).await.expect(Exit::Ok);
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines, items);
    assert_eq!(server.lines()[1], "GET /api/v1/audit");
}
