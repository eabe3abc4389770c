//! Keys and values over REST, and together with the scripts that use them.

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

const LIST: &str = "/api/v1/apps/default/kv";

/// The address of a key.
fn key(key: &str) -> String {
    let escaped = key.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    format!("{LIST}/{}", escaped.collect::<String>())
}

async fn put(app: &TestApp, path: &str, media_type: &str, body: impl Into<reqwest::Body>) -> Reply {
    Reply::of(app.request("PUT", path).header("content-type", media_type).body(body)).await
}

async fn put_json(app: &TestApp, name: &str, value: &str) -> Reply {
    put(app, &key(name), "application/json", value.to_owned()).await
}

fn keys(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["key"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_and_rest_see_the_same_values() {
    let app = TestApp::start().await;
    app.deploy("read", "let v = kv::get(req.query.key); [type_of(v), v]").await;
    app.deploy(
        "write",
        "kv::set(\"map\", #{b: 1.5, a: [()]}); kv::set(\"bytes\", blob(3, 0xff)); kv::set(\"text\", \"x\")",
    )
    .await;
    assert_eq!(app.get("/default/write").await.status, 204);
    assert_eq!(app.get(&key("map")).await.text(), "{\"a\":[null],\"b\":1.5}");
    let bytes = app.get(&key("bytes")).await;
    assert_eq!(
        (bytes.header("content-type"), &*bytes.body),
        (Some("application/octet-stream"), &[255; 3][..])
    );
    assert_eq!(app.get(&key("text")).await.text(), "\"x\"");

    assert_eq!(put_json(&app, "n", " 41 ").await.status, 201);
    assert_eq!(app.get("/default/read?key=n").await.json(), json!(["i64", 41]));
    assert_eq!(put(&app, &key("raw"), "application/octet-stream", vec![0, 255]).await.status, 201);
    assert_eq!(app.get("/default/read?key=raw").await.json(), json!(["blob", "AP8="]));
    assert_eq!(app.delete(&key("n")).await.status, 204);
    assert_eq!(app.get("/default/read?key=n").await.json(), json!(["()", null]));
    app.get(&key("n")).await.assert_problem(404, "key-not-found");
    app.delete(&key("n")).await.assert_problem(404, "key-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_survive_a_restart() {
    let mut app = TestApp::start().await;
    app.deploy("count", "kv::incr(\"count\")").await;
    for n in 1..=5 {
        assert_eq!(app.get("/default/count").await.text(), n.to_string());
    }
    put(&app, &format!("{}?ttl_ms=1", key("short")), "application/json", "1").await;
    let tag = put_json(&app, "kept", "[1]").await.header("etag").unwrap().to_owned();
    app.restart().await;
    assert_eq!(app.get("/default/count").await.text(), "6");
    assert_eq!(app.get(&key("kept")).await.header("etag"), Some(&*tag));
    app.get(&key("short")).await.assert_problem(404, "key-not-found");
    // Numbers of commits go on: an old tag must not match a new value.
    assert_ne!(put_json(&app, "kept", "[1]").await.header("etag"), Some(&*tag));
}

/// Every call adds one, all at the same time: none may be lost.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_calls_lose_no_update() {
    let app = TestApp::start().await;
    app.deploy("add", "kv::set(\"sum\", kv::get(\"sum\", 0) + 1)").await;
    let add = async || {
        let mut added = 0;
        for _ in 0..25 {
            let reply = app.get("/default/add").await;
            // A call that always lost says so, and has changed nothing.
            if reply.status == 204 { added += 1 } else { _ = reply.assert_problem(503, "kv-conflict") }
        }
        added
    };
    let added: u64 = futures_util::future::join_all((0..8).map(|_| add())).await.iter().sum();
    assert!(added >= 190, "only {added} of 200 succeeded");
    assert_eq!(app.get(&key("sum")).await.json(), added);
}

#[tokio::test(flavor = "multi_thread")]
async fn preconditions_over_rest_meet_writes_of_scripts() {
    let app = TestApp::start().await;
    app.deploy("bump", "kv::incr(\"n\")").await;
    app.get("/default/bump").await;
    let tag = app.get(&key("n")).await.header("etag").unwrap().to_owned();
    let replace = async || {
        let request = app.request("PUT", &key("n")).header("content-type", "application/json");
        Reply::of(request.header("if-match", &tag).body("100")).await
    };
    app.get("/default/bump").await;
    replace().await.assert_problem(412, "precondition-failed");
    assert_eq!(app.get("/default/bump").await.text(), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_in_byte_order_page_by_page() {
    let app = TestApp::start().await;
    let mut names =
        vec!["p/", "p/a", "p/a/b", "p/aa", "p/B", "p/\u{e9}", "p/\u{ffff}", "p/\u{10000}", "p/%", "p/\0"];
    for name in names.iter().chain(&["o", "p", "p0", "q"]) {
        assert_eq!(put_json(&app, name, "1").await.status, 201, "{name:?}");
    }
    names.sort_unstable();
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("{LIST}?prefix=p%2F&limit=3{cursor}")).await.json();
        assert!(page["items"].as_array().unwrap().len() <= 3);
        seen.extend(keys(&page).into_iter().map(str::to_owned));
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, names);
    assert_eq!(keys(&app.get(LIST).await.json()).len(), names.len() + 4);
    assert_eq!(keys(&app.get(&format!("{LIST}?prefix=nothing")).await.json()), Vec::<&str>::new());
    for query in ["limit=0", "limit=1001", "limit=x", "cursor=%25", "prefix=p&cursor=cQ", "prefixes=p"] {
        app.get(&format!("{LIST}?{query}")).await.assert_problem(400, "query-invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_to_live_ends_for_everyone() {
    let app = TestApp::start().await;
    app.deploy("read", "[kv::get(\"short\"), kv::exists(\"short\"), kv::list(\"\").entries.len]").await;
    let path = format!("{}?ttl_ms=1000", key("short"));
    assert_eq!(put(&app, &path, "application/json", "1").await.status, 201);
    assert!(app.get(&key("short")).await.header("picloud-expires-at").is_some());
    assert_eq!(app.get("/default/read").await.json(), json!([1, true, 1]));
    tokio::time::sleep(std::time::Duration::from_millis(1050)).await;
    app.get(&key("short")).await.assert_problem(404, "key-not-found");
    assert_eq!(app.get("/default/read").await.json(), json!([null, false, 0]));
    assert_eq!(keys(&app.get(LIST).await.json()), Vec::<&str>::new());
    for query in ["ttl_ms=0", "ttl_ms=-1", "ttl_ms=99999999999999999999", "ttl=1"] {
        put(&app, &format!("{}?{query}", key("a")), "application/json", "1")
            .await
            .assert_problem(400, "query-invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_keys_are_keys_or_refused() {
    let app = TestApp::start().await;
    app.deploy("read", "kv::get(req.body)").await;
    let long = "k".repeat(512);
    let names = [
        "/",
        "a/../b",
        "a%2Fb",
        "a b+c?d#e",
        "'; drop table kv; --",
        "%00",
        "\0",
        "\r\nx: y",
        "\u{202e}",
        "..;",
        &long,
    ];
    for (number, name) in names.iter().enumerate() {
        assert_eq!(put_json(&app, name, &number.to_string()).await.status, 201, "{name:?}");
    }
    for (number, name) in names.iter().enumerate() {
        assert_eq!(app.get(&key(name)).await.text(), number.to_string(), "{name:?}");
        assert_eq!(
            app.post("/default/read", (*name).to_owned()).await.text(),
            number.to_string(),
            "{name:?}"
        );
    }
    for method in ["GET", "PUT", "DELETE"] {
        let call = async |path: &str| {
            let request = app.request(method, path).header("content-type", "application/json");
            Reply::of(request.body("1")).await
        };
        call(&key(&format!("{long}k"))).await.assert_problem(400, "kv-key-invalid");
        call(&format!("{LIST}/%FF")).await.assert_problem(400, "request-invalid");
        call(&format!("{LIST}/a/b")).await.assert_problem(404, "route-not-found");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_refused_count_as_operations_whatever_is_done_with_them() {
    let app = TestApp::builder().limits(|limits| limits.kv_operations = 10).start().await;
    for call in ["get(\"\")", "get_many([\"\"])", "set(\"\", 1)", "delete(\"\")", "incr(\"\")"] {
        let source = "let n = 0; loop { try { kv::CALL; } catch (e) { n += 1; if n == 11 { return e; } } }";
        app.deploy("refused", source.replace("CALL", call)).await;
        let told = app.get("/default/refused").await;
        assert_eq!(told.text(), "kv: a call may do at most 10 operations", "{call}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_values_are_refused() {
    let app = TestApp::start().await;
    let deep = "[".repeat(1000) + &"]".repeat(1000);
    for value in ["", "{", "1 2", "NaN", "1e999", "\"\\ud800\"", &deep] {
        put_json(&app, "a", value).await.assert_problem(422, "kv-value-invalid");
    }
    put(&app, &key("a"), "application/json", vec![b'"', 0xff, b'"'])
        .await
        .assert_problem(422, "kv-value-invalid");
    let large = vec![0; (256 << 10) + 1];
    put(&app, &key("a"), "application/octet-stream", large).await.assert_problem(413, "kv-value-too-large");
    for media_type in ["text/plain", "application/x-www-form-urlencoded", "+json", ""] {
        put(&app, &key("a"), media_type, "1").await.assert_problem(415, "media-type-unsupported");
    }
    app.get(&key("a")).await.assert_problem(404, "key-not-found");
    app.assert_healthy().await;
}
