//! Scripts that never end, or that end when there is nothing left: fuel, time, stack and memory.

use std::time::{Duration, Instant};

use picloud_tests::TestApp;

use super::{attack, check_calls};

#[tokio::test(flavor = "multi_thread")]
async fn endless_loops_use_up_their_fuel() {
    check_calls(&[
        ("loop {}", 500, "fuel-exhausted"),
        ("while true {}", 500, "fuel-exhausted"),
        ("do {} until false;", 500, "fuel-exhausted"),
        // An empty body is optimised away.
        ("for i in 0..9223372036854775807 {}", 204, ""),
        ("let n = 0; for i in 0..9223372036854775807 { n = i; }", 500, "fuel-exhausted"),
        ("for i in range(0, 9223372036854775807, 1) {}", 500, "fuel-exhausted"),
        ("for i in range(9223372036854775807, -9223372036854775808, -1) {}", 500, "fuel-exhausted"),
        ("try { loop {} } catch { 1 }", 500, "fuel-exhausted"),
        ("loop { try { throw 1 } catch {} }", 500, "fuel-exhausted"),
        ("fn handle(req) { loop { req.path } }", 500, "fuel-exhausted"),
        ("let a = [0]; loop { a.sort() }", 500, "fuel-exhausted"),
        ("let a = [1]; let f = || a.len; loop { f.call() }", 500, "fuel-exhausted"),
        ("let m = #{}; let i = 0; loop { m[`k${i % 100}`] = i; i += 1; }", 500, "fuel-exhausted"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endless_recursion_reaches_the_depth_limit() {
    check_calls(&[
        ("fn f(n) { f(n + 1) } f(0)", 500, "stack-exhausted"),
        ("fn f(n) { g(n + 1) } fn g(n) { f(n) } f(0)", 500, "stack-exhausted"),
        ("fn f() { this.f() } let x = 1; x.f()", 500, "stack-exhausted"),
        ("let f = |s| s.call(s); f.call(f)", 500, "stack-exhausted"),
        ("fn f(n) { Fn(\"f\").call(n) } f(0)", 500, "stack-exhausted"),
        ("fn f(n) { call(Fn(\"f\"), n) } f(0)", 500, "stack-exhausted"),
        ("fn f(n) { [n].map(Fn(\"f\")) } f(0)", 500, "stack-exhausted"),
        ("fn f(n) { [n].filter(Fn(\"f\")) } f(0)", 500, "stack-exhausted"),
        ("fn f(n) { [1].map(|x| [2].map(|y| f(n))) } f(0)", 500, "stack-exhausted"),
        ("fn f(a, b) { [1, 2].reduce(Fn(\"f\")) } f(0, 1)", 500, "stack-exhausted"),
        ("fn f() { [1, 2].for_each(Fn(\"f\")) } f()", 500, "stack-exhausted"),
        ("fn f(n) { try { f(n + 1) } catch { f(n + 1) } } f(0)", 500, "stack-exhausted"),
        ("fn f() { f() } try { f() } catch { 1 }", 500, "stack-exhausted"),
        ("fn handle(req) { handle(req) }", 500, "stack-exhausted"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_reach_the_memory_limit() {
    check_calls(&[
        ("let s = \"x\"; loop { s += s; }", 500, "memory-exhausted"),
        ("let s = \"x\"; loop { s = `${s}${s}`; }", 500, "memory-exhausted"),
        ("try { let s = \"x\"; loop { s += s } } catch { 1 }", 500, "memory-exhausted"),
        ("let b = blob(1000000, 7); loop { b += b; }", 500, "memory-exhausted"),
        ("let b = blob(5000000, 7); let a = []; loop { a.push(b + blob()); }", 500, "memory-exhausted"),
        ("let b = blob(5000000, 7); let m = #{}; let i = 0; loop { m[`k${i}`] = b + blob(); i += 1; }", 500, "memory-exhausted"),
        ("let a = []; a.pad(1000000000, 1);", 500, "memory-exhausted"),
        ("blob(10000000000)", 500, "memory-exhausted"),
        ("blob(9223372036854775807)", 500, "memory-exhausted"),
        ("blob(4294967297)", 500, "memory-exhausted"),
        ("let b = blob(); b.pad(10000000000, 1);", 500, "memory-exhausted"),
        ("let t = \"a\"; for i in 0..14 { t += t } let r = t; for i in 0..3 { r += r } regex::replace_all(\"a\", t, r)", 500, "memory-exhausted"),
        ("base64::encode(blob(30000000))", 500, "memory-exhausted"),
        ("let a = []; loop { a.push(1); }", 500, "fuel-exhausted"),
        ("let f = |x| x; let a = []; loop { let b = a; a = [|| b]; }", 500, "fuel-exhausted"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_costs_no_fuel_ends_at_the_deadline() {
    let change = |limits: &mut picloud_host::limits::Limits| {
        limits.fuel = 1_000_000_000_000;
        limits.deadline_ms = 300;
    };
    let app = TestApp::builder().limits(change).start().await;
    app.deploy("neighbour", "6 * 7").await;
    // The host does the work; the next ones copy much with few instructions.
    for source in [
        "loop { random::blob(65536) }",
        "let b = blob(20000000); loop { let c = b; c[0] = 1; }",
        "let s = \"x\"; for i in 0..22 { s += s } loop { log::info(s) }",
    ] {
        let started = Instant::now();
        let reply = attack(&app, source).await;
        reply.assert_problem(504, "deadline-exceeded");
        assert!(started.elapsed() < Duration::from_secs(5), "{source} took {:?}", started.elapsed());
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deadline_ends_a_loop_that_has_fuel_for_ever() {
    let change = |limits: &mut picloud_host::limits::Limits| {
        limits.fuel = 1_000_000_000_000;
        limits.deadline_ms = 300;
    };
    let app = TestApp::builder().limits(change).start().await;
    app.deploy("neighbour", "6 * 7").await;
    app.deploy("hostile", "loop {}").await;
    // As many as there are processors, and more: the others are served all the same.
    let attacks = (0..8).map(|_| app.get("/default/hostile"));
    let neighbours = async {
        for _ in 0..20 {
            super::neighbour_is_served(&app).await;
        }
    };
    let (replies, ()) = tokio::join!(futures_util::future::join_all(attacks), neighbours);
    for reply in replies {
        let problem = reply.assert_problem(504, "deadline-exceeded");
        assert_eq!(problem["fault"], "limit");
    }
    app.assert_healthy().await;
}

/// As many as there are processors, and more. Who comes meanwhile waits for ticks, not for turns.
#[tokio::test(flavor = "multi_thread")]
async fn endless_calls_leave_the_server_responsive() {
    let app = TestApp::builder().limits(|limits| limits.fuel = 1_000_000_000_000).start().await;
    app.deploy("endless", "loop { }").await;
    app.deploy("neighbour", "fn handle(req) { \"ok\" }").await;
    let endless = std::thread::available_parallelism().unwrap().get() + 2;
    let calls: Vec<_> =
        (0..endless).map(|_| tokio::spawn(app.request("GET", "/default/endless").send())).collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let mut times = Vec::new();
    for _ in 0..21 {
        let begin = Instant::now();
        assert_eq!(app.get("/default/neighbour").await.text(), "ok");
        times.push(begin.elapsed());
    }
    times.sort();
    // 60 ticks of 5 ms would be 300 ms. The client shares the processors, too.
    assert!(times[10] < Duration::from_millis(100), "half of the calls took longer than {:?}", times[10]);
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}
