//! Secrets and configuration values: what scripts see of them, and that nobody else sees a secret.

mod command;
mod exposed;
mod keys;
mod nowhere;

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

const API: &str = "/api/v1/apps/default";

/// Set a secret of the app `default`, whatever comes of it.
async fn put_secret(app: &TestApp, name: &str, value: &str) -> Reply {
    let request = app.request("PUT", &format!("{API}/secrets/{name}")).header("content-type", "text/plain");
    Reply::of(request.body(value.to_owned())).await
}

async fn secret(app: &TestApp, name: &str, value: &str) {
    let reply = put_secret(app, name, value).await;
    assert!(reply.is_success(), "{reply}");
}

async fn config(app: &TestApp, name: &str, value: Value) {
    let reply = Reply::of(app.request("PUT", &format!("{API}/config/{name}")).json(&value)).await;
    assert!(reply.is_success(), "{reply}");
}

/// Deploy a script under this name and call it.
async fn run(app: &TestApp, source: &str) -> Reply {
    app.deploy("script", source.to_owned()).await;
    app.get("/default/script").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_reads_what_was_set_also_after_a_change_and_a_restart() {
    let mut app = TestApp::start().await;
    let hash = "crypto::sha256_hex(secrets::get(\"mail\"))";
    app.deploy("hash", format!("fn handle(req) {{ {hash} }}")).await;
    let first = app.get("/default/hash").await.assert_problem(500, "script-error");
    assert_eq!(first["detail"], "secrets: secret-not-found: the app has no secret \"mail\"");
    assert_eq!(put_secret(&app, "mail", "correct horse").await.status, 201);
    let of = async |app: &TestApp| app.get("/default/hash").await.text().to_owned();
    let correct_horse = of(&app).await;
    assert_eq!(put_secret(&app, "mail", "battery staple").await.status, 204);
    assert_ne!(of(&app).await, correct_horse);
    assert_eq!(put_secret(&app, "mail", "correct horse").await.status, 204);
    assert_eq!(of(&app).await, correct_horse);
    app.restart().await;
    assert_eq!(of(&app).await, correct_horse);
    let list = app.get(&format!("{API}/secrets")).await.json();
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert_eq!((&list["items"][0]["name"], &list["items"][0]["readable"]), (&json!("mail"), &json!(true)));
    assert_eq!(app.delete(&format!("{API}/secrets/mail")).await.status, 204);
    app.get("/default/hash").await.assert_problem(500, "script-error");
    app.delete(&format!("{API}/secrets/mail")).await.assert_problem(404, "secret-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_can_demand_what_it_replaces() {
    let app = TestApp::start().await;
    let send = async |method: &str, header: (&str, &str), value: &str| {
        let request = app.request(method, &format!("{API}/secrets/mail")).header(header.0, header.1);
        Reply::of(request.header("content-type", "text/plain").body(value.to_owned())).await
    };
    let length = async || run(&app, "fn handle(req) { secrets::get(\"mail\").len }").await.text().to_owned();
    let nothing = send("PUT", ("if-match", "*"), "correct horse").await;
    nothing.assert_problem(412, "precondition-failed");
    let made = send("PUT", ("if-none-match", "*"), "correct horse").await;
    assert_eq!(made.status, 201, "{made}");
    let first = made.header("etag").unwrap();
    send("PUT", ("if-none-match", "*"), "battery staple").await.assert_problem(412, "precondition-failed");
    let set = send("PUT", ("if-match", first), "correct horse").await;
    assert_eq!(set.status, 204, "{set}");
    let second = set.header("etag").unwrap();
    assert_ne!(first, second, "the tag of a value that was there before does not tell so");
    send("PUT", ("if-match", first), "battery staple").await.assert_problem(412, "precondition-failed");
    send("DELETE", ("if-match", first), "").await.assert_problem(412, "precondition-failed");
    send("PUT", ("if-match", "no tag"), "battery staple").await.assert_problem(400, "request-invalid");
    assert_eq!(length().await, "13", "nothing was lost");
    assert_eq!(send("DELETE", ("if-match", second), "").await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_can_be_caught_and_asked_for() {
    let app = TestApp::start().await;
    secret(&app, "there", "correct horse").await;
    let source = r#"fn handle(req) {
        let caught = "";
        try { secrets::get("nowhere"); } catch (error) { caught = error; }
        [secrets::has("there"), secrets::has("nowhere"), secrets::get("there").len, caught]
    }"#;
    let missing = "secrets: secret-not-found: the app has no secret \"nowhere\"";
    assert_eq!(run(&app, source).await.json(), json!([true, false, 13, missing]));
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_is_json_with_a_default() {
    let mut app = TestApp::start().await;
    config(&app, "limits", json!({ "rooms": ["a", "b"], "celsius": 21.5, "on": null })).await;
    config(&app, "large", json!(i64::MAX)).await;
    app.restart().await;
    let source = r#"fn handle(req) {
        let limits = config::get("limits");
        [limits.rooms[1], limits.celsius, limits.on, config::get("large"), config::get("none"),
         config::get("none", 5), config::get("large", 5)]
    }"#;
    assert_eq!(run(&app, source).await.json(), json!(["b", 21.5, null, i64::MAX, null, 5, i64::MAX]));
    let stored = app.get(&format!("{API}/config/limits")).await;
    assert_eq!(stored.header("content-type"), Some("application/json"));
    assert_eq!(stored.json()["rooms"], json!(["a", "b"]));
    assert_eq!(app.delete(&format!("{API}/config/limits")).await.status, 204);
    assert_eq!(run(&app, "config::get(\"limits\") == ()").await.text(), "true");
    app.get(&format!("{API}/config/limits")).await.assert_problem(404, "config-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_top_level_of_an_upload_reads_neither() {
    let app = TestApp::start().await;
    secret(&app, "there", "correct horse").await;
    for call in
        ["secrets::get(\"there\")", "secrets::has(\"there\")", "config::get(\"a\")", "config::get(\"a\", 1)"]
    {
        let upload = app.put_script("top", format!("const VALUE = {call}; fn handle(req) {{ VALUE }}")).await;
        let problem = upload.assert_problem(422, "top-level-failed");
        assert!(problem["detail"].as_str().unwrap().contains("the top level runs at upload"), "{problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_reads_a_bounded_number_of_secrets_and_each_as_often_as_it_likes() {
    let app = TestApp::start().await;
    for n in 0..33 {
        secret(&app, &format!("s{n}"), &format!("correct horse {n}")).await;
    }
    let source = r#"fn handle(req) {
        for n in 0..32 { secrets::get(`s${n}`); }
        for n in 0..100 { secrets::get("s0"); }
        try { secrets::get("s32"); } catch (error) { return error; }
    }"#;
    assert_eq!(run(&app, source).await.text(), "secrets: a call may read at most 32 secrets");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_event_that_has_read_a_secret_is_tried_again() {
    let app = TestApp::start().await;
    secret(&app, "there", "correct horse").await;
    let source = "fn on_event(event) { if secrets::get(\"there\") != \"battery staple\" { throw \"not yet\"; } \
                  kv::set(\"done\", 1); }";
    app.deploy("later", source).await;
    app.post(&format!("{API}/events?script=later&attempts=20"), "1").await;
    secret(&app, "there", "battery staple").await;
    let begun = std::time::Instant::now();
    while app.get(&format!("{API}/kv/done")).await.status != 200 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}
