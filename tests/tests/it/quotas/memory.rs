//! A server that has no memory left turns calls away, and takes them again when it has.

use std::time::{Duration, Instant};

use picloud_tests::{Reply, TestApp};

/// Say that a machine of 1 GiB has so much left.
fn say(root: &std::path::Path, mebibytes: u64) {
    std::fs::create_dir_all(root.join("proc")).unwrap();
    let text = format!("MemTotal: 1048576 kB\nMemAvailable: {} kB\n", mebibytes * 1024);
    // Whole at any moment: the server may be reading it.
    std::fs::write(root.join("proc/new"), text).unwrap();
    std::fs::rename(root.join("proc/new"), root.join("proc/meminfo")).unwrap();
}

async fn until(app: &TestApp, status: u16) -> Reply {
    let begun = Instant::now();
    loop {
        let reply = app.get("/default/hello").await;
        if reply.status == status {
            return reply;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "{reply}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_turned_away_while_memory_runs_short_and_events_wait() {
    let root = tempfile::tempdir().unwrap();
    say(root.path(), 500);
    let system = root.path().to_owned();
    let app = TestApp::builder().config(|config| config.system_root = system).start().await;
    app.deploy("hello", "fn handle(req) { 1 }").await;
    app.deploy("work", "fn on_event(event) { kv::set(\"done\", true) }").await;
    assert_eq!(app.get("/default/hello").await.status, 200);

    say(root.path(), 10);
    let problem = until(&app, 503).await;
    problem.assert_problem(503, "saturated");
    assert_eq!(problem.header("retry-after"), Some("2"));
    assert_eq!(super::post_event(&app, "default", "work", "1").await.status, 202);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(app.get("/api/v1/apps/default/kv/done").await.status, 404, "no event runs either");
    assert_eq!(app.get("/livez").await.status, 200);
    let refused = app.get("/metrics").await;
    assert!(!refused.text().contains("picloud_calls_refused_total 0"), "they are counted");

    say(root.path(), 500);
    until(&app, 200).await;
    super::wait_for_value(&app, "done", "true").await;
}
