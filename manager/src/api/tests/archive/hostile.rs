//! Archives that mean harm, or are broken: each is refused with a reason, and nothing of it stays.

use serde_json::{Value, json};
use tar::EntryType;

use super::{Files, TestApi, document, export, fill, gzip, import, nothing_left, pack, rows, tar_of, unpack};

/// A server, and the files of an archive that it would take.
async fn given() -> (TestApi, Files) {
    let api = TestApi::new().await;
    fill(&api, "shop").await;
    let files = export(&api, "shop").await;
    (api, files)
}

async fn refused(api: &TestApi, archive: Vec<u8>, (status, code): (u16, &str), why: &str) {
    let before = rows(api).await;
    let answer = import(api, "copy", archive).await;
    let problem = answer.problem(status, code);
    let detail = problem["detail"].as_str().unwrap_or_default();
    assert!(detail.contains(why), "{why:?} is not in {detail:?}");
    nothing_left(api, &before).await;
    assert!(!api.active.current().apps.contains_key("copy"));
    api.get("/api/v1/apps/copy").await.problem(404, "app-not-found");
}

const INVALID: (u16, &str) = (422, "archive-invalid");

#[tokio::test]
async fn what_is_no_whole_archive_is_refused() {
    let (api, files) = given().await;
    let good = pack(&files);
    refused(&api, Vec::new(), INVALID, "no whole archive").await;
    refused(&api, b"no archive at all".to_vec(), INVALID, "no whole archive").await;
    refused(&api, gzip(b""), INVALID, "manifest.json: it is missing").await;
    refused(&api, gzip(&[7; 5000]), INVALID, "no whole archive").await;
    for part in [1, 2, 3] {
        refused(&api, good[..good.len() * part / 4].to_vec(), INVALID, "").await;
    }
    refused(&api, good[..good.len() - 1].to_vec(), INVALID, "no whole archive").await;
    // The checksum at the end.
    let mut changed = good.clone();
    let at = changed.len() - 6;
    changed[at] ^= 1;
    refused(&api, changed, INVALID, "no whole archive").await;
    refused(&api, [&good[..], b"more"].concat(), INVALID, "follows its end").await;
    let twice = tar_of([]);
    let members = files.iter().map(|(path, bytes)| (&**path, EntryType::Regular, &**bytes));
    let tail = [tar_of(members), twice, b"more".to_vec()].concat();
    refused(&api, gzip(&tail), INVALID, "follows its last file").await;
    let wrong_type =
        api.send("PUT", "/api/v1/apps/copy/archive", &[("content-type", "text/plain")], good).await;
    wrong_type.problem(415, "media-type-unsupported");
}

#[tokio::test]
async fn files_that_no_archive_has_are_refused() {
    let (api, files) = given().await;
    for path in [
        "../../etc/passwd",
        "/etc/passwd",
        "scripts/../app.json",
        "README",
        "scripts/order/01.rhai",
        "./../app.json",
    ] {
        let mut files = files.clone();
        files.insert(path.to_owned(), b"1".to_vec());
        refused(&api, pack(&files), INVALID, "is no file that an archive of an app has").await;
    }
    let kinds = [
        (EntryType::Symlink, &b""[..]),
        (EntryType::Link, b""),
        (EntryType::Fifo, b""),
        (EntryType::Char, b""),
        (EntryType::GNULongName, b"app.json"),
        (EntryType::XHeader, b"16 path=app.json\n"),
        (EntryType::GNUSparse, b""),
        (EntryType::Directory, b"hidden"),
    ];
    for (kind, bytes) in kinds {
        let members = files.iter().map(|(path, bytes)| (&**path, EntryType::Regular, &**bytes));
        let archive = tar_of([("scripts/order/9.rhai", kind, bytes)].into_iter().chain(members));
        refused(&api, gzip(&archive), INVALID, "is no plain file").await;
    }
    for path in ["app.json", "scripts/order/1.rhai", "kv.ndjson"] {
        let members = files.iter().map(|(path, bytes)| (&**path, EntryType::Regular, &**bytes));
        let archive = tar_of(members.chain([(path, EntryType::Regular, &*files[path])]));
        refused(&api, gzip(&archive), INVALID, &format!("{path}: it is there twice")).await;
    }
    for path in files.keys().filter(|path| !path.starts_with("scripts/")) {
        let mut files = files.clone();
        files.remove(path);
        refused(&api, pack(&files), INVALID, &format!("{path}: it is missing")).await;
    }
}

#[tokio::test]
async fn files_that_unpack_to_more_than_they_may_are_refused() {
    let (api, files) = given().await;
    for (path, bytes, why) in [
        ("config.json", 17 << 20, "may have 16777216 at most"),
        ("scripts/order/1.rhai", 30 << 20, "may have 1000 at most"),
        ("kv.ndjson", 30 << 20, "line 1: it is longer than any key"),
    ] {
        let mut files = files.clone();
        files.insert(path.to_owned(), vec![b' '; bytes]);
        let archive = pack(&files);
        assert!(archive.len() < bytes / 50, "it is no bomb");
        refused(&api, archive, INVALID, why).await;
    }
    let mut many = files.clone();
    for script in 0..5 {
        many.insert(format!("scripts/s{script}/script.json"), vec![b' '; 15 << 20]);
    }
    refused(&api, pack(&many), INVALID, "together").await;
    // More than the quota of the app, which the archive brings along, and which it cannot do without.
    let mut keys = Vec::new();
    for key in 0..60 {
        keys.extend_from_slice(
            format!("{{\"key\":\"{key:02}\",\"value\":\"{}\"}}\n", "v".repeat(96)).as_bytes(),
        );
    }
    let mut files = files;
    files.insert("kv.ndjson".to_owned(), keys);
    refused(&api, pack(&files), (507, "kv-quota-exceeded"), "5000 bytes").await;
}

/// The files with one member of one document changed.
fn with(files: &Files, path: &str, change: impl FnOnce(&mut Value)) -> Files {
    let mut files = files.clone();
    let mut changed = document(&files, path);
    change(&mut changed);
    files.insert(path.to_owned(), changed.to_string().into_bytes());
    files
}

#[tokio::test]
async fn documents_that_say_what_cannot_be_are_refused() {
    let (api, files) = given().await;
    let changes: &[(&str, &str, Value, &str)] = &[
        ("manifest.json", "/format", json!("zip"), "the format must be"),
        ("manifest.json", "/format_version", json!(2), "bring it up to date first"),
        ("manifest.json", "/format_version", json!(0), "format_version must be"),
        ("manifest.json", "/app", json!("../shop"), "app: a name starts with"),
        ("app.json", "/limits", json!({ "fuel": 900_000_000_000_u64 }), "which is the server's"),
        ("app.json", "/limits", json!({ "fuels": 1 }), "there is no limit fuels"),
        ("app.json", "/quotas", json!({ "versions": 0 }), "quota versions is 0"),
        ("app.json", "/description", json!("a\nb"), "one line"),
        ("app.json", "/http_policy", json!({ "rules": [{ "hosts": [] }] }), "Rule 1"),
        ("routes.json", "/users/path", json!("users"), "users: "),
        ("routes.json", "/users/path", json!("/api/x"), "is the server's own"),
        ("routes.json", "/users/more", json!(1), "unknown field"),
        ("routes.json", "/A", json!({ "path": "/x", "script": "a" }), "a name starts with"),
        ("triggers.json", "/daily/cron", json!("whenever"), "daily: "),
        ("triggers.json", "/jobs/concurrency", json!(1000), "must be 1 to 64"),
        ("triggers.json", "/jobs/script", json!("A"), "script: a name starts with"),
        ("triggers.json", "/jobs/attempts", json!(0), "must be 1 to 100"),
        ("config.json", "/Rate", json!(1), "a name starts with"),
        ("config.json", "/rate", json!("x".repeat(70_000)), "more than 65536 bytes"),
        ("secrets.json", "", json!(["a b"]), "a name starts with"),
        ("secrets.json", "", json!(vec!["a"; 101]), "100 secrets at most"),
        ("scripts/order/script.json", "/active", json!(4), "active must be the number of a version"),
        ("scripts/order/script.json", "/previous", json!(9), "previous must be"),
        ("scripts/order/script.json", "/versions/1/number", json!(1), "version 1 is there twice"),
        ("scripts/order/script.json", "/versions/1/number", json!(9), "version 9 has no source"),
        ("scripts/order/script.json", "/versions/1/number", json!(4_000_000_000_u32), "1000000000 at most"),
        ("scripts/order/script.json", "/versions/1/message", json!("x".repeat(1001)), "1000 bytes at most"),
        ("scripts/order/script.json", "/versions/1/author", json!("a\nb"), "one line"),
        ("scripts/order/script.json", "/versions/1/created_at", json!("1960-01-01T00:00:00Z"), "before 1970"),
        ("scripts/order/script.json", "/access", json!({ "kind": "everybody" }), "unknown variant"),
    ];
    for (path, pointer, value, why) in changes {
        let changed = with(&files, path, |document| match document.pointer_mut(pointer) {
            Some(place) => *place = value.clone(),
            None => {
                let (parent, member) = pointer.rsplit_once('/').unwrap();
                document.pointer_mut(parent).unwrap()[member] = value.clone();
            }
        });
        refused(&api, pack(&changed), INVALID, why).await;
    }
    let mut orphan = files.clone();
    orphan.insert("scripts/lost/1.rhai".to_owned(), b"1".to_vec());
    refused(&api, pack(&orphan), INVALID, "scripts/lost/script.json: it is missing").await;
    let mut unnamed = files.clone();
    unnamed.insert("scripts/order/9.rhai".to_owned(), b"1".to_vec());
    refused(&api, pack(&unnamed), INVALID, "version 9 has a source and is not named").await;
    let mut array = files;
    array.insert("app.json".to_owned(), br#"["", {}, {}, {"rules": []}]"#.to_vec());
    refused(&api, pack(&array), INVALID, "expected an object").await;
}

#[tokio::test]
async fn sources_and_keys_that_cannot_be_are_refused_when_others_are_stored_already() {
    let (api, files) = given().await;
    let replaced = |path: &str, bytes: &[u8]| {
        let mut files = files.clone();
        files.insert(path.to_owned(), bytes.to_vec());
        pack(&files)
    };
    let not_text = replaced("scripts/order/2.rhai", b"\xff");
    refused(&api, not_text, INVALID, "scripts/order/2.rhai: it is not UTF-8").await;
    let before = rows(&api).await;
    let broken = import(&api, "copy", replaced("scripts/order/1.rhai", b"error")).await;
    let problem = broken.problem(422, "compile-failed");
    assert_eq!(problem["detail"], "scripts/order/1.rhai: unexpected end");
    assert_eq!(problem["position"], json!({ "line": 3, "column": 7 }));
    nothing_left(&api, &before).await;
    refused(
        &api,
        replaced("scripts/other/1.rhai", b"loop {}"),
        (422, "top-level-limit"),
        "scripts/other/1.rhai",
    )
    .await;
    refused(&api, replaced("scripts/order/2.rhai", b"saturated"), (503, "saturated"), "scripts/order/2.rhai")
        .await;
    let first: String = (0..2000).map(|key| format!("{{\"key\":\"{key:04}\",\"value\":1}}\n")).collect();
    for (line, why) in [
        ("{\"key\":\"1999\",\"value\":1}", "line 2001: keys must be in the order"),
        ("{\"key\":\"1000\",\"value\":1}", "line 2001: keys must be in the order"),
        ("{\"key\":\"\",\"value\":1}", "line 2001: the key has 0 bytes"),
        ("{\"key\":\"z\",\"value\":}", "line 2001: expected value"),
        ("{\"key\":\"z\"", "line 2001: EOF"),
        ("\u{0}", "line 2001: expected value"),
    ] {
        let mut wide = with(&files, "app.json", |app| app["quotas"] = json!({}));
        wide.insert("kv.ndjson".to_owned(), format!("{first}{line}").into_bytes());
        refused(&api, pack(&wide), INVALID, why).await;
    }
}

#[tokio::test]
async fn an_app_that_would_take_what_another_one_has_is_refused_whole() {
    let (api, files) = given().await;
    let route = json!({ "path": "/login", "script": "a" }).to_string();
    let login = "/api/v1/apps/default/routes/enter";
    assert_eq!(
        api.send("PUT", login, &[("content-type", "application/json")], route.clone()).await.status,
        201
    );
    let taking = with(&files, "routes.json", |routes| {
        routes["sign-in"] = serde_json::from_str(&route).unwrap();
    });
    let why = "the route sign-in of the archive: the app default has a route for this host, or for paths that begin like \
               this one: enter";
    refused(&api, pack(&taking), (409, "route-conflict"), why).await;
    for app in ["shop", "login"] {
        let answer = import(&api, app, pack(&files)).await;
        let problem = answer.problem(409, "name-taken");
        assert!(problem["detail"].as_str().unwrap().contains(app), "{problem}");
    }
    import(&api, "metrics", pack(&files)).await.problem(400, "name-invalid");
    // What is free by then can be had.
    assert_eq!(api.send("DELETE", login, &[], "").await.status, 204);
    assert_eq!(import(&api, "copy", pack(&taking)).await.status, 201);
    assert_eq!(unpack(&api.get("/api/v1/apps/copy/archive").await.body).len(), files.len());
}
