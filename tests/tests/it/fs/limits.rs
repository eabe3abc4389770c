//! How much a call may read, write and ask for, and what many calls do to the same file at the same time.

use futures_util::future::join_all;
use picloud_host::limits::Limits;
use picloud_tests::TestApp;
use serde_json::json;

use super::{DO, Files, WROTE, grant};

/// A server with a writable grant `data` and other limits.
async fn limited(change: impl FnOnce(&mut Limits)) -> (TestApp, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    let app = TestApp::builder().limits(change).config(|config| {
        config.fs.insert("data".to_owned(), grant(data.path(), true));
    });
    let app = app.start().await;
    app.deploy("do", DO).await;
    (app, data)
}

/// The text that a script answers with.
async fn run(app: &TestApp, source: &str) -> String {
    app.deploy("run", source.to_owned()).await;
    let reply = app.get("/default/run").await;
    assert_eq!(reply.status, 200, "{source}: {reply}");
    reply.text().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_over_the_limit_is_neither_read_nor_written() {
    let (app, data) = limited(|limits| limits.fs_file_bytes = 1000).await;
    let order = |act: &str, length: usize| json!({"act": act, "path": "data/a", "data": "x".repeat(length)});
    let too_large = "fs: `data/a`: at most 1000 bytes can be read or written at once";
    assert!(app.post("/default/do", order("write", 1000).to_string()).await.json()["error"].is_null());
    for act in ["write", "append"] {
        let answer = app.post("/default/do", order(act, 1001).to_string()).await.json();
        assert_eq!(answer["error"], too_large, "{act}");
    }
    assert_eq!(std::fs::read(data.path().join("a")).unwrap().len(), 1000);
    assert_eq!(app.post("/default/do", order("read", 0).to_string()).await.body.len(), 1000);
    app.post("/default/do", order("append", 1).to_string()).await;
    assert_eq!(app.post("/default/do", order("read", 0).to_string()).await.json()["error"], too_large);
    let range = json!({"act": "read_range", "path": "data/a", "offset": 999, "length": 1000});
    assert_eq!(app.post("/default/do", range.to_string()).await.text(), "xx");
    let range = json!({"act": "read_range", "path": "data/a", "offset": 0, "length": 1001});
    assert_eq!(app.post("/default/do", range.to_string()).await.json()["error"], too_large);
    // Also if nobody knows how long it is.
    let file = std::fs::File::create(data.path().join("a")).unwrap();
    file.set_len(1 << 40).unwrap();
    assert_eq!(app.post("/default/do", order("read", 0).to_string()).await.json()["error"], too_large);
}

#[tokio::test(flavor = "multi_thread")]
async fn operations_and_bytes_of_a_call_are_counted() {
    let (app, _data) = limited(|limits| {
        limits.fs_operations = 10;
        limits.fs_call_bytes = 3000;
    })
    .await;
    let source =
        "let n = 0; try { loop { fs::exists(\"data/a\"); n += 1; } } catch (e) { return `${n}: ${e}`; }";
    assert_eq!(run(&app, source).await, "10: fs: a call may do at most 10 operations");
    let no_good =
        "let n = 0; loop { try { fs::read(\"none/a\"); } catch (e) { n += 1; if n == 11 { return e; } } }";
    assert_eq!(run(&app, no_good).await, "fs: a call may do at most 10 operations");

    let many = "let t = \"\"; t.pad(1000, \"x\"); let n = 0;
        try { loop { fs::ACT; n += 1; } } catch (e) { return `${n}: ${e}`; }";
    let bytes = "3: fs: a call may read at most 3000 bytes, and write as many";
    assert_eq!(run(&app, &many.replace("ACT", "write(\"data/a\", t)")).await, bytes);
    assert_eq!(run(&app, &many.replace("ACT", "append(\"data/b\", t)")).await, bytes);
    assert_eq!(run(&app, &many.replace("ACT", "read(\"data/a\")")).await, bytes);
    assert_eq!(run(&app, &many.replace("ACT", "read_blob(\"data/a\", 0, 1000)")).await, bytes);
    // The next call starts anew.
    assert_eq!(run(&app, "fs::read(\"data/a\").len").await, "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_listed_count_as_read() {
    let (app, data) = limited(|limits| limits.fs_call_bytes = 100).await;
    for number in 0..20 {
        std::fs::write(data.path().join(format!("{number:010}")), "").unwrap();
    }
    let caught = run(&app, "try { fs::list(\"data\") } catch (e) { return e; }").await;
    assert_eq!(caught, "fs: a call may read at most 100 bytes, and write as many");
    assert_eq!(run(&app, "fs::list(\"data\", 10).len").await, "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_many_calls_append_are_all_there_and_whole() {
    let files = Files::start().await;
    let line = |call: usize| format!("{call:03} {}\n", "x".repeat(5000));
    let appends = (0..60).map(|call| {
        let order = json!({"act": "append", "path": "data/log", "data": line(call)});
        async { files.act(order).await }
    });
    join_all(appends).await;
    let log = files.on_disk("log");
    let mut lines: Vec<_> = log.split_inclusive('\n').map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, (0..60).map(line).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_reads_a_file_that_is_replaced_sees_one_version_of_it() {
    let files = Files::start().await;
    let version = |letter: char| letter.to_string().repeat(100_000);
    files.write("data/a", &version('a')).await;
    let calls = (0..40).map(|call| {
        let files = &files;
        async move {
            if call % 2 == 0 {
                let wrote = files.write("data/a", &version(char::from(b'A' + call))).await;
                assert_eq!(wrote.to_string(), WROTE);
            } else {
                let text = files.at("read", "data/a").await;
                let text = text.as_str().unwrap();
                assert_eq!(text.len(), 100_000);
                assert!(text.bytes().all(|byte| byte == text.as_bytes()[0]));
            }
        }
    });
    join_all(calls).await;
    assert_eq!(std::fs::read_dir(files.data.path()).unwrap().count(), 1, "nothing unfinished is left");
}
