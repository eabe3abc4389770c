//! `picloud canary` and `deploy --canary`, against a server that plays the API.

use serde_json::{Value, json};

use super::picloud;
use super::server::{FakeServer, Seen, json as answer, problem};
use crate::exit::Exit;

fn canary(state: &str, reason: Option<&str>) -> Value {
    json!({
        "version": 2, "active_version": 1, "percent": 10, "min_calls": 20, "max_faults_percent": 1.0,
        "max_fuel_percent": 20.0, "state": state, "reason": reason,
        "active_calls": { "calls": 1800, "failed": 3, "typical_fuel": 12_345 },
        "canary_calls": { "calls": 200, "failed": 2, "typical_fuel": null },
        "started_at": "soon", "ended_at": (state != "running").then_some("later"),
    })
}

#[tokio::test]
async fn both_versions_are_shown_and_what_became_of_the_canary() {
    for (state, reason, told) in [
        ("running", None, "10 % of the calls go to it since soon"),
        ("rolled-back", Some("faults"), "rolled back at later: too many more of its calls failed"),
        ("rolled-back", Some("fuel"), "rolled back at later: its calls took too much more fuel"),
        ("stopped", None, "stopped at later"),
    ] {
        let server = FakeServer::start(move |_| answer(200, &canary(state, reason))).await;
        let ran = picloud(&server.url, &["canary", "show", "order"]).await.expect(Exit::Ok);
        assert_eq!(server.lines(), ["GET /api/v1/apps/default/scripts/order/canary"]);
        let rows: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows[1..],
            [vec!["1", "compared", "with", "1", "800", "3", "12", "345"], vec!["2", "canary", "200", "2"]]
        );
        assert!(ran.err.contains(told), "{}", ran.err);
    }
}

#[tokio::test]
async fn what_is_not_said_is_left_to_the_server() {
    let server = FakeServer::start(|_| answer(201, &canary("running", None))).await;
    let ran =
        picloud(&server.url, &["canary", "start", "order", "2", "--app", "shop"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "started  order  10 % of the calls go to version 2\n");
    let all =
        "canary start order 2 --percent 5 --min-calls 9 --max-faults-percent 0.5 --max-fuel-percent any";
    picloud(&server.url, &all.split(' ').collect::<Vec<_>>()).await.expect(Exit::Ok);
    let sent: Vec<Value> =
        server.seen().iter().map(|seen| serde_json::from_str(&seen.body).unwrap()).collect();
    assert_eq!(server.lines()[0], "PUT /api/v1/apps/shop/scripts/order/canary");
    assert_eq!(sent[0], json!({ "version": 2, "percent": 10 }));
    let rules = json!({
        "version": 2, "percent": 5, "min_calls": 9, "max_faults_percent": 0.5, "max_fuel_percent": null
    });
    assert_eq!(sent[1], rules);
    for wrong in ["--percent 0", "--percent 100", "--max-fuel-percent much"] {
        let line = format!("canary start order 2 {wrong}");
        picloud(&server.url, &line.split(' ').collect::<Vec<_>>()).await.expect(Exit::Usage);
    }
}

#[tokio::test]
async fn only_a_canary_that_runs_is_promoted() {
    let api = |state: &'static str| {
        move |seen: &Seen| match seen.line.starts_with("POST") {
            true => answer(200, &json!({ "name": "order", "version": 2 })),
            false => answer(200, &canary(state, None)),
        }
    };
    let server = FakeServer::start(api("running")).await;
    let ran = picloud(&server.url, &["canary", "promote", "order"]).await.expect(Exit::Ok);
    assert_eq!(ran.out, "promoted  order  version 2 is active\n");
    assert_eq!(server.lines()[1], "POST /api/v1/apps/default/scripts/order/versions/2/activate");
    let server = FakeServer::start(api("rolled-back")).await;
    let ran = picloud(&server.url, &["canary", "promote", "order"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("does not run: rolled-back"), "{}", ran.err);
    assert_eq!(server.lines().len(), 1);
}

#[tokio::test]
async fn a_new_version_is_deployed_as_a_canary_where_there_is_one_to_compare_it_with() {
    let script = |name: &str| {
        json!({
            "name": name, "version": 1, "url": format!("/default/{name}"), "source_hash": "0", "source_bytes": 1,
            "image_bytes": 1, "load_fuel": 1
        })
    };
    let server = FakeServer::start(move |seen| match &*seen.line {
        "GET /api/v1/apps/default/scripts/old" => answer(200, &script("old")),
        line if line.starts_with("GET") && line.ends_with("/canary") => {
            problem(404, "canary-not-found", json!({}))
        }
        "GET /api/v1/apps/default/scripts/new" => problem(404, "script-not-found", json!({})),
        line if line.starts_with("POST") => {
            let is_new = line.contains("/new/");
            let mut version = script("-");
            version["number"] = json!(if is_new { 1 } else { 2 });
            version["active"] = json!(is_new);
            answer(201, &version)
        }
        _ => answer(201, &canary("running", None)),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    for name in ["new", "old"] {
        std::fs::write(folder.path().join(format!("{name}.rhai")), "2").unwrap();
    }
    let line = ["deploy", folder.path().to_str().unwrap(), "--canary", "10"];
    let ran = picloud(&server.url, &line).await.expect(Exit::Ok);
    assert!(
        ran.out
            .lines()
            .any(|line| line.starts_with("stored     old") && line.ends_with("10 % of the calls go to it")),
        "{}",
        ran.out
    );
    let canaries: Vec<_> = server.seen().into_iter().filter(|seen| seen.line.starts_with("PUT")).collect();
    assert_eq!(canaries.len(), 1);
    assert_eq!(canaries[0].line, "PUT /api/v1/apps/default/scripts/old/canary");
    assert_eq!(
        serde_json::from_str::<Value>(&canaries[0].body).unwrap(),
        json!({ "version": 2, "percent": 10 })
    );
}

#[tokio::test]
async fn the_same_file_again_changes_how_many_calls_go_to_it() {
    let hash = picloud_host::call::SourceHash::of("2").to_hex();
    let server = FakeServer::start(move |seen| match &*seen.line {
        "GET /api/v1/apps/default/scripts/old" => {
            answer(200, &json!({ "name": "old", "version": 1, "url": "/default/old", "source_hash": "0" }))
        }
        "GET /api/v1/apps/default/scripts/old/versions/2" => answer(200, &json!({ "source_hash": hash })),
        _ => answer(200, &canary("running", None)),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("old.rhai");
    std::fs::write(&file, "2").unwrap();
    picloud(&server.url, &["deploy", file.to_str().unwrap(), "--canary", "50"]).await.expect(Exit::Ok);
    let sent: Vec<_> = server.seen().into_iter().filter(|seen| !seen.line.starts_with("GET")).collect();
    assert_eq!(sent.len(), 1, "no version is made");
    assert_eq!(sent[0].line, "PUT /api/v1/apps/default/scripts/old/canary");
    let rules = json!({
        "version": 2, "percent": 50, "min_calls": 20, "max_faults_percent": 1.0, "max_fuel_percent": 20.0
    });
    assert_eq!(serde_json::from_str::<Value>(&sent[0].body).unwrap(), rules);
}
