//! Sessions that a browser keeps: what protects them from pages, and from scripts.

use picloud_tests::{Reply, TestApp};
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::{PASSWORD, put_user, server};

/// A server whose API has an address of its own, and the user `ann`, who may do everything.
async fn split() -> TestApp {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let app =
        TestApp::builder().dev(false).config(|config| config.admin_address = Some(address)).start().await;
    put_user(&app, "ann", &["admin"]).await;
    app
}

fn credentials() -> Value {
    json!({ "user": "ann", "password": PASSWORD, "cookie": true })
}

/// The cookie of a browser that is logged in, and the token of its pages.
async fn browser(app: &TestApp) -> (String, String) {
    let reply = Reply::of(app.anonymous_admin("POST", "/api/v1/session").json(&credentials())).await;
    assert_eq!(reply.status, 201, "{reply}");
    let cookie = reply.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    (cookie, reply.json()["csrf_token"].as_str().unwrap().to_owned())
}

async fn deploy(app: &TestApp, name: &str, source: &'static str) {
    let path = picloud_tests::app::script_path(name);
    let put = app.anonymous_admin("PUT", &path).bearer_auth(app.token.as_deref().unwrap());
    assert!(Reply::of(put.header("content-type", "text/plain").body(source)).await.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_works_with_its_cookie_and_pages_of_others_do_not() {
    let app = split().await;
    let (cookie, csrf) = browser(&app).await;
    let put = || app.anonymous_admin("PUT", "/api/v1/apps/shop").header("cookie", &cookie).json(&json!({}));
    Reply::of(put()).await.assert_problem(403, "csrf-invalid");
    Reply::of(put().header("x-csrf-token", "x")).await.assert_problem(403, "csrf-invalid");
    let shown = || put().header("x-csrf-token", &csrf);
    // A page that a script answers is of the same site, but not of the same origin.
    let scripts = format!("http://{}", app.address);
    Reply::of(shown().header("origin", &scripts)).await.assert_problem(403, "origin-forbidden");
    Reply::of(shown().header("sec-fetch-site", "same-site")).await.assert_problem(403, "origin-forbidden");
    let own = format!("http://{}", app.admin_address.unwrap());
    let own = shown().header("origin", &own).header("sec-fetch-site", "same-origin");
    assert_eq!(Reply::of(own).await.status, 201);
    let log = app.anonymous_admin("GET", "/api/v1/audit").header("cookie", &cookie);
    let log = Reply::of(log).await.json();
    assert_eq!((&log["items"][0]["kind"], &log["items"][0]["name"]), (&json!("user"), &json!("ann")));
    let out = app.anonymous_admin("DELETE", "/api/v1/session").header("cookie", &cookie);
    let out = Reply::of(out.header("x-csrf-token", &csrf)).await;
    assert_eq!(out.status, 204);
    assert!(out.header("set-cookie").unwrap().contains("Max-Age=0"));
    Reply::of(shown()).await.assert_problem(401, "unauthorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_keeps_nothing_where_scripts_are_or_where_anybody_listens() {
    let shared = server(&["admin"]).await;
    let reply = Reply::of(shared.anonymous("POST", "/api/v1/session").json(&credentials())).await;
    reply.assert_problem(409, "session-unavailable");
    assert_eq!(reply.header("set-cookie"), None);
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let networks = ["127.0.0.0/8".parse().unwrap()];
    let app = TestApp::builder().dev(false).config(|config| {
        config.admin_address = Some(address);
        config.trusted_proxies = networks.to_vec();
    });
    let app = app.start().await;
    put_user(&app, "ann", &["admin"]).await;
    let from_afar = |proto: Option<&str>| {
        let request = app.anonymous_admin("POST", "/api/v1/session").header("host", "pi.example");
        let request = request.json(&credentials());
        proto.into_iter().fold(request, |request, proto| request.header("x-forwarded-proto", proto))
    };
    for proto in [None, Some("http"), Some("https, http")] {
        Reply::of(from_afar(proto)).await.assert_problem(409, "session-unavailable");
    }
    let reply = Reply::of(from_afar(Some("https"))).await;
    assert_eq!(reply.status, 201, "{reply}");
    assert!(reply.header("set-cookie").unwrap().contains("; HttpOnly; Secure; SameSite=Strict"));
}

#[tokio::test(flavor = "multi_thread")]
async fn scripts_neither_see_the_cookie_nor_set_it() {
    let app = split().await;
    let (cookie, csrf) = browser(&app).await;
    let source = "fn handle(req) { response(200, #{ cookie: req.headers.cookie, who: req.principal }, \
                  #{ \"set-cookie\": [\"picloud_session=planted; Path=/api\", \"mine=1\"] }) }";
    deploy(&app, "nosy", source).await;
    let seen = async |request: RequestBuilder| {
        let reply = Reply::of(request.header("x-csrf-token", &csrf)).await;
        let set: Vec<_> = reply.headers.get_all("set-cookie").iter().collect();
        assert_eq!(set, ["mine=1"], "{reply}");
        reply.json()
    };
    let alone = app.anonymous("GET", "/default/nosy").header("cookie", &cookie);
    assert_eq!(seen(alone).await, json!({ "cookie": null, "who": null }));
    let among = app.anonymous("GET", "/default/nosy").header("cookie", format!("a=1; {cookie}; b=2"));
    assert_eq!(seen(among).await, json!({ "cookie": "a=1; b=2", "who": null }));
    // Nor where the answer is fetched later, which is at an address of the API.
    let later = app.anonymous("POST", "/default/nosy").header("prefer", "respond-async");
    let later = Reply::of(later.header("cookie", &cookie)).await;
    let answer = later.header("location").unwrap().replacen('?', "/answer?", 1);
    let begun = std::time::Instant::now();
    let kept = loop {
        let reply = Reply::of(app.anonymous("GET", &answer)).await;
        if reply.status == 200 {
            break reply;
        }
        assert!(begun.elapsed() < super::super::triggers::PATIENCE, "{reply}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    };
    assert_eq!(kept.json()["cookie"], Value::Null);
    assert_eq!(kept.headers.get_all("set-cookie").iter().collect::<Vec<_>>(), ["mine=1"]);
    // A route that answers without a script.
    let route = json!({
        "path": "/default/fixed", "methods": ["GET"],
        "answer": { "status": 200, "headers": { "set-cookie": "picloud_session=planted" }, "body": "x" },
    });
    let put = app.anonymous_admin("PUT", "/api/v1/apps/default/routes/fixed").json(&route);
    let put = Reply::of(put.bearer_auth(app.token.as_deref().unwrap())).await;
    assert!(put.is_success(), "{put}");
    let fixed = Reply::of(app.anonymous("GET", "/default/fixed")).await;
    assert_eq!((fixed.text(), fixed.header("set-cookie")), ("x", None));
}
