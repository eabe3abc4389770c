//! A call that would show or write down a secret fails, and nothing of it stays.

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

use super::{API, run, secret};

/// With what JSON, URLs and Rust's `debug` write differently.
const SECRET: &str = "pä\"ss\\wörd & more\nin two lines";

async fn app() -> TestApp {
    let app = TestApp::start().await;
    secret(&app, "there", SECRET).await;
    app.deploy("ear", "fn on_event(event) {}").await;
    let path = format!("{API}/triggers/ear");
    let trigger = json!({ "kind": "topic", "topic": "#", "script": "ear" });
    let reply = Reply::of(app.request("PUT", &path).json(&trigger)).await;
    assert!(reply.is_success(), "{reply}");
    app
}

/// Everything that could show up: keys with their values, and events.
async fn left_behind(app: &TestApp) -> Value {
    let keys = app.get(&format!("{API}/kv")).await.json();
    let events = app.get(&format!("{API}/events")).await.json();
    json!([keys["items"], events["items"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_write_holds_a_secret() {
    let app = app().await;
    for (action, place) in [
        ("secret", "the body of the answer"),
        ("`before ${secret} after`", "the body of the answer"),
        ("#{ a: [1, #{ b: secret }] }", "the body of the answer"),
        ("json::stringify(json::stringify([secret]))", "the body of the answer"),
        ("blob(3, 255) + secret.to_blob()", "the body of the answer"),
        ("base64::encode(`user:${secret}`)", "the body of the answer"),
        ("base64::encode_url(secret)", "the body of the answer"),
        ("hex::encode(secret)", "the body of the answer"),
        ("url::encode_component(secret)", "the body of the answer"),
        ("url::build_query(#{ a: secret })", "the body of the answer"),
        ("html(secret)", "the body of the answer"),
        ("response(404, secret)", "the body of the answer"),
        ("response(200, \"\", #{ \"x-token\": url::encode_component(secret) })", "a header of the answer"),
        ("redirect(\"https://a.example/?\" + url::build_query(#{ a: secret }))", "a header of the answer"),
        ("kv::set(\"a\", secret); 1", "the value of a key"),
        ("kv::set(\"a\", #{ deep: [secret] }); 1", "the value of a key"),
        ("kv::set(\"a\", secret.to_blob()); 1", "the value of a key"),
        ("kv::set(secret, 1); 1", "a key"),
        ("kv::compare_and_swap(\"a\", (), secret); 1", "the value of a key"),
        ("triggers::emit(\"news\", #{ a: secret }); 1", "an event"),
        ("triggers::enqueue(\"ear\", secret); 1", "an event"),
        ("triggers::enqueue(\"ear\", 1, #{ dedupe_key: secret }); 1", "an event"),
        ("triggers::schedule(\"ear\", time::now() + 100_000, secret); 1", "an event"),
    ] {
        let source = format!(
            "fn handle(req) {{ kv::incr(\"calls\"); let secret = secrets::get(\"there\"); {action} }}"
        );
        let problem = run(&app, &source).await.assert_problem(500, "secret-exposed");
        let expected =
            format!("{place} would have held a secret that the call has read; nothing was changed");
        assert_eq!(problem["detail"], expected, "{action}");
        assert_eq!(problem["fault"], "script");
        assert_eq!(left_behind(&app).await, json!([[], []]), "{action}");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_can_be_used_without_being_shown() {
    let app = app().await;
    let source = r#"fn handle(req) {
        let secret = secrets::get("there");
        kv::set("tag", crypto::hmac_sha256_hex(secret, "message"));
        triggers::emit("news", #{ length: secret.len });
        crypto::equal(secret, "guess")
    }"#;
    assert_eq!(run(&app, source).await.text(), "false");
    // Who has not read it has nothing to hide: what is in the request came from outside.
    app.deploy("echo", "fn handle(req) { req.body }").await;
    assert_eq!(app.post("/default/echo", SECRET).await.text(), SECRET);
    app.deploy("has", "fn handle(req) { [secrets::has(\"there\"), req.body] }").await;
    assert_eq!(app.post("/default/has", SECRET).await.json(), json!([true, SECRET]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_tells_a_secret_tells_it_to_nobody() {
    let app = app().await;
    for (action, shown) in [
        ("throw secret", "[redacted]"),
        ("throw `no ${secret}!`", "no [redacted]!"),
        ("throw #{ status: 418, message: secret }", "[redacted]"),
        ("throw #{ a: [secret] }", "{\"a\":[\"[redacted]\"]}"),
        ("parse_int(secret)", "[redacted]"),
        ("triggers::enqueue(secret, 1)", "[redacted]"),
        ("hex::decode(secret)", ""),
        ("time::parse(secret)", "[redacted]"),
        ("url::parse(secret)", "[redacted]"),
        ("secrets::get(secret)", "[redacted]"),
        ("fs::read(secret)", ""),
        ("http::get(\"https://a.example/\", #{ headers: #{ a: secret } })", ""),
    ] {
        let source = format!("fn handle(req) {{ let secret = secrets::get(\"there\"); {action} }}");
        let reply = run(&app, &source).await;
        assert!(reply.status >= 400, "{action}: {reply}");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(shown), "{action}: {detail}");
        for part in ["ss\\wö", "wörd", "two lines"] {
            assert!(!detail.contains(part), "{action}: {detail}");
        }
        let record = app.get(&format!("{API}/executions/{}", reply.execution_id())).await;
        assert_eq!(record.json()["message"], detail, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_a_cut_goes_through_leaves_nothing_behind() {
    let app = TestApp::builder().limits(|limits| limits.log_bytes = 1 << 20).start().await;
    let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ".repeat(3);
    secret(&app, "long", &long).await;
    // Lines are cut at 8192 bytes, messages at 4096, excerpts in errors of functions at 40 characters.
    let source = r#"fn handle(req) {
        let secret = secrets::get("long");
        for before in [8100, 8180, 8185, 8190] {
            let line = "";
            line.pad(before, "-");
            log::info(line + secret);
            log::info(line + base64::encode(secret));
        }
        try { time::parse(secret); } catch (error) { log::info(error); }
        try { triggers::enqueue(secret, 1); } catch (error) { log::info(error); }
        try { secrets::get(secret); } catch (error) { log::info(error); }
        let message = "";
        message.pad(4050, "-");
        throw message + secret;
    }"#;
    let reply = run(&app, source).await;
    assert_eq!(reply.problem_code(), "script-threw");
    let record = app.get(&format!("{API}/executions/{}", reply.execution_id())).await;
    assert_eq!(record.json()["log"].as_array().unwrap().len(), 11, "{record}");
    for text in [reply.text(), record.text()] {
        assert!(text.contains("[redacted]"));
        assert!(!text.contains("01234") && !text.contains("MDEyMz"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_whose_handler_would_write_a_secret_down_dies_without_it() {
    let app = app().await;
    let source = "fn on_event(event) { kv::set(\"a\", secrets::get(\"there\")); }";
    app.deploy("careless", source).await;
    app.post(&format!("{API}/events?script=careless&attempts=1"), "1").await;
    let begun = std::time::Instant::now();
    let dead = loop {
        let dead = app.get(&format!("{API}/events?state=dead")).await.json();
        if dead["items"][0].is_object() {
            break dead["items"][0].clone();
        }
        assert!(begun.elapsed() < std::time::Duration::from_secs(20));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!(dead["failure"]["code"], "secret-exposed");
    assert_eq!(app.get(&format!("{API}/kv")).await.json()["items"], json!([]));
}
