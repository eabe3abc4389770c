//! Apps as clients see them.

use serde_json::{Value, json};

use super::fixture::{Answer, TestApi};

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

async fn put(api: &TestApi, app: &str, body: &Value) -> Answer {
    api.send("PUT", &format!("/api/v1/apps/{app}"), &JSON, body.to_string()).await
}

#[tokio::test]
async fn an_app_is_made_configured_and_published() {
    let api = TestApi::new().await;
    let made = put(&api, "shop", &json!({ "description": "Orders", "limits": { "fuel": 1000 } })).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/v1/apps/shop"));
    let app = made.json();
    assert_eq!((&app["limits"], &app["effective_limits"]["fuel"]), (&json!({ "fuel": 1000 }), &json!(1000)));
    assert_eq!(app["effective_limits"]["deadline_ms"], 10_000);
    assert_eq!(api.active.current().apps["shop"].limits.fuel, 1000);
    // What is not given is as if it had never been set, and an app without scripts is there, too.
    let tag = made.header("etag").to_owned();
    let again = api.send("PUT", "/api/v1/apps/shop", &[JSON[0], ("if-match", &tag)], "{}").await;
    assert_eq!((again.status, &again.json()["description"]), (200, &json!("")));
    assert_eq!(api.active.current().apps["shop"].limits.fuel, 500_000_000);
    let lost = api.send("PUT", "/api/v1/apps/shop", &[JSON[0], ("if-match", &tag)], "{}").await;
    lost.problem(412, "precondition-failed");
    let names: Vec<Value> = api.get("/api/v1/apps").await.json()["items"].as_array().unwrap().clone();
    assert_eq!(names.iter().map(|app| &app["name"]).collect::<Vec<_>>(), ["default", "shop"]);
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let api = TestApi::new().await;
    let refused = async |body: Value, reason: &str| {
        let problem = put(&api, "shop", &body).await.problem(422, "app-invalid");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    };
    refused(json!({ "limits": { "fuels": 1 } }), "there is no limit fuels").await;
    refused(json!({ "limits": { "fuel": 0 } }), "must be 1 to 500000000").await;
    refused(json!({ "limits": { "fuel": 500_000_001 } }), "which is the server's").await;
    refused(json!({ "limits": { "fuel": -1 } }), "invalid value").await;
    refused(json!({ "limit": {} }), "unknown field").await;
    refused(json!({ "description": "a\nb" }), "one line").await;
    refused(json!({ "description": "a".repeat(1001) }), "one line").await;
    refused(json!([]), "expected an object").await;
    refused(json!({ "quotas": [5] }), "expected an object").await;
    for name in ["api", "metrics", "livez", "readyz", "A", "_"] {
        put(&api, name, &json!({})).await.problem(400, "name-invalid");
    }
    api.get("/api/v1/apps/shop").await.problem(404, "app-not-found");
}

#[tokio::test]
async fn an_app_goes_when_it_is_named_twice_and_its_name_is_free() {
    let api = TestApi::new().await;
    put(&api, "shop", &json!({ "description": "old" })).await;
    let script = "/api/v1/apps/shop/scripts/a";
    assert_eq!(api.send("PUT", script, &[], "1").await.status, 201);
    for query in ["", "?confirm=", "?confirm=shopp", "?confirm=default"] {
        let path = format!("/api/v1/apps/shop{query}");
        api.send("DELETE", &path, &[], "").await.problem(400, "confirmation-missing");
    }
    assert_eq!(api.get(script).await.status, 200);
    assert_eq!(api.send("DELETE", "/api/v1/apps/shop?confirm=shop", &[], "").await.status, 204);
    assert!(!api.active.current().apps.contains_key("shop"));
    api.get(script).await.problem(404, "app-not-found");
    api.send("DELETE", "/api/v1/apps/shop?confirm=shop", &[], "").await.problem(404, "app-not-found");
    let made = put(&api, "shop", &json!({})).await;
    assert_eq!((made.status, &made.json()["description"]), (201, &json!("")));
    api.get(script).await.problem(404, "script-not-found");
}
