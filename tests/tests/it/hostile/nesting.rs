//! Values and JSON that nest too deep, or contain themselves: nothing recurses without a limit.

use super::{attack, check_answers, check_calls, target};

/// `h` holds an array `levels` deep, made without ever copying it.
fn nested(levels: u32, then: &str) -> String {
    format!("let h = [0]; for i in 0..{levels} {{ h.push([h.pop()]); }} {then}")
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_values_cannot_be_sent_stored_or_logged() {
    check_calls(&[
        (&nested(150, "h"), 500, "answer-invalid"),
        (&nested(150, "#{a: h}"), 500, "answer-invalid"),
        (&nested(150, "response(200, h)"), 500, "answer-invalid"),
        (&nested(1000, "json::stringify(h)"), 500, "script-error"),
        (&nested(1000, "kv::set(\"deep\", h)"), 500, "script-error"),
        (&nested(1000, "throw h"), 500, "script-threw"),
        (&nested(1000, "log::info(h); 1"), 200, ""),
        (&nested(1000, "let g = h; g == h"), 500, "stack-exhausted"),
        // As long as there is fuel.
        (&nested(1_000_000, "h"), 500, "fuel-exhausted"),
        ("let a = []; for i in 0..100000 { a = [a]; } a", 500, "fuel-exhausted"),
        ("let m = #{}; for i in 0..100000 { m = #{m: m}; } m", 500, "fuel-exhausted"),
        ("let f = Fn(\"f\"); for i in 0..100000 { f = f.curry(f); } 1", 500, "memory-exhausted"),
        ("let a = 1; for i in 0..100000 { let b = a; a = || b; } 1", 500, "stack-exhausted"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_too_deep_for_the_stack_is_a_limit() {
    let app = picloud_tests::TestApp::builder().limits(|limits| limits.fuel = 5_000_000_000).start().await;
    app.deploy("neighbour", "6 * 7").await;
    for then in ["h.to_string()", "print(h); 1", "debug(h); 1", "`${h}`"] {
        let reply = attack(&app, &nested(4000, then)).await;
        let problem = reply.assert_problem(500, "stack-exhausted");
        assert_eq!(problem["fault"], "limit");
    }
    // Dropping and copying them recurses as well.
    for then in ["1", "let g = h; h.clear(); 1", "throw h"] {
        let reply = attack(&app, &nested(8000, then)).await;
        let codes = ["", "stack-exhausted", "script-threw"];
        assert!(codes.contains(&reply.problem_code().as_str()), "{then}: {reply}");
    }
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_contain_themselves_are_copies_or_errors() {
    check_answers(&[
        ("let a = [1]; a.push(a); a", "[1,[1]]"),
        ("let a = [1]; a.append(a); a", "[1,1]"),
        ("let a = []; let f = || a.push(a); f.call(); f.call(); a", "[[],[[]]]"),
        ("let m = #{}; let f = || { m.me = m; 1 }; f.call(); m", "{\"me\":{}}"),
        ("let a = []; let f = || a.push(a); f.call(); a.to_string()", "[[]]"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_json_is_refused_and_the_deepest_allowed_is_not() {
    let app = target().await;
    app.deploy("hostile", "fn handle(req) { req.json; \"parsed\" }").await;
    for levels in [128, 1000, 500_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let levels = levels.min(600_000 / open.len());
            let body = format!("{}1{}", open.repeat(levels), close.repeat(levels / 2));
            let reply = app.post("/default/hostile", body).await;
            let problem = reply.assert_problem(500, "script-error");
            assert!(
                problem["detail"].as_str().is_some_and(|text| text.contains("more than 127 levels")),
                "{reply}"
            );
        }
    }
    let deepest = format!("{}{}", "[".repeat(127), "]".repeat(127));
    assert_eq!(app.post("/default/hostile", deepest.clone()).await.text(), "parsed");
    app.deploy("hostile", "fn handle(req) { req.json }").await;
    assert_eq!(app.post("/default/hostile", deepest.clone()).await.text(), deepest);
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_that_unfolds_is_bounded() {
    check_calls(&[
        (
            "let a = \"x\"; for i in 0..20 { a += a } let b = []; for i in 0..100 { b.push(a) } b",
            500,
            "memory-exhausted",
        ),
        ("let a = [1]; for i in 0..40 { a = [a, a] } a", 500, "memory-exhausted"),
        (
            "let t = \"[],\"; for i in 0..20 { t += t } json::parse(\"[\" + t + \"1]\").len",
            500,
            "memory-exhausted",
        ),
        ("let t = \"a\"; for i in 0..20 { t += t } t.split(\"\").len", 500, "memory-exhausted"),
    ])
    .await;
}
