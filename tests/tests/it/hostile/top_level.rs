//! Code that runs at upload: the same limits, a refusal with its reason, and no version.

use std::fmt::Write as _;

use super::{check_answers, check_uploads, target, upload};

fn with_handler(top_level: &str) -> String {
    format!("{top_level} fn handle(req) {{ 1 }}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_level_that_reaches_a_limit_is_refused() {
    let cases = [
        "loop {}",
        "let s = \"x\"; loop { s += s }",
        "const A = blob(100000000);",
        "const A = blob(20000000, 7);",
        "const A = blob(40000000, 7);",
        "fn f() { f() } f();",
        "let h = [0]; for i in 0..1000000 { h.push([h.pop()]); }",
        "while true { log::info(\"x\") }",
    ]
    .map(|source| (with_handler(source), "top-level-limit"));
    check_uploads(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_level_that_fails_is_refused() {
    let cases = [
        "throw \"no\";",
        "throw #{status: 200, message: \"no\"};",
        "nothing;",
        "const A = req.body;",
        "const A = 1 / 0;",
        "sleep(1);",
        "import \"x\" as y;",
        "let a = []; for i in 0..2000 { a.push(i * 7919 % 2003); } let n = 0; a.sort(|x, y| { n += 1; if n % 2 == 0 { 1 } else { -1 } });",
    ]
    .map(|source| (with_handler(source), "top-level-failed"));
    check_uploads(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_upload_changes_nothing() {
    let app = target().await;
    app.deploy("hostile", "\"the first\"").await;
    for source in ["loop {} fn handle() { 1 }", "throw 1; fn handle() { 1 }", "(("] {
        assert_eq!(upload(&app, source).await.status, 422);
        let reply = app.get("/default/hostile").await;
        assert_eq!((reply.status, reply.text()), (200, "the first"));
    }
    let versions = app.get("/api/v1/apps/default/scripts/hostile/versions").await.json();
    assert_eq!(versions["items"].as_array().map(Vec::len), Some(1), "{versions}");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_refused_uploads_at_once_leave_room_for_calls() {
    let app = target().await;
    let uploads =
        (0..40).map(|n| app.put_script("hostile", with_handler(&format!("let n = {n}; loop {{}}"))));
    let calls = async {
        for _ in 0..50 {
            super::neighbour_is_served(&app).await;
        }
    };
    let (replies, ()) = tokio::join!(futures_util::future::join_all(uploads), calls);
    for reply in replies {
        reply.assert_problem(422, "top-level-limit");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_top_level_did_is_not_done_again_nor_kept() {
    check_answers(&[
        ("let x = 1; const F = || { x += 1; x }; fn handle(req) { [F.call(), F.call()] }", "[2,3]"),
        ("const A = [1, 2]; fn change(a) { a.push(3); } fn handle(req) { change(A); A.push(4); A }", "[1,2]"),
        ("try { kv::set(\"top\", 1); } catch { } fn handle(req) { kv::exists(\"top\") }", "false"),
        ("const APP = ctx.app; fn handle(req) { APP }", ""),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_image_is_made_and_called() {
    let app = target().await;
    let mut source = String::new();
    for n in 0..10_000 {
        let _ = writeln!(source, "fn f{n}() {{{n}}}");
    }
    source += "fn handle(req) { f9999() }";
    app.deploy("hostile", source).await;
    assert_eq!(app.get("/default/hostile").await.text(), "9999");
    app.deploy("hostile", "const A = blob(7000000, 7); fn handle(req) { A[6999999] }").await;
    assert_eq!(app.get("/default/hostile").await.text(), "7");
    // Every second page is left out of the image.
    let sparse = "const A = make(); fn make() { let b = blob(16000000); for i in 0..1700 { b[i * 8192] = i % 200; } b } \
                  fn handle(req) { [A[8192 * 150], A[8192 * 150 + 4096], A[8192 * 1699]] }";
    app.deploy("hostile", sparse).await;
    assert_eq!(app.get("/default/hostile").await.text(), "[150,0,99]");
    app.assert_healthy().await;
}

/// More than the runtime lets host functions take from a guest unless it is told to.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_memory_can_become_an_image_where_the_limit_allows_it() {
    let app = picloud_tests::TestApp::builder()
        .limits(|limits| {
            limits.memory_bytes = 512 << 20;
            limits.fuel = 10_000_000_000;
        })
        .start()
        .await;
    app.deploy("large", "const LARGE = blob(150 * 1024 * 1024); fn handle(req) { \"ok\" }").await;
    assert_eq!(app.get("/default/large").await.text(), "ok");
    app.assert_healthy().await;
}

/// Whoever waits for another one's build waits no longer than a call of its own may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_cold_script_that_never_loads_ends_each_of_its_callers_in_time() {
    let mut app = picloud_tests::TestApp::builder().limits(|limits| limits.deadline_ms = 4000).start().await;
    let loads_until =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 2500;
    let source = format!("if time::now() > {loads_until} {{ loop {{ }} }} fn handle(req) {{ 1 }}");
    app.deploy("cold", source).await;
    app.deploy("neighbour", "fn handle(req) { \"ok\" }").await;
    tokio::time::sleep(std::time::Duration::from_millis(2600)).await;
    app.restart_with(|config| {
        config.limits.deadline_ms = 1000;
        config.limits.fuel = 1_000_000_000_000;
    })
    .await;
    let begin = std::time::Instant::now();
    let calls = futures_util::future::join_all((0..6).map(|_| app.get("/default/cold")));
    let (replies, neighbour) = futures_util::future::join(calls, async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        app.get("/default/neighbour").await
    })
    .await;
    for reply in replies {
        reply.assert_problem(504, "deadline-exceeded");
    }
    assert!(begin.elapsed() < std::time::Duration::from_secs(3), "they ended after {:?}", begin.elapsed());
    assert_eq!(neighbour.text(), "ok");
}
