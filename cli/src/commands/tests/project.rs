//! Commands in a project: whose app they are about, and what `deploy` does with a whole folder.

use std::path::Path;

use axum::response::Response;
use serde_json::{Value, json};

use super::server::{FakeServer, Seen, json as answer, problem, with_type};
use super::{Ran, picloud, picloud_within};
use crate::exit::Exit;

fn script(name: &str, version: u32, source: &str, load_fuel: u64) -> Value {
    json!({
        "app": "shop", "name": name, "version": version, "url": format!("/shop/{name}"),
        "source_hash": picloud_host::call::SourceHash::of(source).to_hex(), "source_bytes": source.len(),
        "image_bytes": 315_392, "load_fuel": load_fuel,
    })
}

/// The app `shop` has `old` with the source `1\n2\n`, and `gone`.
fn api(seen: &Seen) -> Response {
    let (method, path) = seen.line.split_once(' ').unwrap();
    let path = path.strip_prefix("/api/v1/apps/shop/scripts").unwrap_or_else(|| panic!("{path}"));
    match (method, path) {
        ("GET", "") => answer(
            200,
            &json!({ "items": [script("gone", 1, "x", 1), script("old", 3, "1", 1)], "next_cursor": null }),
        ),
        ("GET", "/old") => answer(200, &script("old", 3, "1\n2\n", 1000)),
        ("GET", "/old/source") => with_type(200, "text/plain; charset=utf-8", "1\n2\n"),
        ("GET", _) => problem(404, "script-not-found", json!({ "title": "There is no such script." })),
        ("PUT", "/old") => answer(200, &script("old", 4, &seen.body, 1380)),
        ("PUT", "/bad") => problem(422, "compile-failed", json!({ "detail": "no" })),
        ("PUT", _) => answer(201, &script(&path[1..], 1, &seen.body, 1000)),
        ("DELETE", "/gone") => with_type(204, "text/plain", ""),
        other => panic!("{other:?}"),
    }
}

/// A project of the app `shop` with these scripts.
fn project(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("picloud.toml"), "app = \"shop\"\nscripts = \"src\"\n").unwrap();
    std::fs::create_dir(folder.path().join("src")).unwrap();
    for (name, source) in files {
        std::fs::write(folder.path().join("src").join(name), source).unwrap();
    }
    folder
}

/// Deploy in a project; files are found from the test's own folder, so the project is named by its whole path.
async fn deploy(server: &FakeServer, folder: &Path, more: &[&str]) -> Ran {
    let words = [&["deploy"], more].concat();
    // Within the folder of scripts, whose path below it is empty, so that absolute paths stay.
    picloud_within(&folder.join("elsewhere"), &server.url, &words).await
}

#[tokio::test]
async fn the_project_says_which_app_and_a_flag_says_it_louder() {
    let folder = project(&[]);
    let server = FakeServer::start(|_| answer(200, &json!({ "items": [], "next_cursor": null }))).await;
    let inner = folder.path().join("src");
    picloud_within(&inner, &server.url, &["scripts"]).await.expect(Exit::Ok);
    picloud_within(&inner, &server.url, &["kv", "list", "--app", "other"]).await.expect(Exit::Ok);
    picloud(&server.url, &["scripts"]).await.expect(Exit::Ok);
    let apps: Vec<String> =
        server.lines().iter().map(|line| line.split('/').nth(4).unwrap().to_owned()).collect();
    assert_eq!(apps, ["shop", "other", "default"]);
    std::fs::write(folder.path().join("picloud.toml"), "app = 7\n").unwrap();
    let ran = picloud_within(&inner, &server.url, &["scripts"]).await.expect(Exit::Usage);
    assert!(ran.err.contains("picloud.toml: "), "{}", ran.err);
    assert_eq!(server.lines().len(), 3);
}

#[tokio::test]
async fn a_project_is_deployed_as_a_whole_and_compared() {
    let server = FakeServer::start(api).await;
    let folder = project(&[("new.rhai", "5"), ("old.rhai", "1\n3\n"), ("old_test.rhai", "6")]);
    let ran = deploy(&server, folder.path(), &[]).await.expect(Exit::Ok);
    let url = &server.url;
    assert_eq!(
        ran.out,
        format!(
            "created    new  version 1  {url}/shop/new  image 308.0 KiB  load fuel 1 000\n\
             updated    old  version 4  {url}/shop/old  image 308.0 KiB  load fuel 1 380 (+38 %)\n"
        )
    );
    assert_eq!(ran.err, "1 created, 1 updated\n");
    let ran = deploy(&server, folder.path(), &["-o", "json"]).await.expect(Exit::Ok);
    assert_eq!(ran.json()["summary"]["updated"], 1);
    assert_eq!(ran.json()["items"][1]["script"]["load_fuel"], 1380);
}

#[tokio::test]
async fn without_a_project_it_says_what_to_name() {
    let ran = picloud("http://a", &["deploy"]).await.expect(Exit::Usage);
    assert!(ran.err.contains("picloud deploy hello.rhai") && ran.err.contains("picloud init"), "{}", ran.err);
    let ran = picloud("http://a", &["dev"]).await.expect(Exit::Usage);
    assert!(ran.err.contains("picloud dev scripts"), "{}", ran.err);
}

#[tokio::test]
async fn a_dry_run_shows_a_diff_and_changes_nothing() {
    let server = FakeServer::start(api).await;
    let folder = project(&[("new.rhai", "5\n6\n"), ("old.rhai", "1\n3\n")]);
    let ran = deploy(&server, folder.path(), &["--dry-run", "--prune"]).await.expect(Exit::Ok);
    let file = folder.path().join("src/old.rhai");
    assert_eq!(
        ran.out,
        format!(
            "create     new  2 lines\n\
             update     old  version 3\n\
             --- old (version 3)\n\
             +++ {}\n\
             @@ -1,2 +1,2 @@\n 1\n-2\n+3\n\
             delete     gone\n",
            file.display()
        )
    );
    assert_eq!(ran.err, "1 to create, 1 to update, 1 to delete\n");
    let ran = deploy(&server, folder.path(), &["--dry-run", "-o", "json"]).await.expect(Exit::Ok);
    let document = ran.json();
    assert_eq!((&document["dry_run"], &document["items"][0]["result"]), (&json!(true), &json!("created")));
    assert!(document["items"][1]["diff"].as_str().unwrap().contains("\n-2\n+3\n"), "{document}");
    assert!(server.lines().iter().all(|line| line.starts_with("GET ")), "{:?}", server.lines());
}

#[tokio::test]
async fn pruning_deletes_what_is_not_in_the_folder_when_it_is_allowed_to() {
    let server = FakeServer::start(api).await;
    let folder = project(&[("old.rhai", "1\n2\n")]);
    // Nobody can be asked here.
    let ran = deploy(&server, folder.path(), &["--prune"]).await.expect(Exit::Usage);
    assert!(ran.err.contains("--yes"), "{}", ran.err);
    let file = folder.path().join("src/old.rhai");
    let ran = deploy(&server, folder.path(), &[file.to_str().unwrap(), "--prune", "--yes"])
        .await
        .expect(Exit::Usage);
    assert!(ran.err.contains("whole folders"), "{}", ran.err);
    assert_eq!(server.lines(), Vec::<String>::new());
    let ran = deploy(&server, folder.path(), &["--prune", "--yes"]).await.expect(Exit::Ok);
    assert!(ran.out.ends_with("deleted    gone\n"), "{}", ran.out);
    assert_eq!(server.lines().last().unwrap(), "DELETE /api/v1/apps/shop/scripts/gone");
}

#[tokio::test]
async fn nothing_is_pruned_when_something_was_refused() {
    let server = FakeServer::start(api).await;
    let folder = project(&[("bad.rhai", "("), ("old.rhai", "1\n2\n")]);
    let ran = deploy(&server, folder.path(), &["--prune", "--yes"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("nothing is deleted"), "{}", ran.err);
    assert!(!server.lines().iter().any(|line| line.starts_with("DELETE")));
}
