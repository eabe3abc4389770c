//! Small machines: an address space that is too small for wasmtime's defaults.

use picloud_tests::Site;

/// Serve a script that needs most of its memory, in so many GiB of address space.
async fn serves_within(gib: u64) {
    let site = Site::new();
    let server = site.serve_within(gib, &["--dev"]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", server.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max address space")).unwrap();
    assert!(line.contains(&(gib << 30).to_string()), "the limit is not there: {line}");

    server.deploy("hello", "`Hello, ${req.query.name}`").await;
    server.deploy("large", "let a = blob(40000000, 1); a.len").await;
    server.deploy("greedy", "let a = blob(80000000, 1); a.len").await;
    for _ in 0..3 {
        assert_eq!(server.get("/default/hello?name=Pi").await.text(), "Hello, Pi");
        assert_eq!(server.get("/default/large").await.text(), "40000000");
        assert_eq!(server.get("/default/greedy").await.problem_code(), "memory-exhausted");
    }
    // As many at once as the gate lets in, each in a slot of its own.
    let calls = (0..64).map(|_| server.get("/default/hello?name=all"));
    for reply in futures_util::future::join_all(calls).await {
        assert_eq!(reply.text(), "Hello, all");
    }
    println!("{gib} GiB: {}", server.log().lines().find(|line| line.contains("sandboxes of")).unwrap());
    server.stop().await;
}

#[tokio::test]
async fn a_server_serves_in_64_gib_of_address_space() {
    serves_within(64).await;
}

/// What a kernel with 39-bit user addresses has, such as the one of Raspberry Pi OS.
#[tokio::test]
async fn a_server_serves_in_512_gib_of_address_space() {
    serves_within(512).await;
}
