//! A server that nobody calls does nothing: no thread wakes up, and nothing is written.

use std::collections::BTreeMap;
use std::time::Duration;

use picloud_tests::{Process, Site};
use tokio::time::sleep;

/// How many wake-ups a window may have, however long it is. Anything periodic is far over it in a long one.
const MOST_WAKEUPS: u64 = 5;

/// How long threads that are no longer needed linger until they end.
const SETTLE: Duration = Duration::from_secs(12);

/// How long the server is watched. `PICLOUD_TEST_IDLE_SECONDS` lengthens it.
fn window() -> Duration {
    let seconds = std::env::var("PICLOUD_TEST_IDLE_SECONDS").ok();
    Duration::from_secs(
        seconds.map_or(20, |text| text.parse().expect("PICLOUD_TEST_IDLE_SECONDS is a number")),
    )
}

#[tokio::test]
async fn an_idle_server_neither_wakes_up_nor_writes() {
    let site = Site::new();
    let mut server = site.serve(&["--dev"]).await;
    server.deploy("hello", "log::info(\"hi\"); kv::incr(\"hits\")").await;
    for expected in 1..=20 {
        assert_eq!(server.get("/default/hello").await.text(), expected.to_string());
    }
    // What is to happen in the future costs nothing until then.
    server.deploy("later", "fn on_event(event) { 1 } fn handle(req) { triggers::schedule(\"later\", time::now() + 86400000, 1) }").await;
    assert_eq!(server.get("/default/later").await.status, 200);
    // Whoever reads them makes the server write them down, so that no timer is left for that.
    let metrics = server.get("/api/v1/apps/default/scripts/hello/metrics").await;
    assert_eq!(metrics.status, 200, "{metrics}");
    server.disconnect();
    sleep(SETTLE).await;

    let before = Counters::of(&server);
    sleep(window()).await;
    let after = Counters::of(&server);

    let wakeups: Vec<(&String, u64)> = after
        .wakeups
        .iter()
        .map(|(thread, count)| (thread, count - before.wakeups.get(thread).copied().unwrap_or(0)))
        .filter(|(_, count)| *count > 0)
        .collect();
    let all: u64 = wakeups.iter().map(|(_, count)| count).sum();
    assert!(all <= MOST_WAKEUPS, "{all} wake-ups in {} s, by thread: {wakeups:?}", window().as_secs());
    assert_eq!(after.written, before.written, "bytes were written");
    println!("idle for {} s: {all} wake-ups, {} threads", window().as_secs(), after.wakeups.len());

    assert_eq!(server.get("/default/hello").await.text(), "21", "it wakes up when it is called");
    server.stop().await;
}

/// What the kernel has counted about a process.
struct Counters {
    /// By thread: how often it gave the processor away, which it can only do after it was woken up.
    wakeups: BTreeMap<String, u64>,
    /// Everything written, to files (`wchar`) and to the disk (`write_bytes`), in bytes.
    written: (u64, u64),
}

impl Counters {
    fn of(server: &Process) -> Self {
        let mut wakeups = BTreeMap::new();
        for task in std::fs::read_dir(format!("/proc/{}/task", server.id())).unwrap() {
            // A thread may end meanwhile.
            let Ok(status) = std::fs::read_to_string(task.unwrap().path().join("status")) else { continue };
            let name = format!("{} {}", field(&status, "Name"), field(&status, "Pid"));
            let count = |name| field(&status, name).parse::<u64>().unwrap();
            wakeups.insert(name, count("voluntary_ctxt_switches") + count("nonvoluntary_ctxt_switches"));
        }
        let io = std::fs::read_to_string(format!("/proc/{}/io", server.id())).unwrap();
        let bytes = |name| field(&io, name).parse::<u64>().unwrap();
        Self { wakeups, written: (bytes("wchar"), bytes("write_bytes")) }
    }
}

/// The value of a line `name: value`.
fn field<'a>(text: &'a str, name: &str) -> &'a str {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {name} in {text}")).trim()
}
