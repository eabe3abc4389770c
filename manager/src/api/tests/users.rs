//! Users, as clients see them.

use serde_json::{Value, json};

use super::fixture::{Answer, TestApi};
use crate::api::{Auth, Origin};

pub(super) async fn api() -> (TestApi, String) {
    api_at(Origin::Shared).await
}

pub(super) async fn api_at(origin: Origin) -> (TestApi, String) {
    let api = TestApi::at(Auth::Token, origin).await;
    let admin = api.test.store.create_admin_token().await.unwrap().unwrap();
    api.state.publisher.publish().await.unwrap();
    (api, admin)
}

pub(super) async fn with(api: &TestApi, token: &str, method: &str, path: &str, body: Value) -> Answer {
    let authorization = format!("Bearer {token}");
    let headers = [("authorization", &*authorization), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    api.send(method, path, &headers, body).await
}

pub(super) const PASSWORD: &str = "correct horse battery";

/// Make a user, or change one.
pub(super) async fn put(api: &TestApi, admin: &str, name: &str, scopes: &[&str]) -> Answer {
    let body = json!({ "scopes": scopes, "password": PASSWORD });
    with(api, admin, "PUT", &format!("/api/v1/users/{name}"), body).await
}

#[tokio::test]
async fn a_user_is_made_shown_without_its_password_and_deleted() {
    let (api, admin) = api().await;
    let made = put(&api, &admin, "ann", &["app:default:deploy"]).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/v1/users/ann"));
    assert!(!made.text().contains(PASSWORD) && !made.text().contains("argon2"), "{}", made.text());
    let shown = with(&api, &admin, "GET", "/api/v1/users/ann", Value::Null).await;
    assert_eq!(shown.header("etag"), made.header("etag"));
    assert_eq!(shown.json(), made.json());
    assert_eq!(shown.json()["scopes"], json!(["app:default:deploy"]));
    let list = with(&api, &admin, "GET", "/api/v1/users?limit=1", Value::Null).await.json();
    assert_eq!((&list["items"][0]["name"], &list["next_cursor"]), (&json!("ann"), &Value::Null));
    let log = with(&api, &admin, "GET", "/api/v1/audit", Value::Null).await;
    assert!(log.text().contains("/api/v1/users/ann") && !log.text().contains(PASSWORD));
    assert_eq!(with(&api, &admin, "DELETE", "/api/v1/users/ann", Value::Null).await.status, 204);
    for (method, path, body) in [
        ("GET", "", Value::Null),
        ("DELETE", "", Value::Null),
        ("PUT", "/password", json!({ "password": PASSWORD })),
    ] {
        let path = format!("/api/v1/users/ann{path}");
        with(&api, &admin, method, &path, body).await.problem(404, "user-not-found");
    }
}

#[tokio::test]
async fn what_is_no_user_is_refused() {
    let (api, admin) = api().await;
    let refused = async |body: Value, status: u16, code: &str| {
        let answer = with(&api, &admin, "PUT", "/api/v1/users/ann", body).await;
        assert!(!answer.text().contains("hunter2"), "{}", answer.text());
        answer.problem(status, code);
    };
    refused(json!({ "scopes": ["admin"] }), 422, "user-invalid").await;
    refused(json!({ "password": PASSWORD }), 422, "user-invalid").await;
    refused(json!({ "scopes": ["app:default:write"], "password": PASSWORD }), 422, "user-invalid").await;
    refused(json!({ "scopes": [], "password": PASSWORD, "more": 1 }), 422, "user-invalid").await;
    refused(json!({ "scopes": [], "password": ["hunter2hunter2"] }), 422, "user-invalid").await;
    refused(json!({ "scopes": vec!["admin"; 101], "password": PASSWORD }), 422, "user-invalid").await;
    refused(json!([["admin"], PASSWORD]), 422, "user-invalid").await;
    for wrong in ["hunter2".to_owned(), "x".repeat(1025), String::new()] {
        refused(json!({ "scopes": [], "password": wrong }), 422, "password-invalid").await;
    }
    refused(json!({ "scopes": ["app:nowhere:read"], "password": PASSWORD }), 404, "app-not-found").await;
    let path = "/api/v1/users/Ann";
    let named = with(&api, &admin, "PUT", path, json!({ "scopes": [], "password": PASSWORD })).await;
    named.problem(400, "name-invalid");
    let list = with(&api, &admin, "GET", "/api/v1/users", Value::Null).await.json();
    assert_eq!(list["items"], json!([]), "nobody was made");
}

#[tokio::test]
async fn somebody_stays_who_may_do_everything() {
    let (api, admin) = api().await;
    assert_eq!(put(&api, &admin, "ann", &["admin"]).await.status, 201);
    let ann = "/api/v1/users/ann";
    // With the token there is somebody else.
    assert_eq!(with(&api, &admin, "PUT", ann, json!({ "scopes": [] })).await.status, 200);
    with(&api, &admin, "DELETE", "/api/v1/tokens/admin", Value::Null).await.problem(409, "last-admin");
    assert_eq!(with(&api, &admin, "PUT", ann, json!({ "scopes": ["admin"] })).await.status, 200);
    let soon = json!({ "name": "soon", "scopes": ["admin"], "expires_at": "2023-11-14T23:00:00Z" });
    let soon = with(&api, &admin, "POST", "/api/v1/tokens", soon).await.json();
    let soon = soon["token"].as_str().unwrap();
    assert_eq!(with(&api, &admin, "DELETE", "/api/v1/tokens/admin", Value::Null).await.status, 204);
    with(&api, soon, "DELETE", ann, Value::Null).await.problem(409, "last-admin");
    with(&api, soon, "PUT", ann, json!({ "scopes": [] })).await.problem(409, "last-admin");
}

#[tokio::test]
async fn what_was_demanded_of_a_user_decides() {
    let (api, admin) = api().await;
    let authorization = format!("Bearer {admin}");
    let send = async |condition: (&str, &str), body: Value| {
        let headers = [("authorization", &*authorization), ("content-type", "application/json"), condition];
        api.send("PUT", "/api/v1/users/ann", &headers, body.to_string()).await
    };
    let body = json!({ "scopes": [], "password": PASSWORD });
    send(("if-match", "*"), body.clone()).await.problem(412, "precondition-failed");
    assert_eq!(send(("if-none-match", "*"), body.clone()).await.status, 201);
    send(("if-none-match", "*"), body).await.problem(412, "precondition-failed");
    assert_eq!(send(("if-match", "*"), json!({ "scopes": ["app:*:read"] })).await.status, 200);
}
