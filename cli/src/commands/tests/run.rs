//! `picloud run`, as far as it gets without a sandbox: what is wrong with its arguments and its files.

use super::picloud_in;
use crate::exit::Exit;

/// A folder with a script and an event; the path of a file in it.
fn folder() -> (tempfile::TempDir, impl Fn(&str) -> String) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("hello.rhai"), "fn on_event(event) {}").unwrap();
    std::fs::write(folder.path().join("event.json"), r#"{"type": "t"}"#).unwrap();
    std::fs::write(folder.path().join("wrong.json"), r#"{"subject": "t"}"#).unwrap();
    let root = folder.path().to_owned();
    (folder, move |name: &str| root.join(name).display().to_string())
}

#[tokio::test]
async fn an_event_is_no_request() {
    let (_folder, file) = folder();
    let (script, event) = (file("hello.rhai"), file("event.json"));
    for request in [&["-d", "{}"][..], &["-X", "PUT"], &["-H", "a: b"], &["/path"]] {
        let words = [&["run", &script, "--event", &event], request].concat();
        let ran = picloud_in(&[], &words).await.expect(Exit::Usage);
        assert!(ran.err.contains("--event"), "{}", ran.err);
    }
}

#[tokio::test]
async fn an_event_that_is_none_is_wrong_usage() {
    let (_folder, file) = folder();
    let run = async |event: &str| picloud_in(&[], &["run", &file("hello.rhai"), "--event", event]).await;
    let ran = run(&file("wrong.json")).await.expect(Exit::Usage);
    assert!(ran.err.contains("wrong.json: missing field `type`"), "{}", ran.err);
    // Standard input holds `[1]`.
    let ran = run("-").await.expect(Exit::Usage);
    assert!(ran.err.contains("--event -: "), "{}", ran.err);
    let ran = run(&file("nowhere.json")).await.expect(Exit::Failed);
    assert!(ran.err.contains("nowhere.json: "), "{}", ran.err);
}

#[tokio::test]
async fn limits_are_those_of_a_server() {
    let (_folder, file) = folder();
    let script = file("hello.rhai");
    for (limit, why) in [
        ("fuel=0", "--limit fuel: limit fuel is 0"),
        ("fule=1", "there is no limit `fule`"),
        ("fuel", "is not NAME=VALUE"),
    ] {
        let ran = picloud_in(&[], &["run", &script, "--limit", limit]).await.expect(Exit::Usage);
        assert!(ran.err.contains(why), "{}", ran.err);
    }
    let ran = picloud_in(&[], &["run", &script, "--limit", "source-bytes=9"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("hello.rhai has 21 bytes, but may have 9 (limit source_bytes)"), "{}", ran.err);
    let words = ["run", &script, "-d", "four", "--limit", "request-body-bytes=3"];
    let ran = picloud_in(&[], &words).await.expect(Exit::Failed);
    assert!(ran.err.contains("the body has 4 bytes, but may have 3"), "{}", ran.err);
}
