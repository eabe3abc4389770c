//! Who may use the API.

use serde_json::json;

use super::fixture::{TestApi, script};
use crate::api::{Auth, openapi};

/// Every operation that needs no token.
const OPEN: [&str; 3] =
    ["POST /api/v1/apps/{app}/webhooks/{name}", "GET /api/v1/errors/{code}", "GET /openapi.json"];

/// Every operation that a token opens, and the key of one execution, too.
const KEYED: [&str; 3] = [
    "GET /api/v1/apps/{app}/executions/{id}",
    "DELETE /api/v1/apps/{app}/executions/{id}",
    "GET /api/v1/apps/{app}/executions/{id}/answer",
];

#[tokio::test]
async fn every_operation_but_the_open_ones_needs_a_token() {
    let api = TestApi::with_auth(Auth::Token).await;
    let mut open = Vec::new();
    let document = serde_json::to_value(openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys().map(|method| method.to_uppercase()) {
            // Names that are not valid: nothing is told about them either.
            let address = path.replace(['{', '}'], "!");
            let answer = api.send(&method, &address, &[], "").await;
            if answer.status == 401 {
                answer.problem(401, "unauthorized");
                assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"picloud\"");
            } else {
                open.push(format!("{method} {path}"));
            }
        }
    }
    assert_eq!(open, OPEN);
}

#[tokio::test]
async fn the_description_says_which_operations_need_no_token() {
    let document = serde_json::to_value(openapi()).unwrap();
    assert_eq!(document["security"][0]["token"], serde_json::json!([]));
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            let security = match &*name {
                name if OPEN.contains(&name) => Some(json!([{}])),
                name if KEYED.contains(&name) => Some(json!([{ "token": [] }, { "key": [] }])),
                _ => None,
            };
            assert_eq!(operation.get("security"), security.as_ref(), "{name}");
        }
    }
}

#[tokio::test]
async fn the_token_opens_and_nothing_else_does() {
    let api = TestApi::with_auth(Auth::Token).await;
    let token = api.test.store.create_admin_token().await.unwrap().unwrap();
    let status =
        async |value: &str| api.send("PUT", &script("a"), &[("authorization", value)], "1").await.status;
    let refused =
        ["", "Bearer", "Bearer ", "Bearer x", &format!("Basic {token}"), &token, &format!("Bearer {token}x")];
    for value in refused {
        assert_eq!(status(value).await, 401, "{value}");
    }
    assert_eq!(status(&format!("Bearer {token}")).await, 201);
    assert_eq!(status(&format!("bearer  {token}")).await, 200);
    let new = api.test.store.replace_admin_token().await.unwrap();
    assert_eq!(status(&format!("Bearer {token}")).await, 401);
    assert_eq!(status(&format!("Bearer {new}")).await, 200);
}
