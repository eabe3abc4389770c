//! The commands that show what a server has: scripts, versions, executions, keys.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::picloud;
use super::server::{FakeServer, json as answer, problem, with_type};
use crate::commands::executions::example;
use crate::exit::Exit;

#[tokio::test]
async fn scripts_are_a_table_and_pages_are_followed() {
    let server = FakeServer::start(|seen| {
        let last = seen.line.contains("cursor=next");
        let name = if last { "two" } else { "one" };
        answer(200, &json!({
            "items": [{ "name": name, "version": 12, "url": format!("/default/{name}"), "updated_at": "soon" }],
            "next_cursor": if last { None } else { Some("next") },
        }))
    })
    .await;
    let ran = picloud(&server.url, &["scripts"]).await.expect(Exit::Ok);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert!(lines[0].starts_with("NAME  VERSION  UPDATED  SOURCE  IMAGE  URL"), "{}", ran.out);
    assert_eq!(lines[2], format!("two        12  soon        0 B    0 B  {}/default/two", server.url));
    let items = picloud(&server.url, &["scripts", "-o", "json"]).await.expect(Exit::Ok).json();
    assert_eq!(items["items"].as_array().unwrap().len(), 2);
    let expect = ["GET /api/v1/apps/default/scripts", "GET /api/v1/apps/default/scripts?cursor=next"];
    assert_eq!(server.lines()[..2], expect);
}

#[tokio::test]
async fn a_list_that_never_ends_ends() {
    let server = FakeServer::start(|_| answer(200, &json!({ "items": [1], "next_cursor": "same" }))).await;
    picloud(&server.url, &["scripts"]).await.expect(Exit::Ok);
    assert_eq!(server.lines().len(), 2);
    let count = AtomicUsize::new(0);
    let server = FakeServer::start(move |_| {
        let next = count.fetch_add(1, Ordering::Relaxed).to_string();
        answer(200, &json!({ "items": [], "next_cursor": next }))
    })
    .await;
    picloud(&server.url, &["scripts"]).await.expect(Exit::Ok);
    assert_eq!(server.lines().len(), 1000);
}

#[tokio::test]
async fn an_empty_page_is_not_the_end_and_a_limit_is() {
    let server = FakeServer::start(|seen| {
        if seen.line.contains("cursor=1") {
            answer(200, &json!({ "items": [{ "key": "a" }, { "key": "b" }], "next_cursor": "2" }))
        } else {
            answer(200, &json!({ "items": [], "next_cursor": "1" }))
        }
    })
    .await;
    let items = picloud(&server.url, &["kv", "list", "-n", "1", "-o", "json"]).await.expect(Exit::Ok).json();
    assert_eq!(items, json!({ "items": [{ "key": "a" }] }));
    assert_eq!(server.lines().len(), 2);
}

#[tokio::test]
async fn what_is_no_api_is_said_to_be_none() {
    for body in ["", "<html>", "[]", "{}", "{\"items\": 1}"] {
        let server = FakeServer::start(move |_| with_type(200, "application/json", body)).await;
        let ran = picloud(&server.url, &["scripts"]).await.expect(Exit::Unreachable);
        assert!(ran.err.contains("does not seem to be PiCloud"), "{}", ran.err);
    }
    let deep = "[".repeat(200_000);
    let server = FakeServer::start(move |_| with_type(200, "application/json", deep.clone())).await;
    let ran = picloud(&server.url, &["scripts"]).await.expect(Exit::Unreachable);
    assert!(ran.err.len() < 500);
}

#[tokio::test]
async fn versions_rollback_and_rm_speak_to_the_script() {
    let server = FakeServer::start(|seen| match seen.line.split(' ').next() {
        Some("GET") => {
            let version =
                json!({ "number": 2, "active": true, "source_hash": "0123456789abcdef", "load_fuel": 1000,
                        "author": "ci", "message": "Round up" });
            answer(200, &json!({ "items": [version] }))
        }
        Some("POST") => answer(200, &json!({ "name": "hello", "version": 1 })),
        _ => with_type(204, "text/plain", ""),
    })
    .await;
    let ran = picloud(&server.url, &["versions", "hello", "--app", "shop"]).await.expect(Exit::Ok);
    assert!(
        ran.out.contains("active") && ran.out.contains("1 000  0123456789ab  ci  Round up\n"),
        "{}",
        ran.out
    );
    let ran = picloud(&server.url, &["rollback", "hello", "1"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "hello  version 1 is active\n");
    picloud(&server.url, &["rollback", "hello"]).await.expect(Exit::Ok);
    let ran = picloud(&server.url, &["rm", "../kv", "-o", "json"]).await.expect(Exit::Ok);
    assert_eq!(ran.json()["result"], "deleted");
    assert_eq!(
        server.lines(),
        [
            "GET /api/v1/apps/shop/scripts/hello/versions",
            "POST /api/v1/apps/default/scripts/hello/versions/1/activate",
            "POST /api/v1/apps/default/scripts/hello/rollback",
            "DELETE /api/v1/apps/default/scripts/..%2Fkv",
        ]
    );
    picloud(&server.url, &["rollback", "hello", "0"]).await.expect(Exit::Usage);
}

#[tokio::test]
async fn executions_are_listed_and_shown() {
    let server = FakeServer::start(|seen| {
        if seen.line.ends_with("/executions/0192-1") {
            return answer(200, &example());
        }
        if seen.line.contains("?") {
            return answer(200, &json!({ "items": [example()], "next_cursor": null }));
        }
        problem(404, "execution-not-found", json!({ "detail": "It never happened." }))
    })
    .await;
    let ran = picloud(&server.url, &["executions", "hello", "--status", "5xx"]).await.expect(Exit::Ok);
    assert!(ran.out.contains("69 026  1.2 MiB  1.30 ms  0192-1     script-error\n"), "{}", ran.out);
    assert_eq!(server.lines()[0], "GET /api/v1/apps/default/executions?script=hello&status=5xx&limit=50");
    let words = [
        "executions",
        "--fault",
        "limit",
        "--code",
        "fuel-exhausted",
        "--version",
        "3",
        "--trigger",
        "event",
        "--root",
        "0192-1",
        "--since",
        "2026-01-31T12:00:00Z",
        "--until",
        "2026-02-01T12:00:00+01:00",
        "--order",
        "asc",
    ];
    picloud(&server.url, &words).await.expect(Exit::Ok);
    assert_eq!(
        server.lines()[1],
        "GET /api/v1/apps/default/executions?version=3&fault=limit&code=fuel-exhausted&trigger=event&root=0192-1\
         &from=2026-01-31T12%3A00%3A00Z&to=2026-02-01T11%3A00%3A00Z&order=asc&limit=50"
    );
    for trigger in ["http", "call", "kv", "mqtt", "webhook"] {
        picloud(&server.url, &["executions", "--trigger", trigger]).await.expect(Exit::Ok);
        assert!(server.lines().last().unwrap().contains(&format!("?trigger={trigger}&")), "{trigger}");
    }
    for wrong in [["--fault", "mine"], ["--trigger", "cron"], ["--until", "noon"], ["--version", "0"]] {
        picloud(&server.url, &[&["executions"], &wrong[..]].concat()).await.expect(Exit::Usage);
    }
    let ran = picloud(&server.url, &["executions", "show", "0192-1"]).await.expect(Exit::Ok);
    for part in [
        "fuel        69 026\n",
        "time        queue 0.01 ms, sandbox 1.29 ms, commit 0.00 ms\n",
        "error[script-error]: Function not found: foo\n --> hello:3:5\n",
        "INFO   hi\n",
        "(2 log lines were over the limit and are lost)\n",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    let ran = picloud(&server.url, &["executions", "show", "none"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("error[execution-not-found]: It never happened."), "{}", ran.err);
}

#[tokio::test]
async fn keys_are_read_and_written() {
    let server = FakeServer::start(|seen| match seen.line.split(' ').next() {
        Some("PUT") => with_type(204, "text/plain", ""),
        Some("GET") if seen.line.contains("kv/blob") => {
            with_type(200, "application/octet-stream", vec![1, 0xff])
        }
        Some("GET") if seen.line.contains("kv/a%2Fb") => with_type(200, "application/json", "{\"n\":1}"),
        Some("GET") => {
            answer(200, &json!({ "items": [{ "key": "a/b", "value": { "n": 1 } }, { "key": "blob", "value_base64": "Af8=" }] }))
        }
        _ => problem(404, "key-not-found", json!({ "title": "There is no such key." })),
    })
    .await;
    let kv = async |words: &[&str]| picloud(&server.url, &[&["kv"], words].concat()).await;
    assert_eq!(kv(&["get", "a/b"]).await.expect(Exit::Ok).out, "{\"n\":1}\n");
    assert_eq!(
        kv(&["get", "a/b", "-o", "json"]).await.expect(Exit::Ok).json(),
        json!({ "key": "a/b", "value": { "n": 1 }, "expires_at": null })
    );
    assert_eq!(kv(&["get", "blob", "-o", "json"]).await.expect(Exit::Ok).json()["value_base64"], "Af8=");
    let ran = kv(&["list", "a", "-n", "5"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "KEY   EXPIRES  VALUE\na/b            {\"n\":1}\nblob           (2 bytes)\n");
    assert_eq!(server.lines().last().unwrap(), "GET /api/v1/apps/default/kv?prefix=a&limit=5");
    kv(&["set", "k", "{\"a\": 1}", "--ttl", "2"]).await.expect(Exit::Ok);
    let seen = server.seen().pop().unwrap();
    assert_eq!(
        (seen.line.as_str(), seen.body.as_str()),
        ("PUT /api/v1/apps/default/kv/k?ttl_ms=2000", "{\"a\": 1}")
    );
    assert_eq!(seen.headers["content-type"], "application/json");
    kv(&["set", "k", "say \"x\"", "--text"]).await.expect(Exit::Ok);
    assert_eq!(server.seen().pop().unwrap().body, "\"say \\\"x\\\"\"");
    kv(&["set", "k", "-", "--blob"]).await.expect(Exit::Ok);
    let seen = server.seen().pop().unwrap();
    assert_eq!(
        (seen.body.as_str(), &seen.headers["content-type"]),
        ("[1]", &"application/octet-stream".parse().unwrap())
    );
    let ran = kv(&["set", "k", "{oops"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("is not JSON") && ran.err.contains("--text"), "{}", ran.err);
    let ran = kv(&["rm", "none"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("error[key-not-found]"), "{}", ran.err);
}
