//! Files of the host through the real sandbox: what is granted works, and nothing else does.

mod escapes;
mod limits;
mod operator;
mod special;
mod transaction;

use std::path::Path;

use picloud_host::grants::GrantConfig;
use picloud_tests::TestApp;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Does what its body says, and answers with what came of it or `#{ error }`.
const DO: &str = r#"
fn handle(req) {
    let order = req.json;
    let path = order.path;
    try {
        return switch order.act {
            "read" => fs::read(path),
            "read_blob" => fs::read_blob(path),
            "read_range" => fs::read_blob(path, order.offset, order.length),
            "write" => #{ wrote: fs::write(path, order.data) },
            "write_blob" => #{ wrote: fs::write(path, base64::decode(order.data)) },
            "append" => #{ wrote: fs::append(path, order.data) },
            "list" => fs::list(path),
            "page" => if order.after == () { fs::list(path, order.limit) } else { fs::list(path, order.limit, order.after) },
            "stat" => json::stringify(fs::stat(path)),
            "exists" => json::stringify(fs::exists(path)),
            "remove" => json::stringify(fs::remove(path)),
            "make_dir" => json::stringify(fs::make_dir(path)),
        };
    } catch (error) {
        return #{ error: error };
    }
}"#;

/// A server with the grants `data`, which is writable, and `fixed`, which is not.
struct Files {
    app: TestApp,
    data: TempDir,
    fixed: TempDir,
}

fn grant(path: &Path, writable: bool) -> GrantConfig {
    GrantConfig { path: path.to_owned(), writable, apps: None }
}

impl Files {
    async fn start() -> Self {
        let (data, fixed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let app = TestApp::builder().config(|config| {
            config.fs.insert("data".to_owned(), grant(data.path(), true));
            config.fs.insert("fixed".to_owned(), grant(fixed.path(), false));
        });
        let app = app.start().await;
        app.deploy("do", DO).await;
        Self { app, data, fixed }
    }

    /// What the script answers.
    async fn act(&self, order: Value) -> Value {
        let reply = self.app.post("/default/do", order.to_string()).await;
        assert_eq!(reply.status, 200, "{order}: {reply}");
        // Strings are text, everything else is JSON.
        serde_json::from_slice(&reply.body).unwrap_or_else(|_| reply.text().into())
    }

    /// The same for an act that needs nothing but a path.
    async fn at(&self, act: &str, path: &str) -> Value {
        self.act(json!({"act": act, "path": path})).await
    }

    async fn write(&self, path: &str, data: &str) -> Value {
        self.act(json!({"act": "write", "path": path, "data": data})).await
    }

    /// The error that the script catches.
    async fn error(&self, order: Value) -> String {
        let answer = self.act(order.clone()).await;
        answer["error"].as_str().unwrap_or_else(|| panic!("{order}: no error but {answer}")).to_owned()
    }

    /// The error of every act at a path, of which each must be the one expected.
    async fn all_fail(&self, path: &str, why: &str) {
        for act in ["read", "read_blob", "list", "stat", "exists", "write", "append", "remove", "make_dir"] {
            let error = self.error(json!({"act": act, "path": path, "data": "x"})).await;
            assert!(error.contains(why), "{act} {path:?}: {error}");
        }
    }

    fn on_disk(&self, name: &str) -> String {
        std::fs::read_to_string(self.data.path().join(name)).unwrap()
    }
}

const WROTE: &str = r#"{"wrote":null}"#;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_is_read_again_and_is_on_the_disk() {
    let files = Files::start().await;
    assert_eq!(files.write("data/a.txt", "Grüße\n").await.to_string(), WROTE);
    assert_eq!(files.at("read", "data/a.txt").await, "Grüße\n");
    assert_eq!(files.on_disk("a.txt"), "Grüße\n");
    files.write("data/a.txt", "short").await;
    assert_eq!(files.on_disk("a.txt"), "short", "it was replaced as a whole");

    let bytes = files.act(json!({"act": "write_blob", "path": "data/b", "data": "AP+A"})).await;
    assert_eq!(bytes.to_string(), WROTE);
    assert_eq!(std::fs::read(files.data.path().join("b")).unwrap(), [0, 255, 128]);
    let error = files.error(json!({"act": "read", "path": "data/b"})).await;
    assert_eq!(error, "fs: `data/b` is not UTF-8; read_blob reads it");
    let blob = files.app.post("/default/do", r#"{"act": "read_blob", "path": "data/b"}"#).await;
    assert_eq!(&*blob.body, [0, 255, 128]);

    for line in ["one\n", "two\n"] {
        files.act(json!({"act": "append", "path": "data/log", "data": line})).await;
    }
    assert_eq!(files.on_disk("log"), "one\ntwo\n");
    for (offset, length, expected) in [(0, 3, "one"), (4, 100, "two\n"), (8, 1, ""), (1 << 40, 1, "")] {
        let order = json!({"act": "read_range", "path": "data/log", "offset": offset, "length": length});
        let blob = files.app.post("/default/do", order.to_string()).await;
        assert_eq!((blob.is_success(), &*blob.body), (true, expected.as_bytes()), "{offset}");
    }
    let left: Vec<_> =
        std::fs::read_dir(files.data.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left.len(), 3, "nothing unfinished is left: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn directories_are_made_listed_and_removed() {
    let files = Files::start().await;
    assert_eq!(files.at("list", "data").await, json!([]));
    assert_eq!(files.at("make_dir", "data/sub").await, true);
    assert_eq!(files.at("make_dir", "data/sub").await, false);
    assert_eq!(files.at("make_dir", "data").await, false);
    files.write("data/sub/b", "12345").await;
    files.write("data/a", "").await;
    std::fs::write(files.data.path().join(".picloud-left.tmp"), "of a crash").unwrap();
    let entries = files.at("list", "data").await;
    let brief: Vec<_> =
        entries.as_array().unwrap().iter().map(|e| (&e["name"], &e["kind"], &e["size"])).collect();
    assert_eq!(
        brief,
        [(&json!("a"), &json!("file"), &json!(0)), (&json!("sub"), &json!("directory"), &json!(0))]
    );
    assert!(entries[0]["modified_ms"].as_i64().unwrap() > 1_700_000_000_000);

    let found = files.at("stat", "data/sub/b").await;
    assert_eq!((&found["kind"], &found["size"]), (&json!("file"), &json!(5)));
    assert_eq!(files.at("stat", "data").await["kind"], "directory");
    assert_eq!(files.at("stat", "data/none").await, Value::Null);
    assert_eq!(files.at("stat", "data/a/below-a-file").await, Value::Null);
    assert_eq!(
        (files.at("exists", "data/a").await, files.at("exists", "data/b").await),
        (json!(true), json!(false))
    );

    assert_eq!(
        files.error(json!({"act": "remove", "path": "data/sub"})).await,
        "fs: `data/sub` is not empty"
    );
    assert_eq!(files.at("remove", "data/sub/b").await, true);
    assert_eq!(files.at("remove", "data/sub").await, true);
    assert_eq!(files.at("remove", "data/sub").await, false);
    assert_eq!(files.at("remove", "data/sub/b").await, false);
    assert!(!files.data.path().join("sub").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_directory_is_listed_page_by_page_in_the_order_of_names() {
    let files = Files::start().await;
    for number in 0..1001 {
        std::fs::write(files.fixed.path().join(format!("{number:04}")), "").unwrap();
    }
    let error = files.error(json!({"act": "list", "path": "fixed"})).await;
    assert_eq!(
        error,
        "fs: `fixed` has more than 1000 entries; fs::list(path, limit, after) lists some of them"
    );
    let mut names = Vec::new();
    loop {
        let order = json!({"act": "page", "path": "fixed", "limit": 300, "after": names.last()});
        let page = files.act(order).await;
        let page = page.as_array().unwrap();
        names.extend(page.iter().map(|entry| entry["name"].as_str().unwrap().to_owned()));
        if page.len() < 300 {
            break;
        }
    }
    assert_eq!(names, (0..1001).map(|number| format!("{number:04}")).collect::<Vec<_>>());
    std::fs::remove_file(files.fixed.path().join("0500")).unwrap();
    assert_eq!(files.at("list", "fixed").await.as_array().unwrap().len(), 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_say_what_is_wrong_and_can_be_caught() {
    let files = Files::start().await;
    files.write("data/file", "x").await;
    files.at("make_dir", "data/folder").await;
    for (act, path, expected) in [
        ("read", "data/none", "fs: `data/none` does not exist"),
        ("list", "data/none", "fs: `data/none` does not exist"),
        ("write", "data/none/a", "fs: `data/none/a` does not exist"),
        ("append", "data/none/a", "fs: `data/none/a` does not exist"),
        ("make_dir", "data/none/a", "fs: `data/none/a` does not exist"),
        ("read", "data/folder", "fs: `data/folder` is not a file"),
        ("write", "data/folder", "fs: `data/folder` is not a file"),
        ("append", "data/folder", "fs: `data/folder` is not a file"),
        ("read", "data", "fs: `data` is not a file"),
        ("write", "data", "fs: `data` is not a file"),
        ("append", "data", "fs: `data` is not a file"),
        ("remove", "data", "fs: `data` is not accessible, or leads out of its grant"),
        ("list", "data/file", "fs: `data/file` is not a directory, or leads through something that is none"),
        (
            "make_dir",
            "data/file",
            "fs: `data/file` is not a directory, or leads through something that is none",
        ),
        (
            "read",
            "data/file/x",
            "fs: `data/file/x` is not a directory, or leads through something that is none",
        ),
        (
            "remove",
            "data/file/x",
            "fs: `data/file/x` is not a directory, or leads through something that is none",
        ),
        ("read", "other/x", "fs: the app has no grant `other`"),
    ] {
        assert_eq!(
            files.error(json!({"act": act, "path": path, "data": "x"})).await,
            expected,
            "{act} {path}"
        );
    }
    files.app.deploy("uncaught", "let x = 1;\nfs::read(\"data/none\")").await;
    let problem = files.app.get("/default/uncaught").await.assert_problem(500, "script-error");
    assert_eq!(problem["position"]["line"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_granted_for_reading_can_only_be_read() {
    let files = Files::start().await;
    std::fs::write(files.fixed.path().join("a"), "fixed").unwrap();
    assert_eq!(files.at("read", "fixed/a").await, "fixed");
    for act in ["write", "append", "remove", "make_dir"] {
        for path in ["fixed/a", "fixed/new", "fixed"] {
            let error = files.error(json!({"act": act, "path": path, "data": "x"})).await;
            assert_eq!(error, format!("fs: `{path}` can only be read"), "{act}");
        }
    }
    assert_eq!(std::fs::read_dir(files.fixed.path()).unwrap().count(), 1);
    assert_eq!(files.at("read", "fixed/a").await, "fixed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_top_level_has_no_files() {
    let files = Files::start().await;
    let reply = files.app.put_script("early", "let x = fs::read(\"fixed/a\");\nfn handle(req) { 1 }").await;
    let problem = reply.assert_problem(422, "top-level-failed");
    assert!(problem["detail"].as_str().unwrap().contains("fs: the top level runs at upload"), "{problem}");
}
