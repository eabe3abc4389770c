//! Requests of scripts to other servers, through the real sandbox and the real policy.

mod command;
mod limits;
mod refused;
pub(crate) mod remote;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{any, get};
use http::{HeaderMap, Method, StatusCode, Uri};
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use tokio::sync::Notify;

use remote::{FETCH, Remote, allow};

/// Tells what arrived, as JSON.
async fn echo(method: Method, uri: Uri, headers: HeaderMap, body: String) -> axum::Json<Value> {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    axum::Json(json!({
        "method": method.as_str(),
        "uri": uri.to_string(),
        "type": header("content-type"),
        "x": header("x-test"),
        "body": body,
    }))
}

/// A server with an app that may request everything of a remote.
async fn app_with(router: Router) -> (TestApp, Remote) {
    let (app, remote) = (TestApp::start().await, Remote::start(router).await);
    allow(&app, json!([remote.rule()])).await;
    (app, remote)
}

/// Deploy a script in which `URL` is the remote, and call it.
async fn run(app: &TestApp, remote: &Remote, source: &str) -> Reply {
    app.deploy("script", source.replace("URL", &remote.url(""))).await;
    app.get("/default/script").await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_sends_what_it_is_given() {
    let (app, remote) = app_with(Router::new().route("/echo", any(echo))).await;
    let sent = async |call: &str| {
        let reply = run(&app, &remote, &format!("let r = {call}; [r.status, r.ok, r.json]")).await;
        let value = reply.json();
        assert_eq!((&value[0], &value[1]), (&json!(200), &json!(true)), "{call}");
        let echoed = value[2].clone();
        ["method", "uri", "type", "x", "body"].map(|name| echoed[name].as_str().unwrap_or("-").to_owned())
    };
    for (call, expected) in [
        ("http::get(`URL/echo?q=1#f`)", ["GET", "/echo?q=1", "-", "-", ""]),
        ("http::get(`URL/echo`, #{headers: #{\"X-Test\": 5}})", ["GET", "/echo", "-", "5", ""]),
        ("http::post(`URL/echo`, \"é\")", ["POST", "/echo", "text/plain; charset=utf-8", "-", "é"]),
        (
            "http::post(`URL/echo`, #{a: [1, ()]})",
            ["POST", "/echo", "application/json", "-", "{\"a\":[1,null]}"],
        ),
        ("http::put(`URL/echo`, blob(2, 65))", ["PUT", "/echo", "application/octet-stream", "-", "AA"]),
        ("http::patch(`URL/echo`, (), #{json: \"x\"})", ["PATCH", "/echo", "application/json", "-", "\"x\""]),
        ("http::delete(`URL/echo`, #{headers: #{\"x-test\": [\"a\"]}})", ["DELETE", "/echo", "-", "a", ""]),
        (
            "http::request(#{method: \"purge\", url: `URL/echo`, body: \"b\", headers: #{\"content-type\": \"x/y\"}})",
            ["PURGE", "/echo", "x/y", "-", "b"],
        ),
    ] {
        assert_eq!(sent(call).await, expected, "{call}");
    }
    let head =
        run(&app, &remote, "let r = http::head(`URL/echo`); [r.body, r.headers[\"content-type\"]]").await;
    assert_eq!(head.json(), json!(["", "application/json"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_is_read_like_a_request() {
    let page =
        async || (StatusCode::NOT_FOUND, [("X-Twice", "1"), ("x-twice", "2"), ("set-cookie", "a=b")], "no");
    let router = Router::new().route("/page", get(page)).route("/bytes", get(async || vec![0xff_u8, 0]));
    let (app, remote) = app_with(router).await;
    let source =
        "let r = http::get(`URL/page`); [r.status, r.ok, r.body, r.url, r.headers[\"set-cookie\"], r.error]";
    let expected = json!([404, false, "no", remote.url("/page"), ["a=b"], null]);
    assert_eq!(run(&app, &remote, source).await.json(), expected);
    let source = "let r = http::get(`URL/bytes`); let m = []; for f in [|| r.body, || r.json] { try { f.call() } catch (e) { m += e } } [r.blob.len, m]";
    let texts = [
        "http: the response's body is not UTF-8: use its blob",
        "http: the response's body is not UTF-8, so it is not JSON",
    ];
    assert_eq!(run(&app, &remote, source).await.json(), json!([2, texts]));
    // An error that nobody catches says where it was.
    let reply = run(&app, &remote, "let a = 1;\nhttp::get(`URL/page`).json").await;
    reply.assert_problem(500, "script-error");
    assert_eq!(reply.json()["position"]["line"], 2);
    let reply = run(&app, &remote, "let a = 1;\n  http::get(\"nowhere\")").await;
    assert_eq!(reply.json()["position"], json!({ "line": 2, "column": 9 }), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_are_sent_at_the_same_time() {
    // Each waits for all the others.
    let barrier = Arc::new(tokio::sync::Barrier::new(4));
    let meet = async |State(barrier): State<Arc<tokio::sync::Barrier>>, uri: Uri| {
        barrier.wait().await;
        uri.query().unwrap_or_default().to_owned()
    };
    let (app, remote) = app_with(Router::new().route("/meet", get(meet)).with_state(barrier)).await;
    let source = r#"
        let urls = ["URL/meet?a", "http://example.org/", "URL/meet?b", "URL/meet?c", "nonsense", "URL/meet?d"];
        http::all(urls.map(|url| #{url: url})).map(|r| if r.ok { r.body } else { r.error })"#;
    let expected = json!([
        "a",
        "http: the app's policy does not allow GET http://example.org",
        "b",
        "c",
        "http: the URL must be absolute, http or https, at most 8192 bytes long, and without a user name",
        "d",
    ]);
    assert_eq!(run(&app, &remote, source).await.json(), expected);
    assert_eq!(run(&app, &remote, "http::all([])").await.json(), json!([]));
    let wrong = run(&app, &remote, "http::all([#{url: `URL/meet`}, 1])").await;
    wrong.assert_problem(500, "script-error");
    assert_eq!(remote.hits(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_counts_from_its_change_on() {
    let (app, remote) =
        (TestApp::start().await, Remote::start(Router::new().route("/", get(async || "there"))).await);
    app.deploy("fetch", FETCH).await;
    let fetch = async || app.post("/default/fetch", remote.url("/")).await.text().to_owned();
    let refused = format!("caught: http: the app's policy does not allow GET {}", remote.url(""));
    assert_eq!(fetch().await, refused);
    allow(&app, json!([remote.rule()])).await;
    assert_eq!(fetch().await, "there");
    allow(&app, json!([])).await;
    assert_eq!(fetch().await, refused);
    assert_eq!(remote.hits(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_survives_a_restart() {
    let (mut app, remote) = app_with(Router::new().route("/", get(async || "there"))).await;
    app.deploy("fetch", FETCH).await;
    app.restart().await;
    assert_eq!(app.post("/default/fetch", remote.url("/")).await.text(), "there");
}

/// The remote changes what the call has read, every time.
#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_has_sent_something_is_not_run_again() {
    let app = Arc::new(TestApp::start().await);
    let interfere = async |State(app): State<Arc<TestApp>>| {
        let path = "/api/v1/apps/default/kv/n";
        Reply::of(app.request("PUT", path).header("content-type", "application/json").body("7")).await;
    };
    let remote = Remote::start(Router::new().route("/", get(interfere)).with_state(app.clone())).await;
    allow(&app, json!([remote.rule()])).await;
    let reply =
        run(&app, &remote, "let n = kv::get(\"n\", 0); http::get(`URL/`); kv::set(\"n\", n + 1)").await;
    let problem = reply.assert_problem(503, "kv-conflict");
    assert!(problem["detail"].as_str().unwrap().contains("with HTTP requests"), "{reply}");
    assert_eq!(remote.hits(), 1);
    assert_eq!(app.get("/api/v1/apps/default/kv/n").await.text(), "7");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_requested_at_upload() {
    let (app, remote) = app_with(Router::new()).await;
    let source = format!("const X = http::get(\"{}\");\nfn handle(req) {{ 1 }}", remote.url("/"));
    let reply = app.put_script("early", source).await;
    let problem = reply.assert_problem(422, "top-level-failed");
    assert!(problem["detail"].as_str().unwrap().contains("use http in a handler"), "{reply}");
    assert_eq!(remote.hits(), 0);
}

/// More calls than there are processors wait, after they have worked long enough to need one.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_wait_for_others_leave_the_processors_free() {
    let release = Arc::new(Notify::new());
    let wait = async |State(release): State<Arc<Notify>>| release.notified().await;
    let (app, remote) = app_with(Router::new().route("/wait", get(wait)).with_state(release.clone())).await;
    let work = "let n = 0; for i in 0..200000 { n += i; }";
    app.deploy("wait", format!("{work} http::get(\"{}\").status", remote.url("/wait"))).await;
    app.deploy("work", format!("{work} n")).await;
    let calls = std::thread::available_parallelism().unwrap().get() + 4;
    let waiting = futures_util::future::join_all((0..calls).map(|_| app.get("/default/wait")));
    let meanwhile = async {
        while remote.hits() < calls {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let reply = app.get("/default/work").await;
        release.notify_waiters();
        reply
    };
    let (waited, reply) = tokio::join!(waiting, meanwhile);
    assert_eq!(reply.text(), "19999900000", "{reply}");
    for reply in waited {
        assert_eq!(reply.text(), "200", "{reply}");
    }
}
