//! What the language has and scripts do not get, and names that a script might want to take over.

use super::{check_answers, check_calls, check_uploads};

#[tokio::test(flavor = "multi_thread")]
async fn code_at_run_time_and_modules_are_refused() {
    check_uploads(&[("eval(\"1 + 1\")".to_owned(), "compile-failed")]).await;
    check_calls(&[
        ("Fn(\"eval\").call(\"1 + 1\")", 500, "script-error"),
        ("call(Fn(\"eval\"), \"1 + 1\")", 500, "script-error"),
        ("import \"x\" as y; 1", 500, "script-error"),
        ("let x = \"/etc/passwd\"; import x as y; 1", 500, "script-error"),
        ("sleep(1)", 500, "script-error"),
        ("sleep(0.5)", 500, "script-error"),
        ("timestamp()", 500, "script-error"),
    ])
    .await;
    // Nobody imports a script, so what it exports is simply there.
    check_answers(&[("export const A = 1; A", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_have_one_form() {
    check_uploads(&[
        ("fn handle(a, b) { 1 }".to_owned(), "compile-failed"),
        ("fn handle() { 1 } fn handle(a) { 2 }".to_owned(), "compile-failed"),
        ("fn handle(req) { 1 } fn handle(req) { 2 }".to_owned(), "compile-failed"),
        ("fn on_event(a, b) { 1 }".to_owned(), "compile-failed"),
        ("fn print(x) { 1 }".to_owned(), "compile-failed"),
    ])
    .await;
    let app = super::target().await;
    app.deploy("events", "fn on_event(event) { 1 }").await;
    app.get("/default/events").await.assert_problem(404, "handler-missing");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_platform_gives_cannot_be_changed() {
    check_calls(&[
        ("req = 5;", 500, "script-error"),
        ("ctx = 5;", 500, "script-error"),
        ("ctx.app = \"evil\";", 500, "script-error"),
        ("req.method = \"EVIL\";", 500, "script-error"),
        ("let r = req; r.path = \"/evil\";", 500, "script-error"),
        ("let a = [1]; let f = |x| a += x; a.map(f)", 500, "script-error"),
        ("let a = [1, 2, 3]; a.for_each(|| a.clear())", 500, "script-error"),
    ])
    .await;
    check_answers(&[
        ("let ctx = 5; ctx", "5"),
        ("let x = ctx; x.to_string()", "Context"),
        ("debug(req); type_of(req)", "Request"),
        ("let q = req.query; q.a = 1; req.query", "{}"),
        ("let h = req.headers; h.host = \"evil\"; req.headers.host != \"evil\"", "true"),
    ])
    .await;
}
