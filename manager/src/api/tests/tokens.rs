//! Tokens and the audit log, as clients see them.

use serde_json::{Value, json};

use super::fixture::{Answer, TestApi, script};
use crate::api::Auth;

async fn with(api: &TestApi, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    api.send(method, path, &headers, body).await
}

async fn api() -> (TestApi, String) {
    let api = TestApi::with_auth(Auth::Token).await;
    let admin = api.test.store.create_admin_token().await.unwrap().unwrap();
    api.state.publisher.publish().await.unwrap();
    (api, admin)
}

async fn make(api: &TestApi, admin: &str, name: &str, scope: &str) -> String {
    let made = with(api, admin, "POST", "/api/v1/tokens", json!({ "name": name, "scopes": [scope] })).await;
    assert_eq!((made.status, made.header("location")), (201, &*format!("/api/v1/tokens/{name}")));
    assert_eq!(made.header("cache-control"), "no-store");
    made.json()["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_is_shown_once_and_told_apart_by_how_it_begins() {
    let (api, admin) = api().await;
    let text = make(&api, &admin, "ci", "app:default:deploy").await;
    let shown = with(&api, &admin, "GET", "/api/v1/tokens/ci", Value::Null).await;
    assert!(!shown.text().contains(&text));
    let shown = shown.json();
    assert_eq!((&shown["prefix"], &shown["scopes"]), (&json!(text[..14]), &json!(["app:default:deploy"])));
    assert_eq!((&shown["expires_at"], &shown["last_used_at"]), (&Value::Null, &Value::Null));
    assert_eq!(with(&api, &text, "PUT", &script("a"), Value::Null).await.status, 415);
    let list = with(&api, &admin, "GET", "/api/v1/tokens", Value::Null).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    // It is written down behind the answer.
    let mut used = Value::Null;
    for _ in 0..200 {
        used =
            with(&api, &admin, "GET", "/api/v1/tokens/ci", Value::Null).await.json()["last_used_at"].clone();
        if used.is_string() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!(used, "2023-11-14T22:13:20Z");
}

#[tokio::test]
async fn what_is_revoked_rotated_or_over_is_worth_nothing_at_once() {
    let (api, admin) = api().await;
    let status = async |token: &str| with(&api, token, "GET", "/api/v1/apps", Value::Null).await.status;
    let first = make(&api, &admin, "a", "app:*:read").await;
    assert_eq!(status(&first).await, 200);
    let second = with(&api, &admin, "POST", "/api/v1/tokens/a/rotate", Value::Null).await.json();
    let second = second["token"].as_str().unwrap().to_owned();
    assert_eq!((status(&first).await, status(&second).await), (401, 200));
    assert_eq!(with(&api, &admin, "DELETE", "/api/v1/tokens/a", Value::Null).await.status, 204);
    assert_eq!(status(&second).await, 401);
    let soon = json!({ "name": "soon", "scopes": ["admin"], "expires_at": "2023-11-14T22:13:21Z" });
    let soon = with(&api, &admin, "POST", "/api/v1/tokens", soon).await.json();
    let soon = soon["token"].as_str().unwrap();
    assert_eq!(status(soon).await, 200);
    api.test.clock.advance(1000);
    assert_eq!(status(soon).await, 401);
    // Nor is one that is over somebody who may do everything.
    with(&api, &admin, "DELETE", "/api/v1/tokens/admin", Value::Null).await.problem(409, "last-admin");
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let (api, admin) = api().await;
    let refused = async |body: Value, status: u16, code: &str| {
        with(&api, &admin, "POST", "/api/v1/tokens", body).await.problem(status, code)
    };
    refused(json!({ "name": "a", "scopes": [] }), 422, "token-invalid").await;
    refused(json!({ "name": "a" }), 422, "token-invalid").await;
    refused(json!({ "name": "a", "scopes": ["app:default:write"] }), 422, "token-invalid").await;
    refused(json!({ "name": "a", "scopes": ["admin"], "more": 1 }), 422, "token-invalid").await;
    let over = json!({ "name": "a", "scopes": ["admin"], "expires_at": "2020-01-01T00:00:00Z" });
    refused(over, 422, "token-invalid").await;
    refused(json!({ "name": "A", "scopes": ["admin"] }), 400, "name-invalid").await;
    refused(json!({ "name": "a", "scopes": ["app:nowhere:read"] }), 404, "app-not-found").await;
    refused(json!({ "name": "admin", "scopes": ["admin"] }), 409, "name-taken").await;
    for (method, path) in [("GET", "none"), ("DELETE", "none"), ("POST", "none/rotate")] {
        let path = format!("/api/v1/tokens/{path}");
        with(&api, &admin, method, &path, Value::Null).await.problem(404, "token-not-found");
    }
}

#[tokio::test]
async fn a_token_for_one_app_does_not_learn_of_others() {
    let (api, admin) = api().await;
    for app in ["aaa", "shop", "zzz"] {
        let path = format!("/api/v1/apps/{app}");
        assert_eq!(with(&api, &admin, "PUT", &path, json!({})).await.status, 201);
    }
    let token = make(&api, &admin, "shop", "app:shop:admin").await;
    let list = with(&api, &token, "GET", "/api/v1/apps?limit=1", Value::Null).await.json();
    assert_eq!((&list["items"][0]["name"], &list["next_cursor"]), (&json!("shop"), &Value::Null));
    // Whether there is such an app or not.
    for app in ["aaa", "none"] {
        let path = format!("/api/v1/apps/{app}");
        with(&api, &token, "GET", &path, Value::Null).await.problem(403, "forbidden");
    }
    // Nor is it good for another app of the name.
    with(&api, &admin, "DELETE", "/api/v1/apps/shop?confirm=shop", Value::Null).await;
    with(&api, &admin, "PUT", "/api/v1/apps/shop", json!({})).await;
    with(&api, &token, "GET", "/api/v1/apps/shop", Value::Null).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn whatever_changes_something_is_written_down_and_how_it_ended() {
    let (api, admin) = api().await;
    let reader = make(&api, &admin, "reader", "app:default:read").await;
    with(&api, &reader, "DELETE", &script("a"), Value::Null).await.problem(403, "forbidden");
    with(&api, &reader, "GET", &script("a"), Value::Null).await.problem(404, "script-not-found");
    api.send("DELETE", &script("a"), &[("authorization", "Bearer no")], "")
        .await
        .problem(401, "unauthorized");
    with(&api, &admin, "PUT", "/api/v1/apps/default/kv/visits", json!(1)).await;
    let gone = "/api/v1/apps/%64efault/scripts/a?x=1";
    with(&api, &admin, "DELETE", gone, Value::Null).await.problem(404, "script-not-found");
    let key = "/api/v1/apps/default/config/visits";
    let headers = [("authorization", &*format!("Bearer {admin}")), ("x-request-id", "r-1")];
    let headers = [headers[0], headers[1], ("content-type", "application/json")];
    assert_eq!(api.send("PUT", key, &headers, "1").await.status, 201);
    let log = with(&api, &admin, "GET", "/api/v1/audit", Value::Null).await.json();
    let entries = log["items"].as_array().unwrap();
    let told = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or("-").to_owned();
        format!(
            "{} {} {} {} {} {}",
            text("name"),
            text("method"),
            text("path"),
            text("app"),
            entry["status"],
            text("code")
        )
    };
    let told: Vec<String> = entries.iter().map(told).collect();
    assert_eq!(
        told,
        [
            "admin PUT /api/v1/apps/default/config/visits default 201 -",
            "admin DELETE /api/v1/apps/%64efault/scripts/a default 404 script-not-found",
            "admin POST /api/v1/tokens - 201 -",
        ]
    );
    assert_eq!((&entries[0]["request_id"], &entries[0]["kind"]), (&json!("r-1"), &json!("token")));
    let count = async |query: &str| {
        let path = format!("/api/v1/audit?{query}");
        with(&api, &admin, "GET", &path, Value::Null).await.json()["items"].as_array().unwrap().len()
    };
    assert_eq!((count("app=default").await, count("name=admin").await, count("limit=1").await), (2, 3, 1));
    assert_eq!(count("from=2030-01-01T00:00:00Z").await, 0);
    with(&api, &reader, "GET", "/api/v1/audit", Value::Null).await.problem(403, "forbidden");
    with(&api, &admin, "GET", "/api/v1/audit?app=A", Value::Null).await.problem(400, "query-invalid");
}

#[tokio::test]
async fn nothing_is_changed_that_cannot_be_written_down() {
    let (api, admin) = api().await;
    sqlx::raw_sql("alter table audit rename to hidden").execute(&api.test.database.write).await.unwrap();
    let made = with(&api, &admin, "PUT", "/api/v1/apps/shop", json!({})).await;
    made.problem(503, "storage-unavailable");
    sqlx::raw_sql("alter table hidden rename to audit").execute(&api.test.database.write).await.unwrap();
    with(&api, &admin, "GET", "/api/v1/apps/shop", Value::Null).await.problem(404, "app-not-found");
}

#[tokio::test]
async fn who_takes_everything_away_is_written_down_and_who_may_not_takes_nothing() {
    let (api, admin) = api().await;
    let deployer = make(&api, &admin, "ci", "app:*:admin").await;
    with(&api, &deployer, "GET", "/api/v1/backup", Value::Null).await.problem(403, "forbidden");
    assert_eq!(with(&api, &admin, "GET", "/api/v1/backup", Value::Null).await.status, 200);
    // What is only read is not.
    with(&api, &admin, "GET", "/api/v1/apps/default", Value::Null).await.json();
    let log = with(&api, &admin, "GET", "/api/v1/audit", Value::Null).await.json();
    let told = |entry: &Value| format!("{} {} {}", entry["name"], entry["path"], entry["status"]);
    let told: Vec<String> = log["items"].as_array().unwrap().iter().map(told).collect();
    assert_eq!(told, [r#""admin" "/api/v1/backup" 200"#, r#""admin" "/api/v1/tokens" 201"#]);
    sqlx::raw_sql("alter table audit rename to hidden").execute(&api.test.database.write).await.unwrap();
    let taken = with(&api, &admin, "GET", "/api/v1/backup", Value::Null).await;
    taken.problem(503, "storage-unavailable");
}
