//! Too much of what is stored: log lines, keys, values.

use picloud_tests::TestApp;

use super::{attack, check_calls, target};

async fn record(app: &TestApp, id: &str) -> serde_json::Value {
    let reply = app.get(&format!("/api/v1/apps/default/executions/{id}")).await;
    assert_eq!(reply.status, 200, "{reply}");
    reply.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_flood_is_cut_and_counted() {
    let app = target().await;
    let long = "let s = \"x\"; for i in 0..22 { s += s } for i in 0..20 { log::info(s) }";
    for (source, most_lines) in [
        ("for i in 0..5000 { print(\"x\") }", 256),
        ("for i in 0..5000 { log::warn(i, i) }", 256),
        ("for i in 0..5000 { debug(i) }", 256),
        (long, 8),
    ] {
        let reply = attack(&app, source).await;
        assert_eq!(reply.status, 204, "{source}: {reply}");
        let record = record(&app, reply.execution_id()).await;
        let dropped = record["log_dropped"].as_u64().unwrap_or_default();
        let lines = record["log"].as_array().map_or(0, Vec::len);
        assert!(
            dropped > 10 && (1..=most_lines).contains(&lines),
            "{source}: {lines} kept, {dropped} dropped"
        );
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kv_flood_fails_and_stores_nothing() {
    check_calls(&[
        ("for i in 0..1001 { kv::set(`k${i}`, i) }", 500, "script-error"),
        ("for i in 0..1001 { kv::get(`k${i}`) }", 500, "script-error"),
        ("for i in 0..1001 { kv::list(\"\") }", 500, "script-error"),
        ("let a = []; for i in 0..1001 { a.push(\"k\") } kv::get_many(a)", 500, "script-error"),
        ("let m = #{}; for i in 0..1001 { m[`k${i}`] = i } kv::set_many(m)", 500, "script-error"),
        ("let s = \"x\"; for i in 0..17 { s += s } for i in 0..100 { kv::set(`k${i}`, s) }", 500, "script-error"),
        ("let s = \"x\"; for i in 0..17 { s += s } for i in 0..100 { kv::set(\"k\", s) }", 500, "script-error"),
        ("kv::set(\"k0\", 1); loop {}", 500, "fuel-exhausted"),
        ("kv::set(\"k0\", 1); throw 1", 500, "script-threw"),
        ("kv::set(\"k0\", 1); |x| x", 500, "answer-invalid"),
        ("if kv::exists(\"k0\") || kv::exists(\"k1\") || kv::exists(\"k\") { throw \"something was stored\" } 1", 200, ""),
        ("if !kv::list(\"k\").entries.is_empty() { throw \"something was stored\" } 1", 200, ""),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_values_have_limits() {
    let long = "let s = \"x\"; for i in 0..20 { s += s }";
    let cases = [
        "kv::set(\"\", 1)".to_owned(),
        "kv::get(\"\")".to_owned(),
        format!("{long} kv::set(s, 1)"),
        format!("{long} kv::get(s)"),
        format!("{long} kv::delete(s)"),
        format!("{long} kv::incr(s)"),
        format!("{long} kv::get_many([s])"),
        format!("{long} kv::compare_and_swap(s, (), 1)"),
        format!("{long} kv::set(\"k\", s)"),
        format!("{long} kv::set(\"k\", s.to_blob())"),
        format!("{long} kv::compare_and_swap(\"k\", s, 1)"),
        format!("{long} kv::list(s)"),
        format!("{long} kv::list(\"\", 1, s)"),
        "kv::list(\"a\", 1, \"b\")".to_owned(),
        "kv::list(\"a\", 1, 5)".to_owned(),
        "kv::get_many([1])".to_owned(),
        "kv::set(\"k\", || 1)".to_owned(),
        "kv::set(\"k\", 0.0 / 0.0)".to_owned(),
        "kv::set(\"k\", req)".to_owned(),
        "kv::set(\"k\", \"x\"); kv::incr(\"k\")".to_owned(),
    ];
    let app = target().await;
    for source in &cases {
        let reply = attack(&app, source).await;
        let problem = reply.assert_problem(500, "script-error");
        assert_eq!(problem["position"]["line"], 1, "{source}: {reply}");
    }
    app.assert_healthy().await;
}

/// What a listing has looked at is kept until the commit, by the server and not by the sandbox.
#[tokio::test(flavor = "multi_thread")]
async fn huge_prefixes_are_not_collected() {
    let app = target().await;
    let source = "let s = \"x\"; for i in 0..20 { s += s } let n = 0; \
                  for i in 0..900 { try { kv::list(s) } catch { n += 1 } } n";
    let reply = attack(&app, source).await;
    assert_eq!((reply.status, reply.text()), (200, "900"), "{reply}");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_text_is_a_key() {
    let app = target().await;
    let source = r#"
        let keys = ["a\x00b", "a/b", "..", " ", "ä😀", "%2e", "\n", "a'b\"c;--", "_", "%"];
        for key in keys { kv::set(key, key); }
        for key in keys { if kv::get(key) != key { throw key; } }
        kv::list("").entries.len
    "#;
    let reply = attack(&app, source).await;
    assert_eq!((reply.status, reply.text()), (200, "10"), "{reply}");
    // The wildcards of SQL are ordinary characters.
    let reply = attack(&app, "[kv::list(\"_\").entries.len, kv::list(\"%\").entries.len]").await;
    assert_eq!(reply.text(), "[1,2]", "{reply}");
    app.assert_healthy().await;
}
