//! Canaries over REST.

use serde_json::{Value, json};

use super::fixture::{Answer, TestApi, script};

async fn put(api: &TestApi, body: &Value) -> Answer {
    let headers = [("content-type", "application/json")];
    api.send("PUT", &format!("{}/canary", script("a")), &headers, body.to_string()).await
}

/// The script `a` with two versions, of which the second is active.
async fn two_versions() -> TestApi {
    let api = TestApi::new().await;
    api.put("a", "1").await;
    api.put("a", "2").await;
    api
}

#[tokio::test]
async fn a_canary_says_what_holds_for_it() {
    let api = two_versions().await;
    api.get(&format!("{}/canary", script("a"))).await.problem(404, "canary-not-found");
    let made = put(&api, &json!({ "version": 1, "percent": 10 })).await;
    assert_eq!((made.status, made.header("location")), (201, "/api/v1/apps/default/scripts/a/canary"));
    let zero = json!({ "calls": 0, "failed": 0, "typical_fuel": null });
    assert_eq!(
        made.json(),
        json!({
            "version": 1, "active_version": 2, "percent": 10, "min_calls": 20, "max_faults_percent": 1.0,
            "max_fuel_percent": 20.0, "state": "running", "reason": null, "active_calls": zero, "canary_calls": zero,
            "started_at": "2023-11-14T22:13:20Z", "ended_at": null,
        })
    );
    let more = json!({
        "version": 1, "percent": 99, "min_calls": 5, "max_faults_percent": 0, "max_fuel_percent": null
    });
    let changed = put(&api, &more).await;
    assert_eq!(changed.status, 200);
    for (name, value) in more.as_object().unwrap() {
        assert_eq!(changed.json()[name].as_f64(), value.as_f64(), "{name}");
    }
    let first = api.get(&format!("{}/versions/1", script("a"))).await;
    assert_eq!(first.json()["canary_percent"], 99);
    assert!(first.header("etag").ends_with("-canary-99\""));
    assert_eq!(api.send("DELETE", &format!("{}/canary", script("a")), &[], "").await.status, 204);
    let ended = api.get(&format!("{}/canary", script("a"))).await.json();
    assert_eq!((&ended["state"], &ended["canary_calls"]), (&json!("stopped"), &zero));
    api.send("DELETE", &format!("{}/canary", script("a")), &[], "").await.problem(404, "canary-not-found");
}

#[tokio::test]
async fn what_cannot_be_a_canary_is_refused_and_says_why() {
    let api = two_versions().await;
    for (change, why) in [
        (json!({ "percent": 0 }), "percent"),
        (json!({ "percent": 100 }), "percent"),
        (json!({ "percent": -1 }), "invalid value"),
        (json!({ "percent": null }), "invalid type"),
        (json!({ "version": 2 }), "active one already"),
        (json!({ "version": "1" }), "invalid type"),
        (json!({ "min_calls": 4 }), "min_calls"),
        (json!({ "min_calls": 1_000_001 }), "min_calls"),
        (json!({ "max_faults_percent": 101 }), "max_faults_percent"),
        (json!({ "max_faults_percent": -0.1 }), "max_faults_percent"),
        (json!({ "max_fuel_percent": 1e300 }), "max_fuel_percent"),
        (json!({ "more": 1 }), "unknown field"),
    ] {
        let mut body = json!({ "version": 1, "percent": 10 });
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let problem = put(&api, &body).await.problem(422, "canary-invalid");
        assert!(problem["detail"].as_str().unwrap().contains(why), "{body} {problem}");
    }
    put(&api, &json!([1, 10])).await.problem(422, "canary-invalid");
    put(&api, &json!({ "version": 3, "percent": 10 })).await.problem(404, "version-not-found");
    let other = format!("{}/canary", script("b"));
    let body = json!({ "version": 1, "percent": 10 }).to_string();
    api.send("PUT", &other, &[("content-type", "application/json")], body)
        .await
        .problem(404, "script-not-found");
    api.get(&format!("{}/canary", script("a"))).await.problem(404, "canary-not-found");
    api.get(&format!("{}/canary", script("b"))).await.problem(404, "script-not-found");
    api.send("DELETE", &format!("{}/canary", script("b")), &[], "").await.problem(404, "script-not-found");
}
