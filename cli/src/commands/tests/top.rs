//! `picloud top`, once.

use axum::response::Response;
use serde_json::{Value, json};

use super::picloud;
use super::server::{FakeServer, Seen, json as answer};
use crate::exit::Exit;

fn item(name: &str, calls: u64, fuel: u64, faults: u64) -> Value {
    let costs = |n: u64| json!({ "p50": n, "p95": 2 * n, "p99": n, "max": n, "mean": n });
    json!({
        "script": name, "calls": calls, "fuel_total": fuel, "fuel": costs(fuel / calls), "duration_us": costs(1500),
        "faults": { "script": faults, "limit": 0, "platform": 0 }, "memory_bytes": costs(1),
    })
}

fn api(seen: &Seen) -> Response {
    assert!(seen.line.starts_with("GET /api/v1/apps/default/metrics?from="), "{}", seen.line);
    answer(
        200,
        &json!({
            "app": "default", "from": "soon", "to": "later", "scripts": 2,
            "total": item("", 110, 4000, 3),
            "items": [item("few", 10, 3000, 3), item("many", 100, 1000, 0)],
        }),
    )
}

#[tokio::test]
async fn without_a_terminal_it_is_one_table() {
    let server = FakeServer::start(api).await;
    let ran = picloud(&server.url, &["top"]).await.expect(Exit::Ok);
    assert_eq!(
        ran.out,
        format!(
            "app default at {}, since soon\n\
             110 calls of 2 scripts, 3 faults, 4 000 fuel\n\n\
             SCRIPT  CALLS  FAULTS   FUEL   SHARE  FUEL/CALL      P50      P95\n\
             few        10       3  3 000  75.0 %        300  1.50 ms  3.00 ms\n\
             many      100       0  1 000  25.0 %         10  1.50 ms  3.00 ms\n",
            server.url
        )
    );
    assert!(!ran.out.contains('\u{1b}') && ran.err.is_empty());
}

#[tokio::test]
async fn the_order_can_be_by_calls_and_programs_get_the_document() {
    let server = FakeServer::start(api).await;
    let ran =
        picloud(&server.url, &["top", "--sort", "calls", "-n", "1", "-o", "json"]).await.expect(Exit::Ok);
    let document = ran.json();
    assert_eq!(document["items"].as_array().unwrap().len(), 1);
    assert_eq!((&document["items"][0]["script"], &document["total"]["calls"]), (&json!("many"), &json!(110)));
    picloud(&server.url, &["top", "-n", "1"]).await.expect(Exit::Ok);
    // To put them in order by calls takes all of them.
    let limits: Vec<bool> = server.lines().iter().map(|line| line.ends_with("&limit=1000")).collect();
    assert_eq!(limits, [true, false]);
    picloud(&server.url, &["top", "--since", "yesterday"]).await.expect(Exit::Usage);
    picloud(&server.url, &["top", "--sort", "name"]).await.expect(Exit::Usage);
}
