//! `picloud logs`: the newest lines, those since some time, and following.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use super::picloud;
use super::server::{FakeServer, json as answer, problem};
use crate::exit::Exit;

#[tokio::test]
async fn logs_can_be_followed_until_the_server_refuses() {
    let asked = AtomicUsize::new(0);
    let line = |message: &str| json!({ "at": "2026-01-31T12:00:00Z", "level": "info", "script": "hello", "message": message });
    let server = FakeServer::start(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => answer(200, &json!({ "items": [line("one")], "next_after": "7-0" })),
        1 => answer(200, &json!({ "items": [line("two\u{1b}[2J")], "next_after": "8-0" })),
        2 => problem(503, "shutting-down", json!({ "title": "The server is shutting down." })),
        3 => answer(200, &json!({ "items": [line("three")], "next_after": "9-0" })),
        _ => problem(401, "unauthorized", json!({ "title": "A token is needed." })),
    })
    .await;
    let words = ["logs", "hello", "-f", "--level", "info", "-n", "1000", "-o", "json", "--timeout", "10"];
    let ran = picloud(&server.url, &words).await.expect(Exit::Unreachable);
    let said: Vec<serde_json::Value> =
        ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        said[0]["note"].as_str().unwrap().starts_with("The server is shutting down. - trying again"),
        "{}",
        ran.err
    );
    assert_eq!(said[1]["note"], "the server is back");
    assert_eq!(said[2]["error"]["code"], "unauthorized");
    let messages: Vec<String> = ran
        .out
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["message"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(messages, ["one", "two\u{1b}[2J", "three"]);
    assert!(!ran.out.contains('\u{1b}'));
    let path = "GET /api/v1/apps/default/logs?script=hello&level=info";
    assert_eq!(
        server.lines()[..4],
        [
            format!("{path}&limit=1000"),
            format!("{path}&after=7-0&limit=1000&wait_ms=5000"),
            format!("{path}&after=8-0&limit=1000&wait_ms=5000"),
            format!("{path}&after=8-0&limit=1000&wait_ms=5000"),
        ]
    );
}

#[tokio::test]
async fn no_more_lines_can_be_wanted_than_the_server_gives() {
    let server = FakeServer::start(|_| answer(200, &json!({ "items": [], "next_after": "1-0" }))).await;
    for wrong in ["0", "1001", "5000", "-1"] {
        let ran = picloud(&server.url, &["logs", "-n", wrong]).await.expect(Exit::Usage);
        assert!(ran.err.contains("1..=1000") || wrong == "-1", "{}", ran.err);
    }
    picloud(&server.url, &["logs"]).await.expect(Exit::Ok);
    assert_eq!(server.lines(), ["GET /api/v1/apps/default/logs?limit=100"]);
}

/// A server with this many lines from long ago and this many from far ahead.
async fn lines(old: usize, new: usize) -> FakeServer {
    FakeServer::start(move |_| {
        let line =
            |at: &str, number: usize| json!({ "at": at, "level": "warn", "script": "s", "message": number });
        let old = (0..old).map(|number| line("2001-01-01T00:00:00Z", number));
        let new = (0..new).map(|number| line("2101-01-01T00:00:00Z", number));
        answer(200, &json!({ "items": old.chain(new).collect::<Vec<_>>(), "next_after": "1-0" }))
    })
    .await
}

#[tokio::test]
async fn since_shows_everything_from_then_on() {
    let server = lines(850, 150).await;
    let ran = picloud(&server.url, &["logs", "--since", "1h"]).await.expect(Exit::Ok);
    assert_eq!(ran.out.lines().count(), 150);
    assert!(ran.out.ends_with("WARN   s  149\n") && ran.err.is_empty(), "{}{}", ran.out, ran.err);
    assert_eq!(server.lines(), ["GET /api/v1/apps/default/logs?limit=1000"]);
    let ran = picloud(&server.url, &["logs", "--since", "1h", "-n", "2"]).await.expect(Exit::Ok);
    let messages: Vec<&str> = ran.out.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
    assert_eq!(messages, ["148", "149"]);
    picloud(&server.url, &["logs", "--since", "noon"]).await.expect(Exit::Usage);
}

#[tokio::test]
async fn since_says_when_there_may_be_more() {
    let server = lines(0, 1000).await;
    let ran = picloud(&server.url, &["logs", "--since", "1h"]).await.expect(Exit::Ok);
    assert!(ran.err.starts_with("there may be more lines since then"), "{}", ran.err);
    let ran = picloud(&server.url, &["logs", "--since", "1h", "-n", "10"]).await.expect(Exit::Ok);
    assert_eq!((ran.out.lines().count(), ran.err.as_str()), (10, ""));
}
