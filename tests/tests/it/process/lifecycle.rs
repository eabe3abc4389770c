//! Starts and stops: draining, the data directory's lock, damaged files, the token.

use std::path::Path;
use std::time::{Duration, Instant};

use picloud_tests::{Reply, Site};
use rustix::process::Signal;

/// Busy for so many milliseconds, and then done with its work.
const SLOW: &str = "
fn handle(req) {
    let end = time::now() + 1500;
    while time::now() < end {}
    kv::set(\"done\", true);
    \"done\"
}";

#[tokio::test]
async fn sigterm_lets_a_slow_call_finish() {
    let site = Site::new();
    let server = site.serve(&["--dev", "--limit", "fuel=100000000000"]).await;
    server.deploy("slow", SLOW).await;
    let call = tokio::spawn(Reply::try_of(server.request("GET", "/default/slow")));
    tokio::time::sleep(Duration::from_millis(300)).await;

    let begun = Instant::now();
    server.signal(Signal::TERM);
    let reply = call.await.unwrap().expect("the call is answered although the server was told to stop");
    assert_eq!((reply.status, reply.text()), (200, "done"));
    let refused =
        Reply::try_of(picloud_tests::client().build().unwrap().get(format!("{}/livez", server.url))).await;
    assert!(refused.is_err(), "a server that stops takes no new connections");
    let ended = server.wait().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(10), "an open connection does not keep it alive");

    let server = site.serve(&["--dev"]).await;
    server.deploy("read", "kv::get(\"done\")").await;
    assert_eq!(server.get("/default/read").await.text(), "true", "what the last call did is there");
    server.stop().await;
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_calls() {
    let site = Site::new();
    let server = site.serve(&["--dev", "--limit", "fuel=100000000000"]).await;
    server.deploy("stuck", "loop {}").await;
    let call = tokio::spawn(Reply::try_of(server.request("GET", "/default/stuck")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    server.signal(Signal::TERM);
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.signal(Signal::INT);
    let ended = server.wait().await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(begun.elapsed() < Duration::from_secs(5), "it took {:?}", begun.elapsed());
    assert!(call.await.unwrap().is_err(), "the call was cut off");
}

#[tokio::test]
async fn sigterm_does_not_wait_for_ever() {
    let site = Site::new();
    let args = ["--dev", "--limit", "fuel=100000000000", "--drain-seconds", "1"];
    let server = site.serve(&args).await;
    server.deploy("stuck", "loop {}").await;
    let call = tokio::spawn(Reply::try_of(server.request("GET", "/default/stuck")));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = Instant::now();
    server.signal(Signal::TERM);
    server.wait().await;
    assert!(begun.elapsed() < Duration::from_secs(8), "it took {:?}", begun.elapsed());
    assert!(call.await.unwrap().is_err(), "a call that was cut off is not answered");
}

#[tokio::test]
async fn a_data_directory_has_one_server() {
    let site = Site::new();
    let first = site.serve(&["--dev"]).await;
    first.deploy("hello", "\"first\"").await;
    let second = site.try_serve(site.command(), &["--dev"]).await.map(drop).unwrap_err();
    assert_eq!(second.code(), Some(1), "{second:?}");
    assert!(second.log.contains("another server uses the data directory"), "{second:?}");
    assert!(!second.log.contains("panicked"), "{second:?}");
    assert_eq!(first.get("/default/hello").await.text(), "first", "the first one goes on");
    // The lock goes with the process, however it ends.
    first.kill().await;
    let third = site.serve(&["--dev"]).await;
    assert_eq!(third.get("/default/hello").await.text(), "first");
    third.stop().await;
}

#[tokio::test]
async fn damaged_compiled_code_is_compiled_again() {
    let site = Site::new();
    let server = site.serve(&["--dev"]).await;
    server.deploy("hello", "\"hello\"").await;
    server.stop().await;

    let cache = site.data().join("cache");
    let whole = read_all(&cache);
    assert!(!whole.is_empty(), "compiled code is kept in {}", cache.display());
    for (path, content) in &whole {
        let mut damaged = content.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x40;
        std::fs::write(path, damaged).unwrap();
    }
    let server = site.serve(&["--dev"]).await;
    assert_eq!(server.get("/default/hello").await.text(), "hello");
    server.stop().await;
    for (path, content) in read_all(&cache) {
        let of = |list: &[(std::path::PathBuf, Vec<u8>)]| {
            list.iter().find(|(other, _)| *other == path).map(|(_, c)| c.len())
        };
        assert_eq!(of(&whole), Some(content.len()), "{} is as it was before", path.display());
        let mut damaged = whole.iter().find(|(other, _)| *other == path).unwrap().1.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0x40;
        assert!(content != damaged, "{} was written again", path.display());
    }
}

fn read_all(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file()).map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

#[tokio::test]
async fn a_damaged_telemetry_file_does_not_prevent_a_start() {
    let site = Site::new();
    let server = site.serve(&["--dev"]).await;
    server.deploy("hello", "\"hello\"").await;
    assert_eq!(server.get("/default/hello").await.text(), "hello");
    server.stop().await;
    std::fs::write(site.data().join("telemetry.db"), b"no database at all".repeat(1000)).unwrap();

    let server = site.serve(&["--dev"]).await;
    assert_eq!(server.get("/default/hello").await.text(), "hello", "scripts are not in that file");
    let executions = server.get("/api/v1/apps/default/executions").await;
    assert_eq!(executions.json()["items"].as_array().map(Vec::len), Some(1), "{executions}");
    assert!(server.log().contains("the telemetry file is damaged"), "{}", server.log());
    server.stop().await;
}

#[tokio::test]
async fn the_token_is_printed_once_and_never_logged() {
    let site = Site::new();
    let mut first = site.serve(&[]).await;
    let token = first.printed_token().await;
    let apps = "/api/v1/apps/default/scripts";
    assert_eq!(first.get(apps).await.status, 200);
    let ended = first.stop().await;
    assert_eq!(ended.out.matches(&token).count(), 1, "{ended:?}");
    assert!(!ended.log.contains(&token), "the token is in the log");

    let mut second = site.serve(&[]).await;
    assert_eq!(second.get(apps).await.problem_code(), "unauthorized");
    second.use_token(&token);
    assert_eq!(second.get(apps).await.status, 200, "the token of the first start still works");
    let ended = second.stop().await;
    assert_eq!(ended.out, "", "the second start prints no token");
    assert!(!ended.log.contains(&token), "the token is in the log");
    // Only its hash is stored, and nobody else can read what is.
    for (path, content) in read_all(&site.data()) {
        assert!(!content.windows(token.len()).any(|part| part == token.as_bytes()), "{}", path.display());
    }
}

/// Only printed: how long it takes is for `make bench` to judge, on a machine that does nothing else.
#[tokio::test]
async fn a_start_with_warm_caches_is_quick() {
    let site = Site::new();
    let server = site.serve(&["--dev"]).await;
    server.deploy("hello", "\"hello\"").await;
    server.stop().await;
    let begun = Instant::now();
    let server = site.serve(&["--dev"]).await;
    assert_eq!(server.get("/default/hello").await.text(), "hello");
    println!("start to ready: {:?}, to first answer: {:?}", server.started_in, begun.elapsed());
    server.stop().await;
}
