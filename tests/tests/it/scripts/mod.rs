//! Scripts that call scripts, through the real sandbox.

mod limits;
mod slots;
mod transaction;

use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};

/// Deploy a script and call it.
async fn run(app: &TestApp, source: &str) -> Reply {
    app.deploy("caller", source.to_owned()).await;
    app.get("/default/caller").await
}

/// What a script catches when it does this.
async fn caught(app: &TestApp, call: &str) -> String {
    let reply = run(app, &format!("try {{ {call}; return \"nothing\"; }} catch (e) {{ return e; }}")).await;
    reply.text().to_owned()
}

/// The records of a script's executions, the newest first.
async fn executions(app: &TestApp, script: &str) -> Vec<Value> {
    let page = app.get(&format!("/api/v1/apps/default/executions?script={script}&limit=200")).await.json();
    page["items"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_gets_a_request_and_its_answer_is_a_response() {
    let app = TestApp::start().await;
    let echo = r#"fn handle(req) {
        let headers = #{ "X-Test": "1" };
        response(201, #{
            method: req.method, path: req.path, query: req.query, body: req.body, x: req.headers.x,
            type: req.headers["content-type"], ip: req.client_ip, id: req.id, depth: ctx.trigger_depth,
        }, headers)
    }"#;
    app.deploy("echo", echo).await;
    let source = r#"
        let r = scripts::invoke("echo");
        [r.status, r.ok, r.headers["x-test"], r.url, r.json.id == req.id, r.json]"#;
    let plain = json!({
        "method": "GET", "path": "/", "query": {}, "body": "", "x": null, "type": null, "ip": null, "depth": 1,
    });
    let mut answer = run(&app, source).await.json();
    answer[5].as_object_mut().unwrap().remove("id");
    assert_eq!(answer, json!([201, true, "1", "/echo", true, plain]));
    for (call, expected) in [
        (r#""echo", #{a: [1]}"#, json!(["POST", "/", {}, "{\"a\":[1]}", null, "application/json"])),
        (r#""echo", "é""#, json!(["POST", "/", {}, "é", null, "text/plain; charset=utf-8"])),
        (
            r#""echo", (), #{method: "put", path: "/a%20b", query: #{q: "x y"}, headers: #{x: 5}}"#,
            json!(["PUT", "/a%20b", {"q": "x y"}, "", "5", null]),
        ),
    ] {
        let source =
            format!("let r = scripts::invoke({call}).json; [r.method, r.path, r.query, r.body, r.x, r.type]");
        assert_eq!(run(&app, &source).await.json(), expected, "{call}");
    }
    // The whole script as a handler, and bytes.
    app.deploy("bytes", "blob(3, 255)").await;
    let read =
        r#"let r = scripts::invoke("bytes"); let m = ""; try { r.body } catch (e) { m = e } [r.blob.len, m]"#;
    let message = "scripts: the response's body is not UTF-8: use its blob";
    assert_eq!(run(&app, read).await.json(), json!([3, message]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_called_is_said() {
    let app = TestApp::start().await;
    app.deploy("events-only", "fn on_event(event) {}").await;
    app.deploy("well", "1").await;
    for (call, expected) in [
        (r#"scripts::invoke("nobody")"#, "scripts: there is no script nobody"),
        (r#"scripts::invoke("")"#, "scripts: there is no script "),
        (r#"scripts::invoke("../well")"#, "scripts: there is no script ../well"),
        (r#"scripts::invoke("events-only")"#, "scripts: the script events-only has no function handle"),
        (r#"scripts::invoke("well", (), #{path: "no-slash"})"#, "scripts: the path cannot be sent"),
        (r#"scripts::invoke("well", (), #{path: "/a?b"})"#, "scripts: the path cannot be sent"),
        (r#"scripts::invoke("well", (), #{path: "/ü"})"#, "scripts: the path cannot be sent"),
        (r#"scripts::invoke("well", (), #{query: "a b"})"#, "scripts: the query cannot be sent"),
        (r#"scripts::invoke("well", (), #{method: "A B"})"#, "scripts: the method cannot be sent"),
        (
            r#"scripts::invoke("well", (), #{headers: #{x: "a\r\nb: c"}})"#,
            "scripts: the headers cannot be sent",
        ),
        (r#"scripts::invoke("well", (), #{pth: "/"})"#, "scripts: there is no option `pth`"),
    ] {
        assert!(caught(&app, call).await.starts_with(expected), "{call}: {}", caught(&app, call).await);
    }
    let source = "const A = scripts::invoke(\"well\"); fn handle(req) { 1 }";
    let problem = app.put_script("top", source).await.assert_problem(422, "top-level-failed");
    assert!(problem["detail"].as_str().unwrap().contains("no script can be called"), "{problem}");
    // An error that nobody catches says where it was.
    let reply = run(&app, "let a = 1;\n  scripts::invoke(\"nobody\")").await;
    reply.assert_problem(500, "script-error");
    assert_eq!(reply.json()["position"], json!({ "line": 2, "column": 12 }), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_is_thrown_is_an_answer_and_any_other_failure_an_error() {
    let app = TestApp::start().await;
    app.deploy("picky", "throw #{status: 404, message: \"no such thing\"}").await;
    let source = "let r = scripts::invoke(\"picky\"); [r.status, r.ok, r.headers[\"content-type\"], r.json.detail, r.json.code]";
    let expected = json!([404, false, "application/problem+json", "no such thing", "script-threw"]);
    assert_eq!(run(&app, source).await.json(), expected);
    for (source, expected) in [
        ("let a = 1;\n  a.b", "scripts: callee failed with script-error: "),
        ("throw \"enough\"", "scripts: callee failed with script-threw: enough (line 1, column 1)"),
        ("response(200, 1, #{x: \"\\n\"})", "scripts: callee failed with script-error: the header"),
        ("let f = |f| f.call(f); f.call(f)", "scripts: callee failed with stack-exhausted: "),
    ] {
        app.deploy("callee", source).await;
        let message = caught(&app, "scripts::invoke(\"callee\")").await;
        assert!(message.starts_with(expected), "{message}");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_call_has_its_own_record_in_one_trace() {
    let app = TestApp::start().await;
    app.deploy("leaf", "log::info(`leaf ${req.query.n}`); throw #{status: 418, message: \"short\"}").await;
    app.deploy("middle", "scripts::invoke(\"leaf\", (), #{path: \"/p\", query: `n=${req.query.n}`}).status")
        .await;
    let source = "scripts::invoke(\"middle\", (), #{query: \"n=1\"}); scripts::invoke(\"middle\", (), #{query: \"n=2\"}); ()";
    let reply = run(&app, source).await;
    assert_eq!(reply.status, 204, "{reply}");
    let root = reply.execution_id();
    let trace = app.get(&format!("/api/v1/apps/default/traces/{root}")).await.json();
    let caller = &trace["roots"][0];
    let mut fuel = caller["execution"]["fuel"].as_u64().unwrap();
    assert_eq!(caller["children"].as_array().unwrap().len(), 2, "{trace}");
    for (n, middle) in caller["children"].as_array().unwrap().iter().enumerate() {
        let (leaf, middle) = (&middle["children"][0]["execution"], &middle["execution"]);
        let seen =
            |of: &Value| json!([of["script"], of["trigger"], of["trigger_depth"], of["status"], of["code"]]);
        assert_eq!(seen(middle), json!(["middle", "call", 1, 200, null]));
        assert_eq!(seen(leaf), json!(["leaf", "call", 2, 418, "script-threw"]));
        assert_eq!((&leaf["path"], &leaf["fault"]), (&json!("/p"), &Value::Null), "{leaf}");
        assert!(
            leaf["sandbox_us"].as_u64().or(leaf["duration_us"].as_u64()).is_none_or(|us| us > 0),
            "{leaf}"
        );
        let record =
            app.get(&format!("/api/v1/apps/default/executions/{}", leaf["id"].as_str().unwrap())).await;
        assert_eq!(record.json()["log"][0]["message"], json!(format!("leaf {}", n + 1)), "{record}");
        fuel += leaf["fuel"].as_u64().unwrap() + middle["fuel"].as_u64().unwrap();
    }
    assert_eq!(reply.fuel(), fuel, "the header tells what all of it cost");
    assert_eq!(executions(&app, "leaf").await.len(), 2);
    let listed = app.get("/api/v1/apps/default/executions?trigger=call").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 4);
    let events = app.get("/api/v1/apps/default/executions?trigger=event").await.json();
    assert_eq!(events["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_of_events_may_call_scripts() {
    let app = TestApp::start().await;
    app.deploy("work", "kv::set(\"done\", [req.json, ctx.trigger_depth]); \"ok\"").await;
    app.deploy(
        "worker",
        "fn on_event(event) { kv::set(\"answer\", scripts::invoke(\"work\", event.data).body); }",
    )
    .await;
    assert_eq!(run(&app, "triggers::enqueue(\"worker\", 7); ()").await.status, 204);
    let begun = std::time::Instant::now();
    while app.get("/api/v1/apps/default/kv/answer").await.status != 200 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "the event is not handled");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(app.get("/api/v1/apps/default/kv/done").await.json(), json!([7, 2]));
    assert_eq!(app.get("/api/v1/apps/default/kv/answer").await.json(), json!("ok"));
}
