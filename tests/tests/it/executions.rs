//! Every call is recorded, with what it cost and why it failed.

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

const LIST: &str = "/api/v1/apps/default/executions";

async fn record(app: &TestApp, reply: &Reply) -> Value {
    app.get(&format!("{LIST}/{}", reply.execution_id())).await.json()
}

/// The ids of the executions on all pages, newest first.
async fn ids(app: &TestApp, query: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = app.get(&format!("{LIST}?{query}{cursor}")).await.json();
        ids.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["next_cursor"].as_str() else { return ids };
        cursor = format!("&cursor={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_recorded_as_soon_as_it_is_answered() {
    let app = TestApp::start().await;
    app.deploy("a", "log::info(\"one\"); log::warn(\"two\", #{n: 2}); kv::incr(\"n\"); \"ok\"").await;
    let request = app.request("PATCH", "/default/a/below?secret=1").header("x-request-id", "mine");
    let reply = Reply::of(request).await;
    let found = record(&app, &reply).await;
    for (name, expected) in [
        ("id", json!(reply.execution_id())),
        ("root_id", json!(reply.execution_id())),
        ("trigger_depth", json!(0)),
        ("app", json!("default")),
        ("script", json!("a")),
        ("version", json!(1)),
        ("trigger", json!("http")),
        ("status", json!(200)),
        ("fault", json!(null)),
        ("code", json!(null)),
        ("position", json!(null)),
        ("fuel", json!(reply.fuel())),
        ("reruns", json!(0)),
        ("method", json!("PATCH")),
        ("path", json!("/below")),
        ("request_id", json!("mine")),
        ("log_dropped", json!(0)),
    ] {
        assert_eq!(found[name], expected, "{name} in {found}");
    }
    assert!(
        found["memory_bytes"].as_u64() > Some(64 << 10) && found["memory_bytes"].as_u64() < Some(64 << 20),
        "{found}"
    );
    assert!(found["sandbox_us"].as_u64() > Some(0) && found["commit_us"].as_u64() > Some(0), "{found}");
    let log: Vec<_> =
        found["log"].as_array().unwrap().iter().map(|line| (&line["level"], &line["message"])).collect();
    assert_eq!(log, [(&json!("info"), &json!("one")), (&json!("warn"), &json!("two {\"n\":2}"))]);
    assert!(!found.to_string().contains("secret"), "queries are not recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_is_recorded_with_its_fault_and_place() {
    let app = TestApp::builder()
        .limits(|limits| (limits.fuel, limits.deadline_ms) = (50_000_000, 2000))
        .start()
        .await;
    let source = "switch req.path {\n \"/index\" => [1][1],\n \"/throw\" => throw \"no\",\n \"/missing\" => throw #{status: 404, message: \"none\"},\n \"/loop\" => { loop {} }\n}";
    app.deploy("a", source).await;
    for (path, status, fault, code, line) in [
        ("/index", 500, json!("script"), "script-error", json!(2)),
        ("/throw", 500, json!("script"), "script-threw", json!(3)),
        ("/missing", 404, json!(null), "script-threw", json!(4)),
        ("/loop", 500, json!("limit"), "fuel-exhausted", json!(null)),
    ] {
        let reply = app.get(&format!("/default/a{path}")).await;
        let problem = reply.assert_problem(status, code);
        let found = record(&app, &reply).await;
        assert_eq!(
            (&found["status"], &found["fault"], &found["code"]),
            (&json!(status), &fault, &json!(code))
        );
        assert_eq!(found["position"]["line"], line, "{found}");
        assert_eq!(
            (&found["message"], &found["position"]),
            (&problem["detail"], problem.get("position").unwrap_or(&json!(null)))
        );
        assert_eq!(found["fuel"], reply.fuel());
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_not_recorded() {
    let app = TestApp::start().await;
    app.get("/default/nothing").await.assert_problem(404, "route-not-found");
    app.put_script("bad", "(").await.assert_problem(422, "compile-failed");
    assert_eq!(ids(&app, "").await, Vec::<String>::new());
    for id in ["01981a3c-5f7e-7c3a-9b1d-2f6e8a4c0d17", "x", "..", "%00"] {
        let reply = app.get(&format!("{LIST}/{id}x")).await;
        reply.assert_problem(404, "execution-not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_filtered_and_read_page_by_page() {
    let mut app = TestApp::start().await;
    app.deploy(
        "a",
        "if req.path == \"/fail\" { throw \"x\" } if req.path == \"/404\" { throw #{status: 404} } 1",
    )
    .await;
    app.deploy("b", "2").await;
    let mut calls = Vec::new();
    for path in ["a", "a/fail", "b", "a/404", "a", "b"] {
        calls.push(app.get(&format!("/default/{path}")).await.execution_id().to_owned());
    }
    // Every write to the database is behind us now, so this is about what was kept.
    app.restart().await;
    let some = |numbers: &[usize]| numbers.iter().map(|n| calls[*n].clone()).collect::<Vec<_>>();
    for (query, expected) in [
        ("limit=4", &[5, 4, 3, 2, 1, 0][..]),
        ("limit=1&order=asc", &[0, 1, 2, 3, 4, 5]),
        ("script=a&limit=1", &[4, 3, 1, 0]),
        ("script=nothing", &[]),
        ("status=500", &[1]),
        ("status=4xx", &[3]),
        ("status=2xx&script=b", &[5, 2]),
        ("fault=any", &[1]),
        ("fault=none", &[5, 4, 3, 2, 0]),
        ("code=script-threw", &[3, 1]),
        ("version=1&trigger=http", &[5, 4, 3, 2, 1, 0]),
        ("trigger=event", &[]),
        ("from=2000-01-01T00:00:00Z&to=2001-01-01T00:00:00Z", &[]),
        ("from=2000-01-01T00:00:00Z", &[5, 4, 3, 2, 1, 0]),
        (&format!("root={}", calls[2]), &[2]),
    ] {
        assert_eq!(ids(&app, query).await, some(expected), "{query}");
    }
    for query in [
        "status=abc",
        "status=6xx",
        "fault=mine",
        "code=x",
        "limit=0",
        "limit=201",
        "cursor=x",
        "from=x",
        "other=1",
    ] {
        app.get(&format!("{LIST}?{query}")).await.assert_problem(400, "query-invalid");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_sum_up_the_calls_of_a_script() {
    let app = TestApp::start().await;
    app.deploy(
        "a",
        "if req.path == \"/fail\" { throw \"x\" } if req.path == \"/much\" { for i in 0..5000 { } } 1",
    )
    .await;
    let cheap = app.get("/default/a").await.fuel();
    for _ in 1..20 {
        assert_eq!(app.get("/default/a").await.fuel(), cheap);
    }
    let dear = app.get("/default/a/much").await.fuel();
    let failed = app.get("/default/a/fail").await.fuel();
    app.deploy("a", "2").await;
    let second = app.get("/default/a").await.fuel();

    let metrics = app.get("/api/v1/apps/default/scripts/a/metrics").await.json();
    let total = &metrics["total"];
    assert_eq!(
        (&total["calls"], &total["faults"]),
        (&json!(23), &json!({"script": 1, "limit": 0, "platform": 0}))
    );
    let near = |value: &Value, expected: u64| value.as_u64().unwrap().abs_diff(expected) * 100 <= expected;
    assert!(near(&total["fuel"]["p50"], cheap), "{metrics}");
    assert!(near(&total["fuel"]["p99"], dear), "{metrics}");
    assert_eq!(total["fuel"]["max"], dear);
    assert_eq!(total["fuel"]["mean"], (20 * cheap + dear + failed + second) / 23);
    for name in ["memory_bytes", "duration_us"] {
        let cost = |what: &str| total[name][what].as_u64().unwrap();
        assert!(
            0 < cost("p50") && cost("p50") <= cost("p95") && cost("p95") <= cost("p99"),
            "{name}: {metrics}"
        );
        assert!(cost("p99") <= cost("max") + cost("max") / 100, "{name}: {metrics}");
    }
    let versions: Vec<_> =
        metrics["versions"].as_array().unwrap().iter().map(|v| (&v["version"], &v["calls"])).collect();
    assert_eq!(versions, [(&json!(1), &json!(22)), (&json!(2), &json!(1))], "{metrics}");
    let by_minute: u64 =
        metrics["minutes"].as_array().unwrap().iter().map(|m| m["calls"].as_u64().unwrap()).sum();
    assert_eq!(by_minute, 23, "{metrics}");
    app.get("/api/v1/apps/default/scripts/nothing/metrics").await.assert_problem(404, "script-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_followed_across_calls() {
    let app = TestApp::start().await;
    app.deploy("a", "log::info(`hello ${req.query.n}`); log::warn(\"detail\"); if req.query.n == \"2\" { throw \"broken\" }").await;
    let logs = "/api/v1/apps/default/logs";
    app.get("/default/a?n=1").await;
    let first = app.get(logs).await.json();
    let messages = |page: &Value| {
        let lines = page["items"].as_array().unwrap().iter();
        lines
            .map(|line| format!("{} {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap()))
            .collect::<Vec<_>>()
    };
    assert_eq!(messages(&first), ["info hello 1", "warn detail"]);
    let after = first["next_after"].as_str().unwrap().to_owned();
    assert_eq!(messages(&app.get(&format!("{logs}?after={after}")).await.json()), Vec::<String>::new());
    // Whoever waits gets the lines of the next call.
    let path = format!("{logs}?after={after}&wait_ms=10000&level=info");
    let (next, reply) = futures_util::future::join(app.get(&path), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        app.get("/default/a?n=2").await
    })
    .await;
    let next = next.json();
    assert_eq!(messages(&next), ["info hello 2", "warn detail", "error broken"]);
    assert_eq!(
        (&next["items"][2]["code"], &next["items"][2]["execution_id"]),
        (&json!("script-threw"), &json!(reply.execution_id()))
    );
}
