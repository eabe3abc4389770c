//! Everything that the API can do, the command line can do: for each operation of its description a command that asks for it.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use super::ran_with;
use super::server::{FakeServer, Seen, json as answer, problem};
use crate::env::Env;

/// Each operation, and a command that asks for it. `{dir}` is a folder with a script and what could be an archive.
const COMMANDS: &[(&str, &str)] = &[
    ("GET /api/v1/apps", "apps"),
    ("GET /api/v1/apps/{app}", "apps show shop"),
    ("PUT /api/v1/apps/{app}", "apps create shop"),
    ("DELETE /api/v1/apps/{app}", "apps rm shop --confirm shop"),
    ("GET /api/v1/apps/{app}/archive", "apps export shop {dir}/out.tar.gz"),
    ("PUT /api/v1/apps/{app}/archive", "apps import {dir}/in.tar.gz --as fresh"),
    ("GET /api/v1/apps/{app}/config", "config"),
    ("GET /api/v1/apps/{app}/config/{name}", "config get a"),
    ("PUT /api/v1/apps/{app}/config/{name}", "config set a 1"),
    ("DELETE /api/v1/apps/{app}/config/{name}", "config rm a"),
    ("GET /api/v1/apps/{app}/events", "events"),
    ("POST /api/v1/apps/{app}/events", "events send --to-queue mails null"),
    ("DELETE /api/v1/apps/{app}/events", "events purge"),
    ("POST /api/v1/apps/{app}/events/replay", "events replay --all"),
    ("GET /api/v1/apps/{app}/events/{id}", "events show 7"),
    ("DELETE /api/v1/apps/{app}/events/{id}", "events rm 7"),
    ("POST /api/v1/apps/{app}/events/{id}/replay", "events replay 7"),
    ("GET /api/v1/apps/{app}/executions", "executions"),
    ("GET /api/v1/apps/{app}/executions/{id}", "executions show 7"),
    ("DELETE /api/v1/apps/{app}/executions/{id}", "executions cancel 7"),
    ("GET /api/v1/apps/{app}/executions/{id}/answer", "executions answer 7"),
    ("GET /api/v1/apps/{app}/grants", "grants"),
    ("GET /api/v1/apps/{app}/http-policy", "http-policy"),
    ("PUT /api/v1/apps/{app}/http-policy", "http-policy set {}"),
    ("GET /api/v1/apps/{app}/kv", "kv list"),
    ("GET /api/v1/apps/{app}/kv/{key}", "kv get a"),
    ("PUT /api/v1/apps/{app}/kv/{key}", "kv set a 1"),
    ("DELETE /api/v1/apps/{app}/kv/{key}", "kv rm a"),
    ("GET /api/v1/apps/{app}/logs", "logs"),
    ("GET /api/v1/apps/{app}/metrics", "top --once"),
    ("GET /api/v1/apps/{app}/queues", "queues"),
    ("GET /api/v1/apps/{app}/routes", "routes"),
    ("GET /api/v1/apps/{app}/routes/{name}", "routes show a"),
    ("PUT /api/v1/apps/{app}/routes/{name}", "routes set a --path /a --script a"),
    ("DELETE /api/v1/apps/{app}/routes/{name}", "routes rm a"),
    ("GET /api/v1/apps/{app}/scripts", "scripts"),
    ("GET /api/v1/apps/{app}/scripts/{name}", "deploy {dir}/a.rhai"),
    ("PUT /api/v1/apps/{app}/scripts/{name}", "deploy {dir}/a.rhai"),
    ("DELETE /api/v1/apps/{app}/scripts/{name}", "rm a"),
    ("PUT /api/v1/apps/{app}/scripts/{name}/access", "access a token"),
    ("GET /api/v1/apps/{app}/scripts/{name}/canary", "canary show a"),
    ("PUT /api/v1/apps/{app}/scripts/{name}/canary", "canary start a 2"),
    ("DELETE /api/v1/apps/{app}/scripts/{name}/canary", "canary stop a"),
    ("GET /api/v1/apps/{app}/scripts/{name}/metrics", "metrics a"),
    ("POST /api/v1/apps/{app}/scripts/{name}/rollback", "rollback a"),
    ("GET /api/v1/apps/{app}/scripts/{name}/source", "source a"),
    ("GET /api/v1/apps/{app}/scripts/{name}/versions", "versions a"),
    ("POST /api/v1/apps/{app}/scripts/{name}/versions", "deploy {dir}/a.rhai --no-activate"),
    ("POST /api/v1/apps/{app}/scripts/{name}/versions/{number}/activate", "rollback a 2"),
    ("GET /api/v1/apps/{app}/scripts/{name}/versions/{number}/source", "source a 2"),
    ("GET /api/v1/apps/{app}/secrets", "secrets"),
    ("PUT /api/v1/apps/{app}/secrets/{name}", "secrets set a"),
    ("DELETE /api/v1/apps/{app}/secrets/{name}", "secrets rm a"),
    ("GET /api/v1/apps/{app}/traces/{root}", "trace 7"),
    ("GET /api/v1/apps/{app}/triggers", "triggers"),
    ("GET /api/v1/apps/{app}/triggers/{name}", "triggers show a"),
    ("PUT /api/v1/apps/{app}/triggers/{name}", "triggers set a {}"),
    ("DELETE /api/v1/apps/{app}/triggers/{name}", "triggers rm a"),
    ("POST /api/v1/apps/{app}/triggers/{name}/run", "triggers run a"),
    ("GET /api/v1/audit", "audit"),
    ("GET /api/v1/backup", "backup {dir}/out.db"),
    ("POST /api/v1/session", "login --user ann"),
    ("GET /api/v1/session", "whoami"),
    ("DELETE /api/v1/session", "logout"),
    ("PUT /api/v1/session/password", "passwd"),
    ("GET /api/v1/tokens", "tokens"),
    ("POST /api/v1/tokens", "tokens create a --scope admin"),
    ("DELETE /api/v1/tokens/{name}", "tokens rm a"),
    ("POST /api/v1/tokens/{name}/rotate", "tokens rotate a"),
    ("GET /api/v1/users", "users"),
    ("PUT /api/v1/users/{name}", "users create ann --scope admin"),
    ("DELETE /api/v1/users/{name}", "users rm ann"),
    ("PUT /api/v1/users/{name}/password", "users passwd ann"),
    ("GET /api/v1/users/{name}/sessions", "users sessions ann"),
    ("DELETE /api/v1/users/{name}/sessions", "users sessions ann --end"),
    ("GET /api/v1/server", "invoke a"),
    ("GET /api/v1/apps/{app}/scripts/{name}/versions/{number}", "deploy {dir}/a.rhai --canary 5"),
];

/// Operations that no command asks for, since there is nothing to be had from them here.
const NONE: &[(&str, &str)] = &[
    ("GET /openapi.json", "for programs that are made from it"),
    ("GET /api/v1/errors/{code}", "`picloud explain` has the same pages"),
    ("POST /api/v1/apps/{app}/webhooks/{name}", "for others, who sign what they deliver"),
    ("GET /api/v1/tokens/{name}", "the list says the same"),
    ("GET /api/v1/users/{name}", "the list says the same"),
];

fn operations() -> Vec<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item): (&String, &Value)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(|method| format!("{} {path}", method.to_uppercase())).collect::<Vec<_>>()
    };
    paths.iter().flat_map(of).collect()
}

/// Whether a request is one for this operation.
fn asks_for(line: &str, operation: &str) -> bool {
    let line = line.split('?').next().unwrap();
    let (parts, pattern): (Vec<_>, Vec<_>) = (line.split('/').collect(), operation.split('/').collect());
    let fits = |(part, pattern): (&&str, &&str)| pattern.starts_with('{') || part == pattern;
    parts.len() == pattern.len() && parts.iter().zip(&pattern).all(fits)
}

/// Enough for every command to go on to what it is there for.
fn plausible(seen: &Seen) -> axum::response::Response {
    if seen.line == "GET /api/v1/apps/fresh" {
        return problem(404, "app-not-found", json!({}));
    }
    let is_active = seen.line.contains("/canary");
    let mut document = json!({
        "items": [], "next_cursor": null, "name": "a", "version": 1, "number": 1, "source_hash": "other",
        "token": "picloud_session_a", "policy": {}, "rules": [],
    });
    if is_active {
        document["state"] = json!("running");
    }
    let created = seen.line.starts_with(Method::POST.as_str());
    answer(if created { 201 } else { 200 }, &document)
}

#[tokio::test]
async fn every_operation_has_a_command_that_asks_for_it() {
    let listed: Vec<&str> = COMMANDS.iter().chain(NONE).map(|(operation, _)| *operation).collect();
    let operations = operations();
    let missing: Vec<_> = operations.iter().filter(|known| !listed.contains(&known.as_str())).collect();
    let stale: Vec<_> =
        listed.iter().filter(|listed| !operations.iter().any(|known| known == *listed)).collect();
    assert!(missing.is_empty() && stale.is_empty(), "missing: {missing:#?}\nstale: {stale:#?}");

    let mut wrong = Vec::new();
    for &(operation, command) in COMMANDS {
        let folder = tempfile::tempdir().unwrap();
        for file in ["a.rhai", "in.tar.gz"] {
            std::fs::write(folder.path().join(file), "1").unwrap();
        }
        let server = FakeServer::start(plausible).await;
        let command = command.replace("{dir}", folder.path().to_str().unwrap());
        let words: Vec<&str> = command.split(' ').collect();
        // However the command takes what comes back.
        let env = Env::of([("PICLOUD_SERVER", &*server.url), ("PICLOUD_TOKEN", "pct_secret")]);
        let ran = ran_with(b"[1]\n[2]", &env.within(folder.path()), &words).await;
        let asked = server.asked();
        if !asked.iter().any(|line| asks_for(line, operation)) {
            wrong.push(format!("picloud {command}: {asked:?} and not {operation}: {}{}", ran.out, ran.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
