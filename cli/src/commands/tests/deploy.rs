//! `picloud deploy`.

use std::path::Path;

use axum::response::Response;
use serde_json::{Value, json};

use super::server::{FakeServer, Seen, json as answer, problem};
use super::{Ran, picloud};
use crate::exit::Exit;

const BROKEN: &str = "let a = 1;\nlet b = ;\n";

fn script(name: &str, version: u32, source: &str) -> Value {
    json!({
        "app": "default", "name": name, "version": version, "url": format!("/default/{name}"),
        "source_hash": picloud_host::call::SourceHash::of(source).to_hex(), "source_bytes": source.len(),
        "image_bytes": 315_392, "load_fuel": 1_234_567, "handles_requests": true, "handles_events": false,
    })
}

/// `old` is there with the source `1`; nothing else is. What contains `= ;` does not compile.
fn api(seen: &Seen) -> Response {
    let (method, path) = seen.line.split_once(' ').unwrap();
    let name = path.strip_prefix("/api/v1/apps/default/scripts/").expect(path);
    match method {
        "GET" if name == "old" => answer(200, &script(name, 3, "1")),
        "GET" => problem(404, "script-not-found", json!({ "title": "There is no such script." })),
        "PUT" if name == "Bad%20Name" => {
            problem(400, "name-invalid", json!({ "detail": "a name starts with ..." }))
        }
        "PUT" if seen.body.contains("= ;") => problem(
            422,
            "compile-failed",
            json!({ "detail": "Expecting an expression", "position": { "line": 2, "column": 9 } }),
        ),
        "PUT" if name == "old" => {
            answer(200, &script(name, if seen.body == "1" { 3 } else { 4 }, &seen.body))
        }
        "PUT" => answer(201, &script(name, 1, &seen.body)),
        other => panic!("{other}"),
    }
}

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, source) in files {
        std::fs::write(folder.path().join(name), source).unwrap();
    }
    folder
}

async fn deploy(server: &FakeServer, path: &Path, more: &[&str]) -> Ran {
    let words: Vec<&str> = ["deploy", path.to_str().unwrap()].iter().chain(more).copied().collect();
    picloud(&server.url, &words).await
}

#[tokio::test]
async fn a_folder_is_deployed_by_name_and_says_what_changed() {
    let server = FakeServer::start(api).await;
    let folder = folder(&[("old.rhai", "1"), ("new.rhai", "2"), ("README.md", "3")]);
    let ran = deploy(&server, folder.path(), &[]).await.expect(Exit::Ok);
    let url = &server.url;
    assert_eq!(
        ran.out,
        format!(
            "created    new  version 1  {url}/default/new  image 308.0 KiB  load fuel 1 234 567\n\
             unchanged  old  version 3  {url}/default/old  image 308.0 KiB  load fuel 1 234 567\n"
        )
    );
    assert_eq!(ran.err, "1 created, 1 unchanged\n");
    let put = server.seen().into_iter().find(|seen| seen.line.starts_with("PUT")).unwrap();
    assert_eq!(put.headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(put.headers["authorization"], "Bearer pct_secret");
    assert_eq!(put.body, "2");
}

#[tokio::test]
async fn a_new_source_is_a_new_version() {
    let server = FakeServer::start(api).await;
    let folder = folder(&[("x.rhai", "2")]);
    let ran = deploy(&server, &folder.path().join("x.rhai"), &["--name", "old", "-o", "json"])
        .await
        .expect(Exit::Ok);
    let item = &ran.json()["items"][0];
    assert_eq!(
        (&item["name"], &item["result"], &item["script"]["version"]),
        (&json!("old"), &json!("updated"), &json!(4))
    );
}

#[tokio::test]
async fn a_compile_error_is_shown_in_its_place_and_the_others_go_on() {
    let server = FakeServer::start(api).await;
    let folder = folder(&[("a.rhai", BROKEN), ("b.rhai", "1"), ("c.rhai", "3")]);
    std::fs::write(folder.path().join("b.rhai"), [b'1', b'\n', 0xff]).unwrap();
    let ran = deploy(&server, folder.path(), &[]).await.expect(Exit::Failed);
    let path = folder.path().display();
    let expect = format!(
        "error[compile-failed]: Expecting an expression\n \
         --> {path}/a.rhai:2:9\n  \
         |\n\
         2 | let b = ;\n  \
         |         ^\n  \
         = read: picloud explain compile-failed\n\
         error: {path}/b.rhai: line 2 is not UTF-8\n\
         1 created, 2 failed\n"
    );
    assert_eq!(ran.err, expect);
    assert!(ran.out.starts_with("created    c  ") && ran.out.lines().count() == 1, "{}", ran.out);
}

#[tokio::test]
async fn errors_as_json_are_on_both_outputs() {
    let server = FakeServer::start(api).await;
    let folder = folder(&[("a.rhai", BROKEN), ("c.rhai", "3")]);
    let ran = deploy(&server, folder.path(), &["-o", "json"]).await.expect(Exit::Failed);
    let error = ran.error();
    assert_eq!(error["code"], "compile-failed");
    assert_eq!(error["position"], json!({ "line": 2, "column": 9 }));
    assert_eq!(error["source_line"], "let b = ;");
    let document = ran.json();
    assert_eq!(document["items"][0]["error"], error);
    assert_eq!(document["items"][0]["result"], "failed");
    assert_eq!(document["items"][1]["result"], "created");
}

#[tokio::test]
async fn a_name_that_is_not_allowed_says_how_to_give_another() {
    let server = FakeServer::start(api).await;
    let folder = folder(&[("Bad Name.rhai", "1")]);
    let ran = deploy(&server, folder.path(), &[]).await.expect(Exit::Failed);
    assert!(
        ran.err.contains("error[name-invalid]: a name starts with") && ran.err.contains("--name"),
        "{}",
        ran.err
    );
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let server = FakeServer::start(api).await;
    let (one, two, none) =
        (folder(&[("a.rhai", "1")]), folder(&[("a.rhai", "2"), ("b.rhai", "")]), folder(&[]));
    let other = two.path().join("a.rhai");
    let ran = deploy(&server, one.path(), &[other.to_str().unwrap()]).await.expect(Exit::Usage);
    assert!(ran.err.contains("would both become the script `a`"), "{}", ran.err);
    let ran = deploy(&server, two.path(), &["--name", "x"]).await.expect(Exit::Usage);
    assert!(ran.err.contains("--name names one script, but there are 2 files"), "{}", ran.err);
    let ran = deploy(&server, none.path(), &[]).await.expect(Exit::Usage);
    assert!(ran.err.contains("no *.rhai"), "{}", ran.err);
    let ran = deploy(&server, Path::new("/no/such.rhai"), &[]).await.expect(Exit::Failed);
    assert!(ran.err.contains("/no/such.rhai: "), "{}", ran.err);
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_source_that_no_server_takes_is_not_sent() {
    let server = FakeServer::start(api).await;
    let folder = folder(&[("a.rhai", &"x".repeat((4 << 20) + 1))]);
    let ran = deploy(&server, folder.path(), &[]).await.expect(Exit::Failed);
    assert!(ran.err.contains("a.rhai: it is longer than 4194304 bytes"), "{}", ran.err);
    assert_eq!(server.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn a_refused_token_ends_it_at_once_with_3() {
    let server =
        FakeServer::start(|_| problem(401, "unauthorized", json!({ "title": "A token is needed." }))).await;
    let folder = folder(&[("a.rhai", "1"), ("b.rhai", "2")]);
    let ran = deploy(&server, folder.path(), &[]).await.expect(Exit::Unreachable);
    assert!(ran.err.starts_with("error[unauthorized]: A token is needed."), "{}", ran.err);
    assert!(!ran.err.contains("pct_secret"));
    assert_eq!(server.lines().len(), 1);
}

/// The script `order` with version 3 active; a version is made with a smoke call, and whether it is active is told.
fn versions(seen: &Seen) -> Response {
    let (method, path) = seen.line.split_once(' ').unwrap();
    match (method, path) {
        ("GET", _) => answer(200, &script("order", 3, "old")),
        ("PUT", _) => answer(200, &script("order", 4, &seen.body)),
        ("POST", _) => {
            let sent: Value = serde_json::from_str(&seen.body).unwrap();
            if sent["source"] == "bad" {
                return problem(
                    422,
                    "smoke-failed",
                    json!({ "detail": "The smoke call was answered with 500." }),
                );
            }
            let smoke =
                json!({ "status": 200, "fuel": 13_800, "active_fuel": 10_000, "fuel_change_percent": 38.0 });
            answer(
                201,
                &json!({
                    "number": 4, "active": sent["activate"], "image_bytes": 315_392, "load_fuel": 1_234_567, "smoke": smoke,
                }),
            )
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_smoke_call_goes_along_and_its_fuel_is_compared() {
    let server = FakeServer::start(versions).await;
    let folder =
        folder(&[("order.rhai", "new"), ("request.json", "{\"path\": \"/42\"}"), ("broken.json", "{")]);
    let smoke = folder.path().join("request.json");
    let file = folder.path().join("order.rhai");
    let flags = ["--smoke", smoke.to_str().unwrap(), "-m", "Round up", "--no-activate"];
    let ran = deploy(&server, &file, &flags).await.expect(Exit::Ok);
    assert!(ran.out.starts_with("stored     order  version 4  "), "{}", ran.out);
    assert!(ran.out.ends_with("smoke 200 fuel 13 800 (+38 % against the active version)\n"), "{}", ran.out);
    let sent = server.seen().into_iter().find(|seen| seen.line.starts_with("POST")).unwrap();
    assert_eq!(sent.line, "POST /api/v1/apps/default/scripts/order/versions");
    let sent: Value = serde_json::from_str(&sent.body).unwrap();
    let expected =
        json!({ "source": "new", "activate": false, "message": "Round up", "smoke": { "path": "/42" } });
    assert_eq!(sent, expected);
    std::fs::write(&file, "bad").unwrap();
    let ran = deploy(&server, &file, &flags[..2]).await.expect(Exit::Failed);
    assert!(ran.err.contains("error[smoke-failed]: The smoke call was answered with 500."), "{}", ran.err);
    deploy(&server, &file, &["-m", "Round up"]).await.expect(Exit::Ok);
    let line = server.lines().into_iter().find(|line| line.starts_with("PUT")).unwrap();
    assert_eq!(line, "PUT /api/v1/apps/default/scripts/order?message=Round%20up");
    let broken = folder.path().join("broken.json");
    deploy(&server, &file, &["--smoke", broken.to_str().unwrap()]).await.expect(Exit::Usage);
}
