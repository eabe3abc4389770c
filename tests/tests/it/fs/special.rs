//! What is no ordinary file: pipes, sockets, devices, files that the kernel makes up.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use picloud_tests::TestApp;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::{DO, Files, grant};

#[tokio::test(flavor = "multi_thread")]
async fn pipes_and_sockets_are_refused_and_nobody_waits_for_them() {
    let files = Files::start().await;
    let data = files.data.path();
    mknodat(CWD, data.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    symlink("pipe", data.join("link")).unwrap();
    let _socket = UnixListener::bind(data.join("socket")).unwrap();
    let begun = Instant::now();
    // More than there are threads at once for a grant.
    for _ in 0..5 {
        for path in ["data/pipe", "data/link", "data/socket"] {
            for act in ["read", "read_blob", "write", "append"] {
                let error = files.error(json!({"act": act, "path": path, "data": "x"})).await;
                assert_eq!(error, format!("fs: `{path}` is not a file"), "{act}");
            }
            assert_eq!(files.at("stat", path).await["kind"], "other");
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(files.at("remove", "data/pipe").await, true);
    files.write("data/pipe", "a file by now").await;
    assert_eq!(files.at("read", "data/link").await, "a file by now");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_the_kernel_are_read_to_their_end_whatever_their_size_says() {
    let app = TestApp::builder().config(|config| {
        config.fs.insert("kernel".to_owned(), grant("/proc/sys/kernel".as_ref(), false));
        config.fs.insert("me".to_owned(), grant("/proc/self".as_ref(), true));
        config.fs.insert("dev".to_owned(), grant("/dev".as_ref(), false));
    });
    let app = app.start().await;
    app.deploy("do", DO).await;
    let act = async |act: &str, path: &str| {
        let order = json!({"act": act, "path": path, "offset": 0, "length": 3, "data": "files"});
        app.post("/default/do", order.to_string()).await
    };
    assert_eq!(act("stat", "kernel/ostype").await.json()["size"], 0);
    assert_eq!(act("read", "kernel/ostype").await.text(), "Linux\n");
    assert_eq!(act("read_range", "kernel/ostype").await.text(), "Lin");
    assert!(act("read", "me/status").await.text().contains("VmRSS"));
    // The name of this very process.
    assert_eq!(act("append", "me/comm").await.text(), super::WROTE);
    assert_eq!(act("read", "me/comm").await.text(), "files\n");
    assert_eq!(act("read", "dev/zero").await.json()["error"], "fs: `dev/zero` is not a file");
    // Links of `/proc` that lead anywhere at once.
    for path in ["me/root/etc/passwd", "me/cwd/Cargo.toml", "me/exe", "me/fd/0"] {
        let error = act("read_blob", path).await.json()["error"].as_str().unwrap().to_owned();
        assert!(
            error.contains("leads out of its grant") || error.contains("is not a file"),
            "{path}: {error}"
        );
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_removed_meanwhile_is_an_error_and_nothing_more() {
    let files = Files::start().await;
    files.write("data/a", "x").await;
    std::fs::remove_dir_all(files.data.path()).unwrap();
    for (act, path) in [
        ("read", "data/a"),
        ("list", "data"),
        ("write", "data/a"),
        ("append", "data/a"),
        ("make_dir", "data/b"),
    ] {
        let error = files.error(json!({"act": act, "path": path, "data": "x"})).await;
        assert_eq!(error, format!("fs: `{path}` does not exist"), "{act}");
    }
    assert_eq!(files.at("exists", "data").await, false);
    assert_eq!(files.at("remove", "data/a").await, false);
    // Another one of the same name is not the one that was granted.
    std::fs::create_dir(files.data.path()).unwrap();
    std::fs::write(files.data.path().join("a"), "new").unwrap();
    assert_eq!(files.at("exists", "data/a").await, false);
    files.app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_file_keeps_its_mode_and_a_protected_one_its_content() {
    use std::os::unix::fs::PermissionsExt;
    let files = Files::start().await;
    let path = files.data.path().join("shared");
    std::fs::write(&path, "old").unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4664)).unwrap();
    files.write("data/shared", "new").await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode, files.on_disk("shared").as_str()), (0o664, "new"));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o444)).unwrap();
    // Nothing is protected from root, which tests may run as.
    if std::fs::OpenOptions::new().write(true).open(&path).is_err() {
        let error = files.error(json!({"act": "write", "path": "data/shared", "data": "x"})).await;
        assert!(error.contains("is not accessible"), "{error}");
        assert_eq!(files.on_disk("shared"), "new");
    }
}
