//! Files are no part of the transaction: what was done stays, and is not done twice.

use futures_util::future::join_all;
use serde_json::json;

use super::Files;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_call_has_written_stays() {
    let files = Files::start().await;
    files.app.deploy("fail", "kv::set(\"k\", 1); fs::write(\"data/a\", \"stays\"); throw \"no\"").await;
    files.app.get("/default/fail").await.assert_problem(500, "script-threw");
    assert_eq!(files.on_disk("a"), "stays");
    files.app.get("/api/v1/apps/default/kv/k").await.assert_problem(404, "key-not-found");
}

/// All calls read the same counter, so most of them lose. Each run appends one line.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_has_changed_a_file_does_not_run_again() {
    let files = Files::start().await;
    let source = "let n = kv::get(\"n\", 0); fs::append(\"data/log\", \"x\"); kv::set(\"n\", n + 1); n";
    files.app.deploy("count", source).await;
    let mut conflicts = 0;
    let replies = join_all((0..40).map(|_| files.app.get("/default/count"))).await;
    for reply in &replies {
        if reply.status != 200 {
            let problem = reply.assert_problem(503, "kv-conflict");
            assert!(problem["detail"].as_str().unwrap().contains("it was not run again"), "{problem}");
            conflicts += 1;
        }
    }
    assert!(conflicts > 0, "no two calls met, so this proves nothing");
    assert_eq!(files.on_disk("log").len(), 40, "each call has run once");
    let count = files.app.get("/api/v1/apps/default/kv/n").await.json();
    assert_eq!(count, json!(40 - conflicts));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_only_reads_files_runs_again() {
    let files = Files::start().await;
    files.write("data/a", "x").await;
    files.app.deploy("count", "fs::read(\"data/a\"); fs::list(\"data\"); kv::incr(\"n\")").await;
    let replies = join_all((0..20).map(|_| files.app.get("/default/count"))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(files.app.get("/api/v1/apps/default/kv/n").await.json(), json!(20));
}

/// A file may be another one the next time, so a handler that fails because of it deserves its attempts.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_fails_because_of_a_file_is_tried_again() {
    let files = Files::start().await;
    let source = "fn on_event(event) {
        let n = if fs::exists(\"data/tries\") { fs::read(\"data/tries\").len } else { 0 };
        fs::append(\"data/tries\", \"x\");
        if n < 2 { throw \"not yet\"; }
    }";
    files.app.deploy("patient", source).await;
    let path = "/api/v1/apps/default/triggers/patience";
    let queue = json!({"kind": "queue", "script": "patient", "attempts": 5, "backoff_ms": 5});
    assert_eq!(files.app.put(path, queue.to_string()).await.status, 415, "JSON says that it is JSON");
    assert!(picloud_tests::Reply::of(files.app.request("PUT", path).json(&queue)).await.is_success());
    files.app.deploy("send", "triggers::enqueue(\"patience\", 1)").await;
    assert!(files.app.get("/default/send").await.is_success());
    let begun = std::time::Instant::now();
    loop {
        let left = files.app.get("/api/v1/apps/default/events").await.json();
        if left["items"].as_array().unwrap().is_empty() {
            break;
        }
        assert!(begun.elapsed().as_secs() < 20, "{left}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(files.on_disk("tries"), "xxx");
}
