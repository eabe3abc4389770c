//! What scripts try in order to reach what they must not (server-side request forgery). Nothing of it arrives anywhere.

use axum::Router;
use axum::response::Redirect;
use axum::routing::any;
use picloud_tests::TestApp;
use serde_json::json;

use super::remote::{FETCH, Remote, allow};

/// A remote that sends on to what follows `?`.
async fn remote() -> Remote {
    let to = async |query: axum::extract::RawQuery| Redirect::temporary(&query.0.unwrap_or_default());
    let looping = async || Redirect::permanent("/loop");
    let router =
        Router::new().route("/", any(async || "secret")).route("/to", any(to)).route("/loop", any(looping));
    Remote::start(router).await
}

async fn app() -> TestApp {
    let app = TestApp::start().await;
    app.deploy("fetch", FETCH).await;
    app
}

async fn fetch(app: &TestApp, url: &str) -> String {
    app.post("/default/fetch", url.to_owned()).await.text().to_owned()
}

/// Every way to write this machine, of which none needs a resolver that is not the system's.
const THIS_MACHINE: &[&str] = &[
    "127.0.0.1",
    "127.1",
    "127.0.0.1.",
    "2130706433",
    "0177.0.0.1",
    "017700000001",
    "0x7f.1",
    "0x7F000001",
    "127.0.0.2",
    "%31%32%37.0.0.1",
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "l\u{24de}calhost",
];

#[tokio::test(flavor = "multi_thread")]
async fn this_machine_is_not_on_the_public_internet() {
    let (app, remote) = (app().await, remote().await);
    // Everything is allowed, except to be private.
    let hosts = json!([
        "127.0.0.1",
        "127.0.0.2",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "localhost",
    ]);
    allow(&app, json!([{ "hosts": hosts, "schemes": ["http"], "ports": [remote.port()] }])).await;
    for host in THIS_MACHINE {
        let text = fetch(&app, &format!("http://{host}:{}/", remote.port())).await;
        assert!(
            text.starts_with("caught: http: ") && text.contains("is not on the public internet"),
            "{host}: {text}"
        );
    }
    allow(
        &app,
        json!([{ "hosts": ["example.org"], "schemes": ["http"], "ports": [remote.port()], "private": true }]),
    )
    .await;
    for host in THIS_MACHINE {
        let text = fetch(&app, &format!("http://{host}:{}/", remote.port())).await;
        assert!(
            text.starts_with("caught: http: the app's policy does not allow GET http://"),
            "{host}: {text}"
        );
    }
    assert_eq!(remote.hits(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_rule_reaches_metadata_services() {
    let app = app().await;
    let hosts = json!([
        "169.254.169.254",
        "[::ffff:169.254.169.254]",
        "[64:ff9b::169.254.169.254]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "168.63.129.16",
        "0.0.0.0",
        "[::]",
        "255.255.255.255",
        "224.0.0.1",
        "[ff02::1]",
    ]);
    allow(&app, json!([{ "hosts": hosts, "schemes": ["http"], "private": true }])).await;
    for host in [
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "169.254.43518",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "100.100.100.200",
        "168.63.129.16",
        "0",
        "0.0.0.0",
        "[::]",
        "255.255.255.255",
        "224.0.0.1",
        "[ff02::1]",
    ] {
        let text = fetch(&app, &format!("http://{host}/latest/meta-data/")).await;
        assert!(text.contains("is not on the public internet"), "{host}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_looks_like_another_is_refused() {
    let (app, remote) = (app().await, remote().await);
    let port = remote.port();
    allow(&app, json!([{ "hosts": ["allowed.example", "*.allowed.example"], "schemes": ["http"], "ports": [80, port] }]))
        .await;
    for url in [
        format!("http://allowed.example@127.0.0.1:{port}/"),
        format!("http://allowed.example:{port}@127.0.0.1:{port}/"),
        format!("http://allowed.example%40@127.0.0.1:{port}/"),
        format!("http://127.0.0.1:{port}\\@allowed.example/"),
        format!("http://127.0.0.1:{port}/@allowed.example"),
        format!("http://127.0.0.1:{port}#@allowed.example"),
        format!("http://127.0.0.1:{port}?.allowed.example"),
        format!("http://127.0.0.1:{port}%2f.allowed.example/"),
        format!("http://127.0.0.1:{port}%00.allowed.example/"),
        format!("\thttp://127.0.0.1:{port}/\r\nHost: allowed.example"),
        format!("http:127.0.0.1:{port}"),
        format!("http:////127.0.0.1:{port}/"),
        format!("https://127.0.0.1:{port}/"),
        format!("ftp://allowed.example:{port}/"),
        "file:///etc/passwd".to_owned(),
        "//allowed.example/".to_owned(),
        "http://allowed.example.evil.example/".to_owned(),
        "http://notallowed.example/".to_owned(),
        "http://\u{430}llowed.example/".to_owned(),
    ] {
        let text = fetch(&app, &url).await;
        let refused = text.contains("the URL must be absolute") || text.contains("policy does not allow");
        assert!(text.starts_with("caught: http: ") && refused, "{url}: {text}");
    }
    assert_eq!(remote.hits(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_the_same_however_they_are_written() {
    let (app, remote) = (app().await, remote().await);
    let port = remote.port();
    let rule =
        json!({ "hosts": ["LocalHost", "127.1"], "schemes": ["http"], "ports": [port], "private": true });
    allow(&app, json!([rule])).await;
    for host in ["localhost", "LOCALHOST", "localhost.", "127.0.0.1", "2130706433", "0x7f.1"] {
        assert_eq!(fetch(&app, &format!("HTTP://{host}:{port}")).await, "secret", "{host}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_reaches_no_more_than_a_request() {
    let (app, remote, other) = (app().await, remote().await, remote().await);
    let (port, beside) = (remote.port(), other.port());
    let public = json!({ "hosts": ["localhost", "[::1]"], "schemes": ["http"], "ports": [port, beside] });
    let metadata = json!({ "hosts": ["169.254.169.254"], "schemes": ["http"], "private": true });
    allow(&app, json!([remote.rule(), public, metadata])).await;
    for (target, reason) in [
        (other.url("/"), "policy does not allow a redirect to GET http://127.0.0.1:"),
        ("https://example.org/".to_owned(), "policy does not allow a redirect to GET https://example.org"),
        (format!("https://127.0.0.1:{port}/"), "policy does not allow a redirect to GET https://127.0.0.1:"),
        (format!("http://localhost:{beside}/"), "localhost is not on the public internet"),
        (format!("http://[::1]:{beside}/"), "[::1] is not on the public internet"),
        ("http://169.254.169.254/".to_owned(), "169.254.169.254 is not on the public internet"),
        ("http://2852039166/".to_owned(), "169.254.169.254 is not on the public internet"),
        ("file:///etc/passwd".to_owned(), "a redirect leads to an address that cannot be requested"),
        (format!("http://me@127.0.0.1:{port}/"), "a redirect leads to an address that cannot be requested"),
    ] {
        let text = fetch(&app, &remote.url(&format!("/to?{target}"))).await;
        assert!(text.starts_with("caught: http: ") && text.contains(reason), "{target}: {text}");
    }
    assert_eq!(fetch(&app, &remote.url("/to?/")).await, "secret");
    let looped = fetch(&app, &remote.url("/loop")).await;
    assert_eq!(looped, "caught: http: more than 5 redirects followed on one another");
    assert_eq!(other.hits(), 0);
}
