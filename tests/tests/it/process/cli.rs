//! The command line against a real server: what it prints, and with which exit code it ends.

use picloud_tests::{Ended, Process, Site};
use serde_json::Value;

const HELLO: &str = "fn handle(req) {
    let name = req.query.name ?? \"world\";
    log::info(`greeting ${name}`);
    if name == \"trouble\" { throw #{ status: 418, message: \"no\" }; }
    if name == \"bug\" { let a = 1; a.no_such_function(); }
    kv::set(\"last\", name);
    #{ hello: name, body: req.body }
}";

/// A server that wants a token, which its first start has left for the commands of this site.
pub(super) async fn site() -> (Site, Process) {
    let site = Site::new();
    let mut server = site.serve(&[]).await;
    let token = server.printed_token().await;
    let file = site.home().join(".config/picloud/client.toml");
    for _ in 0..1000 {
        if std::fs::read_to_string(&file).is_ok_and(|text| text.contains(&token)) {
            return (site, server);
        }
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    panic!("{} was not written", file.display());
}

fn write(site: &Site, name: &str, text: &str) {
    std::fs::write(site.home().join(name), text).unwrap();
}

#[track_caller]
fn succeeded(ended: Ended) -> Ended {
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    ended
}

#[track_caller]
fn failed(ended: Ended, code: i32) -> Ended {
    assert_eq!(ended.code(), Some(code), "{ended:?}");
    assert!(!ended.log.is_empty(), "a failure says why");
    ended
}

/// The error document on standard error.
#[track_caller]
fn error_code(ended: &Ended) -> String {
    let document: Value =
        serde_json::from_str(&ended.log).unwrap_or_else(|error| panic!("no JSON ({error}): {ended:?}"));
    document["error"]["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn scripts_are_deployed_listed_rolled_back_and_removed() {
    let (site, server) = site().await;
    write(&site, "hello.rhai", HELLO);
    let created = succeeded(site.picloud(&["deploy", "hello.rhai"]).await);
    assert!(created.out.starts_with("created") && created.out.contains(&server.url), "{created:?}");
    let again = succeeded(site.picloud(&["deploy", "hello.rhai", "-o", "json"]).await).json();
    assert_eq!(again["items"][0]["result"], "unchanged");

    write(&site, "hello.rhai", "\"second\"");
    succeeded(site.picloud(&["deploy", "hello.rhai"]).await);
    assert_eq!(succeeded(site.picloud(&["invoke", "hello"]).await).out, "second");
    let versions = succeeded(site.picloud(&["versions", "hello", "-o", "json"]).await).json();
    let active = |version: &Value| (version["number"].clone(), version["active"].clone());
    let versions: Vec<_> = versions["items"].as_array().unwrap().iter().map(active).collect();
    assert_eq!(versions, [(2.into(), true.into()), (1.into(), false.into())]);

    succeeded(site.picloud(&["rollback", "hello", "1"]).await);
    let rolled_back = succeeded(site.picloud(&["invoke", "hello", "-o", "json"]).await).json();
    assert_eq!(rolled_back["json"]["hello"], "world");
    assert_eq!(
        error_code(&failed(site.picloud(&["rollback", "hello", "7", "-o", "json"]).await, 1)),
        "version-not-found"
    );

    let scripts = succeeded(site.picloud(&["scripts"]).await);
    assert!(scripts.out.contains("hello"), "{scripts:?}");
    succeeded(site.picloud(&["rm", "hello"]).await);
    assert_eq!(
        error_code(&failed(site.picloud(&["rm", "hello", "-o", "json"]).await, 1)),
        "script-not-found"
    );
    server.stop().await;
}

#[tokio::test]
async fn a_script_that_does_not_compile_is_shown_and_the_others_are_uploaded() {
    let (site, server) = site().await;
    write(&site, "bad.rhai", "let a = 1;\nlet b = (a + ;\n");
    write(&site, "good.rhai", "\"good\"");
    let ended = failed(site.picloud(&["deploy", "bad.rhai", "good.rhai"]).await, 1);
    assert!(ended.log.contains("bad.rhai:2:") && ended.log.contains("let b = (a + ;"), "{ended:?}");
    assert!(ended.out.contains("good"), "{ended:?}");
    assert_eq!(succeeded(site.picloud(&["invoke", "good"]).await).out, "good");
    let ended = failed(site.picloud(&["deploy", "bad.rhai", "-o", "json"]).await, 1);
    assert_eq!(error_code(&ended), "compile-failed");
    assert_eq!(ended.json()["items"][0]["result"], "failed");
    failed(site.picloud(&["deploy", "nowhere.rhai"]).await, 1);
    server.stop().await;
}

#[tokio::test]
async fn calls_show_their_answer_and_their_cost_and_are_recorded() {
    let (site, server) = site().await;
    write(&site, "hello.rhai", HELLO);
    succeeded(site.picloud(&["deploy", "hello.rhai"]).await);

    let answer = succeeded(site.picloud(&["invoke", "hello", "/?name=Pi", "-d", "text"]).await);
    assert_eq!(answer.out, r#"{"body":"text","hello":"Pi"}"#);
    assert!(answer.log.starts_with("200 OK") && answer.log.contains("fuel "), "{answer:?}");
    let answer = succeeded(site.picloud(&["invoke", "hello", "-o", "json"]).await).json();
    assert!(answer["fuel"].as_u64().unwrap() > 0 && answer["timing_ms"]["sandbox"].is_number(), "{answer}");
    let id = answer["execution_id"].as_str().unwrap();

    let thrown = failed(site.picloud(&["invoke", "hello", "/?name=trouble", "-o", "json"]).await, 1);
    assert_eq!(thrown.json()["status"], 418);
    let bug = failed(site.picloud(&["invoke", "hello", "/?name=bug"]).await, 1);
    assert!(bug.log.contains("script-error") && bug.log.contains("hello:5:"), "{bug:?}");
    assert_eq!(
        error_code(&failed(site.picloud(&["invoke", "nobody", "-o", "json"]).await, 1)),
        "route-not-found"
    );

    let shown = succeeded(site.picloud(&["executions", "show", id, "-o", "json"]).await).json();
    assert_eq!((shown["id"].as_str(), shown["status"].as_u64()), (Some(id), Some(200)), "{shown}");
    let all = succeeded(site.picloud(&["executions", "hello", "-o", "json"]).await).json();
    let statuses = |page: &Value| {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["status"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(statuses(&all), [500, 418, 200, 200]);
    let failures = succeeded(site.picloud(&["executions", "--status", "5xx", "-o", "json"]).await).json();
    assert_eq!(statuses(&failures), [500]);
    let filtered = async |filter: &[&str]| {
        let words = [&["executions", "-o", "json"], filter].concat();
        statuses(&succeeded(site.picloud(&words).await).json())
    };
    // A status under 500 that a script throws is an answer, and nobody's fault.
    assert_eq!(filtered(&["--fault", "script"]).await, [500]);
    assert_eq!(filtered(&["--order", "asc"]).await, [200, 200, 418, 500]);
    assert_eq!(filtered(&["--code", "script-error", "--version", "1", "--trigger", "http"]).await, [500]);
    assert_eq!(filtered(&["--root", id, "--since", "1h"]).await, [200]);
    assert!(filtered(&["--until", "1h"]).await.is_empty());

    let logs = succeeded(site.picloud(&["logs", "hello", "-o", "json"]).await);
    let messages: Vec<String> = logs
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned())
        .collect();
    let bug = "Function not found: no_such_function (i64)";
    assert_eq!(messages, ["greeting Pi", "greeting world", "greeting trouble", "greeting bug", bug]);
    let newest = succeeded(site.picloud(&["logs", "--since", "1h", "-n", "2"]).await);
    assert!(newest.out.lines().count() == 2 && newest.out.trim_end().ends_with(bug), "{newest:?}");
    server.stop().await;
}

#[tokio::test]
async fn keys_and_values_are_read_and_written() {
    let (site, server) = site().await;
    let set = ["kv", "set", "a b/ü", "{\"n\": [1, 2.50]}"];
    succeeded(site.picloud(&set).await);
    assert_eq!(succeeded(site.picloud(&["kv", "get", "a b/ü"]).await).out, "{\"n\":[1,2.50]}\n");
    succeeded(site.picloud(&["kv", "set", "greeting", "hello", "--text"]).await);
    assert_eq!(
        succeeded(site.picloud(&["kv", "get", "greeting", "-o", "json"]).await).json()["value"],
        "hello"
    );
    let list = succeeded(site.picloud(&["kv", "list", "-o", "json"]).await).json();
    let keys: Vec<_> = list["items"].as_array().unwrap().iter().map(|item| item["key"].clone()).collect();
    assert_eq!(keys, ["a b/ü", "greeting"]);

    failed(site.picloud(&["kv", "set", "greeting", "not json"]).await, 1);
    succeeded(site.picloud(&["kv", "rm", "greeting"]).await);
    assert_eq!(
        error_code(&failed(site.picloud(&["kv", "get", "greeting", "-o", "json"]).await, 1)),
        "key-not-found"
    );
    let long = "k".repeat(600);
    assert_eq!(
        error_code(&failed(site.picloud(&["kv", "set", &long, "1", "-o", "json"]).await, 1)),
        "kv-key-invalid"
    );
    server.stop().await;
}

#[tokio::test]
async fn exit_codes_tell_what_kind_of_trouble_it_is() {
    let (site, server) = site().await;
    failed(site.picloud(&["no-such-command"]).await, 2);
    failed(site.picloud(&["invoke"]).await, 2);
    failed(site.picloud(&["logs", "-n", "5000"]).await, 2);
    failed(site.picloud(&["serve", "--limit", "fuel=0"]).await, 2);
    failed(site.picloud(&["serve", "--dev", "--address", "0.0.0.0:0"]).await, 2);
    assert!(succeeded(site.picloud(&["--help"]).await).out.contains("Exit codes"));

    let elsewhere = ["scripts", "--server", "http://127.0.0.1:1", "-o", "json"];
    assert_eq!(error_code(&failed(site.picloud(&elsewhere).await, 3)), "unreachable");
    let refused = ["scripts", "--server", &server.url, "--token", "pct_wrong", "-o", "json"];
    assert_eq!(error_code(&failed(site.picloud(&refused).await, 3)), "unauthorized");
    server.stop().await;
    failed(site.picloud(&["scripts"]).await, 3);
}

#[tokio::test]
async fn a_script_runs_without_a_server() {
    let site = Site::new();
    write(&site, "hello.rhai", HELLO);
    let answer = succeeded(site.picloud(&["run", "hello.rhai", "/?name=Pi"]).await);
    assert_eq!(answer.out, r#"{"body":"","hello":"Pi"}"#);
    assert!(answer.log.contains("fuel ") && answer.log.contains("greeting Pi"), "{answer:?}");
    let bug = failed(site.picloud(&["run", "hello.rhai", "/?name=bug"]).await, 1);
    assert!(bug.log.contains("hello.rhai:5:") && bug.log.contains("a.no_such_function()"), "{bug:?}");
}

#[tokio::test]
async fn a_script_handles_an_event_without_a_server() {
    let site = Site::new();
    let handler = "fn on_event(event) { log::info(`${event.type} of ${event.subject}: ${event.data.n} ${event.time}`); }";
    write(&site, "audit.rhai", handler);
    write(
        &site,
        "event.json",
        r#"{"type": "t", "subject": "s", "time": "1970-01-01T00:00:01Z", "data": {"n": 7}}"#,
    );
    let ended = succeeded(site.picloud(&["run", "audit.rhai", "--event", "event.json"]).await);
    assert!(ended.out.is_empty() && ended.log.starts_with("info: t of s: 7 1000\n204 "), "{ended:?}");
    write(&site, "hello.rhai", HELLO);
    let ended = failed(site.picloud(&["run", "hello.rhai", "--event", "event.json"]).await, 1);
    assert!(ended.log.contains("handler-missing"), "{ended:?}");
    write(&site, "loop.rhai", "fn handle(req) { loop {} }");
    let ended = failed(site.picloud(&["run", "loop.rhai", "--limit", "fuel=50_000_000"]).await, 1);
    assert!(ended.log.contains("fuel-exhausted"), "{ended:?}");
}

#[tokio::test]
async fn what_only_a_server_can_do_is_refused_with_what_to_do_instead() {
    let site = Site::new();
    for (source, told) in [
        ("http::get(\"https://a.example/\")", "http: `picloud run` sends no requests"),
        ("http::all([#{ url: \"https://a.example/\" }])[0].error", "http: `picloud run` sends no requests"),
        ("mqtt::publish(\"a\", 1)", "mqtt: `picloud run` is connected to no broker"),
    ] {
        write(&site, "outside.rhai", source);
        let ended = site.picloud(&["run", "outside.rhai"]).await;
        let all = format!("{}{}", ended.out, ended.log);
        assert!(all.contains(told) && all.contains("`picloud test`"), "{source}: {ended:?}");
    }
}

#[tokio::test]
async fn a_lost_token_is_replaced_while_no_server_runs() {
    let (site, mut server) = site().await;
    let old = server.printed_token().await;
    let refused = failed(site.picloud(&["token", "replace"]).await, 1);
    assert!(refused.log.contains("another server uses"), "{refused:?}");
    assert!(server.get("/api/v1/apps").await.is_success());
    server.stop().await;

    let replaced = succeeded(site.picloud(&["token", "replace", "-o", "json"]).await).json();
    let mut server = site.serve(&[]).await;
    for (token, status) in [(old.as_str(), 401), (replaced["token"].as_str().unwrap(), 200)] {
        server.use_token(token);
        assert_eq!(server.get("/api/v1/apps").await.status, status);
    }
    server.stop().await;
}

#[tokio::test]
async fn what_a_server_keeps_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = Site::new();
    std::fs::create_dir(site.data()).unwrap();
    std::fs::set_permissions(site.data(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let server = site.serve(&["--dev"]).await;
    for name in ["picloud.db", "picloud.db-wal", "telemetry.db", "lock"] {
        let mode = std::fs::metadata(site.data().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
    }
    server.stop().await;
}
