//! No path leads out of a grant, however it is written and whatever links there are.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::Files;

const NO_PATH: &str = " is not a path: the name of a grant, then names between `/`";
const DENIED: &str = "is not accessible, or leads out of its grant";

#[tokio::test(flavor = "multi_thread")]
async fn paths_that_are_not_plain_are_refused() {
    let files = Files::start().await;
    std::fs::write(files.fixed.path().join("a"), "x").unwrap();
    files.at("make_dir", "data/sub").await;
    let long_name = format!("data/{}", "n".repeat(256));
    let long_path = format!("data{}", "/sub".repeat(2000));
    for path in [
        "",
        "/",
        "//",
        "/etc/passwd",
        "/data/a",
        "data/",
        "data//a",
        "data/sub/",
        "data//etc/passwd",
        "data/.",
        "data/./sub",
        "data/..",
        "data/../fixed/a",
        "data/../../../../../../etc/passwd",
        "data/sub/..",
        "data/sub/../../fixed/a",
        "data/a\0",
        "data/\0/../a",
        "data/.picloud-1.tmp",
        &long_name,
        &long_path,
    ] {
        files.all_fail(path, NO_PATH).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_only_look_special_are_names() {
    let files = Files::start().await;
    for name in ["%2e%2e%2fescaped", "..\\up", "...", "~", "C:", "$HOME", "a\nb", "-rf", "＼．．", "*"] {
        let path = format!("data/{name}");
        files.write(&path, name).await;
        assert_eq!(files.at("read", &path).await, name);
        assert_eq!(files.on_disk(name), name, "it is in the directory under this very name");
    }
    for grant in ["..", ".", "%64ata", "DATA", "data%2f", "data\0", " data", "proc"] {
        let error = files.error(json!({"act": "read", "path": format!("{grant}/a")})).await;
        assert!(error.starts_with("fs: the app has no grant"), "{grant}: {error}");
    }
    let longest = "n".repeat(255);
    files.write(&format!("data/{longest}"), "fits").await;
    assert_eq!(files.on_disk(&longest), "fits");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_lead_out_are_not_followed() {
    let files = Files::start().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), "outside").unwrap();
    let data = files.data.path();
    // After the start: the server has the directory open already.
    symlink(outside.path().join("secret"), data.join("file")).unwrap();
    symlink(outside.path(), data.join("folder")).unwrap();
    symlink("/", data.join("root")).unwrap();
    symlink("../", data.join("up")).unwrap();
    symlink(outside.path().join("new"), data.join("dangling")).unwrap();
    symlink("/proc/self", data.join("proc")).unwrap();

    let inside_of_folder = |path: &str| !matches!(path, "file" | "dangling");
    for path in ["file", "folder/secret", "root/etc/passwd", "up/x", "dangling", "proc/environ", "proc/root"]
    {
        for act in ["read", "read_blob", "list", "append", "stat", "exists"] {
            let error = files.error(json!({"act": act, "path": format!("data/{path}"), "data": "x"})).await;
            assert!(error.contains(DENIED), "{act} {path}: {error}");
        }
        for act in ["write", "remove", "make_dir"] {
            if inside_of_folder(path) {
                let error =
                    files.error(json!({"act": act, "path": format!("data/{path}"), "data": "x"})).await;
                assert!(error.contains(DENIED), "{act} {path}: {error}");
            }
        }
    }
    let error = files.error(json!({"act": "write", "path": "data/file", "data": "x"})).await;
    assert_eq!(error, "fs: `data/file` is not a file", "a link is not replaced");
    assert_eq!(files.at("remove", "data/file").await, true, "the link itself can be removed");
    assert_eq!(std::fs::read_to_string(outside.path().join("secret")).unwrap(), "outside");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "nothing was made outside");

    let entries = files.at("list", "data").await;
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 5);
    assert!(entries.iter().all(|entry| entry["kind"] == "other" && entry["size"] == 0), "{entries:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn links_that_stay_inside_are_followed() {
    let files = Files::start().await;
    let data = files.data.path();
    std::fs::create_dir(data.join("sub")).unwrap();
    std::fs::write(data.join("sub/a"), "inside").unwrap();
    symlink("sub", data.join("folder")).unwrap();
    symlink("../sub/a", data.join("sub/link")).unwrap();
    symlink(data.join("sub/a"), data.join("absolute")).unwrap();
    assert_eq!(files.at("read", "data/folder/a").await, "inside");
    assert_eq!(files.at("read", "data/sub/link").await, "inside");
    let listed = files.at("list", "data/folder").await;
    assert_eq!((&listed[1]["name"], &listed[1]["kind"]), (&json!("link"), &json!("file")), "as stat says");
    // An absolute link starts at the root of the host, so it leaves the grant even if it comes back.
    assert!(files.error(json!({"act": "read", "path": "data/absolute"})).await.contains(DENIED));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_swapped_in_meanwhile_gains_nothing() {
    let files = Files::start().await;
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("a"), "outside").unwrap();
    let data = files.data.path().to_owned();
    std::fs::create_dir(data.join("inside")).unwrap();
    std::fs::write(data.join("inside/a"), "inside").unwrap();
    symlink("inside", data.join("now")).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let swapping = tokio::task::spawn_blocking({
        let (stop, outside) = (stop.clone(), outside.path().to_owned());
        move || {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for target in [outside.as_path(), "inside".as_ref()] {
                    symlink(target, data.join("next")).unwrap();
                    std::fs::rename(data.join("next"), data.join("now")).unwrap();
                }
            }
        }
    });
    for _ in 0..100 {
        let answer = files.at("read", "data/now/a").await;
        let denied = answer["error"].as_str().is_some_and(|error| error.contains(DENIED));
        assert!(answer == "inside" || denied, "{answer}");
        let _: Value = files.act(json!({"act": "append", "path": "data/now/b", "data": "x"})).await;
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    swapping.await.unwrap();
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1, "nothing was made outside");
}
