//! The life of a script: created, called, replaced, read, deleted.

use picloud_host::call::SourceHash;
use picloud_tests::app::script_path;
use picloud_tests::{Reply, TestApp};
use serde_json::json;

async fn put_with(app: &TestApp, name: &str, source: &'static str, header: (&str, &str)) -> Reply {
    Reply::of(app.request("PUT", &script_path(name)).header(header.0, header.1).body(source)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_called_as_soon_as_it_is_uploaded() {
    let app = TestApp::start().await;
    app.get("/default/hello").await.assert_problem(404, "route-not-found");
    let created = app.put_script("hello", "`Hello, ${req.path}`").await;
    assert_eq!((created.status, created.header("location")), (201, Some(&*script_path("hello"))));
    let script = created.json();
    assert_eq!(
        (&script["version"], &script["url"], &script["handles_requests"], &script["handles_events"]),
        (&json!(1), &json!("/default/hello"), &json!(true), &json!(true))
    );
    assert!(
        script["load_fuel"].as_u64() > Some(0) && script["image_bytes"].as_u64() > Some(100_000),
        "{script}"
    );
    assert_eq!(app.get("/default/hello").await.text(), "Hello, /");
    assert_eq!(app.get("/default/hello/and/below").await.text(), "Hello, /and/below");

    let replaced = app.put_script("hello", "2").await;
    assert_eq!((replaced.status, &replaced.json()["version"]), (200, &json!(2)));
    assert_eq!(app.get("/default/hello").await.text(), "2");
    let unchanged = app.put_script("hello", "2").await;
    assert_eq!((unchanged.status, unchanged.json()), (200, replaced.json()));

    assert_eq!(app.delete(&script_path("hello")).await.status, 204);
    app.get("/default/hello").await.assert_problem(404, "route-not-found");
    app.get(&script_path("hello")).await.assert_problem(404, "script-not-found");
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_uploaded_is_there_after_a_restart() {
    let mut app = TestApp::start().await;
    let before = app.deploy("hello", "\"before\"").await.json();
    app.deploy("gone", "1").await;
    app.delete(&script_path("gone")).await;
    app.restart().await;
    assert_eq!(app.get("/default/hello").await.text(), "before");
    assert_eq!(app.get(&script_path("hello")).await.json(), before);
    app.get("/default/gone").await.assert_problem(404, "route-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn entity_tags_guard_against_lost_updates() {
    let app = TestApp::start().await;
    put_with(&app, "a", "1", ("if-match", "*")).await.assert_problem(412, "precondition-failed");
    let first = put_with(&app, "a", "1", ("if-none-match", "*")).await;
    let tag = first.header("etag").unwrap().to_owned();
    assert_eq!(tag, format!("\"{}\"", SourceHash::of("1").to_hex()));
    put_with(&app, "a", "2", ("if-none-match", "*")).await.assert_problem(412, "precondition-failed");
    assert_eq!(put_with(&app, "a", "2", ("if-match", &tag)).await.status, 200);
    // Somebody who still has the first source loses.
    put_with(&app, "a", "3", ("if-match", &tag)).await.assert_problem(412, "precondition-failed");
    let delete = app.request("DELETE", &script_path("a")).header("if-match", &tag);
    Reply::of(delete).await.assert_problem(412, "precondition-failed");
    assert_eq!(app.get("/default/a").await.text(), "2");

    let unchanged = app.get(&script_path("a")).await;
    let again =
        app.request("GET", &script_path("a")).header("if-none-match", unchanged.header("etag").unwrap());
    let again = Reply::of(again).await;
    assert_eq!((again.status, again.text()), (304, ""));
}

/// Of many that create the same name at once, each with `If-None-Match: *`, one wins.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_creators_one_wins() {
    let app = TestApp::start().await;
    let put = |n: usize| {
        let request = app.request("PUT", &script_path("a")).header("if-none-match", "*");
        Reply::of(request.body(n.to_string()))
    };
    let replies = futures_util::future::join_all((0..8).map(put)).await;
    let winners: Vec<_> = (0..8).filter(|n| replies[*n].status == 201).collect();
    assert_eq!(winners.len(), 1, "{replies:?}");
    for (_, reply) in replies.iter().enumerate().filter(|(n, _)| !winners.contains(n)) {
        reply.assert_problem(412, "precondition-failed");
    }
    assert_eq!(app.get("/default/a").await.text(), winners[0].to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_does_not_compile_is_refused_with_its_place() {
    let app = TestApp::start().await;
    app.deploy("a", "\"works\"").await;
    for (source, line, column) in [
        ("let x = ;", 1, 9),
        ("fn handle() {\n    let a = \"grüße\"\n    2\n}", 3, 5),
        ("\"not closed", 1, 1),
        ("fn handle() {\n", 2, 1),
        ("let é = 1; ]", 1, 5),
    ] {
        let problem = app.put_script("a", source).await.assert_problem(422, "compile-failed");
        assert_eq!(problem["position"], json!({ "line": line, "column": column }), "{source}: {problem}");
        assert!(problem["detail"].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
        assert_eq!(problem["instance"], script_path("a"));
    }
    assert_eq!(app.get("/default/a").await.text(), "works");
    assert_eq!(app.get(&script_path("a")).await.json()["version"], 1);
    app.put_script("new", "(").await.assert_problem(422, "compile-failed");
    app.get(&script_path("new")).await.assert_problem(404, "script-not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_level_that_fails_is_refused_with_its_place() {
    let app = TestApp::start().await;
    app.deploy("a", "\"works\"").await;
    for (top, line, column) in [
        ("\n  throw \"not today\";", 2, 3),
        ("const A = [1][5];", 1, 15),
        ("const B = kv::get(\"a\");", 1, 15),
        ("const C = nowhere;", 1, 11),
    ] {
        let source = format!("{top}\nfn handle() {{ 1 }}");
        let problem = app.put_script("a", source).await.assert_problem(422, "top-level-failed");
        assert_eq!(problem["position"], json!({ "line": line, "column": column }), "{top}: {problem}");
    }
    assert_eq!(app.get("/default/a").await.text(), "works");
    // Without a handler the top level is the handler, so it is not run at upload.
    app.deploy("b", "throw \"in the call\"").await;
    app.get("/default/b").await.assert_problem(500, "script-threw");
}

#[tokio::test(flavor = "multi_thread")]
async fn handlers_with_the_wrong_parameters_are_refused() {
    let app = TestApp::start().await;
    for source in ["fn handle(a, b) { }", "fn handle() { } fn handle(req) { }", "fn on_event(a, b, c) { }"] {
        app.put_script("a", source).await.assert_problem(422, "compile-failed");
    }
    let events = app.deploy("events", "fn on_event(event) { }").await.json();
    assert_eq!((&events["handles_requests"], &events["handles_events"]), (&json!(false), &json!(true)));
    app.get("/default/events").await.assert_problem(404, "handler-missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_source_is_refused() {
    let app = TestApp::builder().limits(|limits| limits.source_bytes = 1000).start().await;
    let problem = app.put_script("a", b"\"ab\xff\"".to_vec()).await.assert_problem(422, "source-invalid");
    assert_eq!(problem["detail"], "The byte at offset 3 is not UTF-8.");
    app.put_script("a", "x".repeat(1001)).await.assert_problem(413, "source-too-large");
    put_with(&app, "a", "1", ("content-type", "application/json"))
        .await
        .assert_problem(415, "media-type-unsupported");
    for name in ["A", "-a", "a.b", "a%2Fb", "a%00", "%C3%A4", &"x".repeat(64)] {
        app.put_script(name, "1").await.assert_problem(400, "name-invalid");
    }
    app.put_script("%FF", "1").await.assert_problem(400, "request-invalid");
    app.put("/api/v1/apps/other/scripts/a", "1").await.assert_problem(404, "app-not-found");
    app.get(&script_path("a")).await.assert_problem(404, "script-not-found");
    app.deploy("a", format!("{:1000}", "1")).await;
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_is_given_back_byte_by_byte() {
    let app = TestApp::start().await;
    let source = "// <script>alert(1)</script>\r\n\t\"grüße \u{1F600}\"  ";
    let put = app.deploy("a", source).await;
    let got = app.get(&format!("{}/source", script_path("a"))).await;
    assert_eq!((got.text(), got.header("etag")), (source, put.header("etag")));
    assert_eq!(got.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(got.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(app.get("/default/a").await.text(), "grüße \u{1F600}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_read_page_by_page() {
    let app = TestApp::start().await;
    for n in [3, 1, 4, 0, 2] {
        app.deploy(&format!("s{n}"), n.to_string()).await;
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    for page in 0.. {
        let list = app.get(&format!("/api/v1/apps/default/scripts?limit=2{cursor}")).await.json();
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), if page < 2 { 2 } else { 1 });
        names.extend(items.iter().map(|script| script["name"].as_str().unwrap().to_owned()));
        let Some(next) = list["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(names, ["s0", "s1", "s2", "s3", "s4"]);
}
