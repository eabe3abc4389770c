//! The policy for requests to other servers: read, replaced, refused.

use serde_json::{Value, json};

use super::fixture::{Answer, TestApi};

const PATH: &str = "/api/v1/apps/default/http-policy";

async fn put(api: &TestApi, policy: &Value) -> Answer {
    api.send("PUT", PATH, &[("content-type", "application/json")], policy.to_string()).await
}

#[tokio::test]
async fn an_app_begins_with_a_policy_that_allows_nothing() {
    let api = TestApi::new().await;
    let answer = api.get(PATH).await;
    assert_eq!(answer.json(), json!({ "rules": [] }));
    let tag = answer.header("etag").to_owned();
    assert_eq!(api.send("GET", PATH, &[("if-none-match", &tag)], "").await.status, 304);
    api.get("/api/v1/apps/other/http-policy").await.problem(404, "app-not-found");
}

#[tokio::test]
async fn a_policy_is_given_back_as_it_is_compared_and_published() {
    let api = TestApi::new().await;
    let policy = json!({ "rules": [
        { "hosts": ["API.Example.org.", "*.bücher.example", "127.1"], "methods": ["get"] },
        { "hosts": ["db.lan"], "schemes": ["http", "https"], "ports": [8080], "private": true },
    ] });
    let answer = put(&api, &policy).await;
    let expected = json!({ "rules": [
        { "hosts": ["api.example.org", "*.xn--bcher-kva.example", "127.0.0.1"], "schemes": ["https"], "ports": [],
          "methods": ["GET"], "private": false, "callbacks": false },
        { "hosts": ["db.lan"], "schemes": ["http", "https"], "ports": [8080], "methods": [], "private": true,
          "callbacks": false },
    ] });
    assert_eq!(answer.json(), expected);
    let read = api.get(PATH).await;
    assert_eq!((read.json(), read.header("etag")), (expected, answer.header("etag")));
    let set = api.active.current();
    assert_eq!(set.apps["default"].http.rules[1].ports, [8080]);
}

#[tokio::test]
async fn a_change_can_demand_what_it_replaces() {
    let api = TestApi::new().await;
    let tag = api.get(PATH).await.header("etag").to_owned();
    let put = async |host: &str| {
        let body = json!({ "rules": [{ "hosts": [host] }] }).to_string();
        api.send("PUT", PATH, &[("content-type", "application/json"), ("if-match", &tag)], body).await
    };
    assert_eq!(put("a.org").await.status, 200);
    put("b.org").await.problem(412, "precondition-failed");
    assert_eq!(api.get(PATH).await.json()["rules"][0]["hosts"], json!(["a.org"]));
}

#[tokio::test]
async fn what_is_no_policy_is_refused_and_says_why() {
    let api = TestApi::new().await;
    for (policy, reason) in [
        (json!([]), "expected an object"),
        (json!({ "rules": [[["a"]]] }), "expected an object"),
        (json!({}), "missing field `rules`"),
        (json!({ "rules": [], "more": 1 }), "unknown field `more`"),
        (json!({ "rules": [{ "hosts": ["a"], "privat": true }] }), "unknown field `privat`"),
        (json!({ "rules": [{ "hosts": ["a"], "ports": [65536] }] }), "65536"),
        (json!({ "rules": [{ "hosts": ["a"], "schemes": ["ftp"] }] }), "unknown variant `ftp`"),
        (json!({ "rules": [{ "hosts": ["a"] }, { "hosts": [] }] }), "Rule 2: It needs a host"),
        (json!({ "rules": [{ "hosts": ["http://a"] }] }), "Rule 1: `http://a` is no host."),
        (json!({ "rules": vec![json!({ "hosts": ["a"] }); 65] }), "65 rules"),
    ] {
        let problem = put(&api, &policy).await.problem(422, "policy-invalid");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{policy}: {problem}");
    }
    let send = async |media_type: &str, body: String| {
        api.send("PUT", PATH, &[("content-type", media_type)], body).await
    };
    send("text/plain", "{\"rules\":[]}".into()).await.problem(415, "media-type-unsupported");
    send("application/json", "{".into()).await.problem(422, "policy-invalid");
    send("application/json", " ".repeat((64 << 10) + 1)).await.problem(413, "body-too-large");
    assert_eq!(api.get(PATH).await.json(), json!({ "rules": [] }));
    assert_eq!(send("application/json; charset=utf-8", "{\"rules\":[]}".into()).await.status, 200);
}
