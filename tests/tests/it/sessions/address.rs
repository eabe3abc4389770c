//! A control plane with an address of its own.

use hmac::{Hmac, KeyInit as _, Mac as _};
use picloud_tests::{Reply, TestApp};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{put_user, session};
use crate::triggers::PATIENCE;

/// Every operation that is where scripts are, for those who have no token.
const PUBLIC: [&str; 5] = [
    "POST /api/v1/apps/{app}/webhooks/{name}",
    "GET /api/v1/apps/{app}/executions/{id}",
    "DELETE /api/v1/apps/{app}/executions/{id}",
    "GET /api/v1/apps/{app}/executions/{id}/answer",
    "GET /api/v1/errors/{code}",
];

async fn split() -> TestApp {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    TestApp::builder().dev(false).config(|config| config.admin_address = Some(address)).start().await
}

/// A request to the API, with the admin token.
fn admin(app: &TestApp, method: &str, path: &str) -> reqwest::RequestBuilder {
    app.anonymous_admin(method, path).bearer_auth(app.token.as_deref().unwrap())
}

async fn deploy(app: &TestApp, name: &str, source: &'static str) {
    let put = admin(app, "PUT", &picloud_tests::app::script_path(name)).header("content-type", "text/plain");
    assert!(Reply::of(put.body(source)).await.is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_address_has_its_own_and_both_say_that_they_are_there() {
    let app = split().await;
    deploy(&app, "a", "\"from a script\"").await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(Reply::of(app.anonymous("GET", path)).await.status, 200);
        assert_eq!(Reply::of(app.anonymous_admin("GET", path)).await.status, 200);
    }
    assert_eq!(Reply::of(app.anonymous("GET", "/default/a")).await.text(), "from a script");
    for path in ["/default/a", "/", "/nothing"] {
        Reply::of(admin(&app, "GET", path)).await.assert_problem(404, "route-not-found");
    }
    for path in ["/metrics", "/openapi.json", "/api/v1/apps", "/api/v1/errors/internal"] {
        assert_eq!(Reply::of(admin(&app, "GET", path)).await.status, 200, "{path}");
    }
    for path in ["/metrics", "/openapi.json", "/api", "/api/v1/apps", "/api/v1/session", "/_"] {
        // With the best of tokens.
        Reply::of(app.request("GET", path)).await.assert_problem(404, "route-not-found");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_says_where_scripts_are() {
    let told = async |app: &TestApp, name: &str| {
        Reply::of(app.anonymous_admin("GET", "/api/v1/server")).await.json()[name].take()
    };
    let app = TestApp::start().await;
    for name in ["public_url", "listener_url"] {
        assert_eq!(told(&app, name).await, Value::Null, "where the API is");
    }
    let app = split().await;
    assert_eq!(told(&app, "listener_url").await, format!("http://{}", app.address));
    assert_eq!(told(&app, "public_url").await, Value::Null);
    let everywhere = TestApp::builder().dev(false).config(|config| {
        config.address = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
        config.admin_address = Some(std::net::SocketAddr::from(([127, 0, 0, 1], 0)));
    });
    let app = everywhere.start().await;
    assert_eq!(told(&app, "listener_url").await, format!("http://127.0.0.1:{}", app.address.port()));
    let configured = TestApp::builder()
        .config(|config| config.public_url = "https://Pi.example/".parse().ok())
        .start()
        .await;
    assert_eq!(told(&configured, "public_url").await, "https://pi.example");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_opens_anything_of_the_api_where_scripts_are() {
    let app = split().await;
    put_user(&app, "ann", &["admin"]).await;
    let ann = session(&app, "ann").await;
    let document = Reply::of(app.anonymous_admin("GET", "/openapi.json")).await.json();
    let mut public = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let name = format!("{} {path}", method.to_uppercase());
            let address = path.replace("{app}", "default").replace("{id}", &uuid::Uuid::now_v7().to_string());
            let address = address.replace("{code}", "internal").replace(['{', '}'], "");
            let mut seen = false;
            for query in ["", "?key=AAAAAAAAAAAAAAAAAAAAAA"] {
                let request = app.anonymous(&method.to_uppercase(), &format!("{address}{query}"));
                let reply = Reply::of(request.bearer_auth(&ann)).await;
                let hidden = matches!(&*reply.problem_code(), "route-not-found" | "method-not-allowed");
                seen |= !hidden;
                let shows = reply.status < 400 && !PUBLIC[4..].contains(&&*name);
                assert!(!shows, "{name}{query}: {reply}");
            }
            if seen {
                public.push(name);
            }
        }
    }
    public.sort();
    let mut expected = PUBLIC.to_vec();
    expected.sort_unstable();
    assert_eq!(public, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_are_delivered_and_answers_fetched_where_scripts_are() {
    let app = split().await;
    let secret =
        admin(&app, "PUT", "/api/v1/apps/default/secrets/shared").header("content-type", "text/plain");
    assert!(Reply::of(secret.body("a secret of sixteen bytes")).await.is_success());
    let hook = json!({ "kind": "webhook", "secret": "shared", "script": "hook", "scheme": "github" });
    let hook = Reply::of(admin(&app, "PUT", "/api/v1/apps/default/triggers/hook").json(&hook)).await;
    assert!(hook.is_success(), "{hook}");
    deploy(&app, "hook", "fn on_event(event) { kv::set(\"delivered\", event.data.body); }").await;
    let mut mac = Hmac::<Sha256>::new_from_slice(b"a secret of sixteen bytes").unwrap();
    mac.update(b"hello");
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let deliver = app.anonymous("POST", "/api/v1/apps/default/webhooks/hook").body("hello");
    let delivered = Reply::of(deliver.header("x-hub-signature-256", format!("sha256={signature}"))).await;
    assert_eq!(delivered.status, 202, "{delivered}");

    deploy(&app, "later", "fn handle(req) { `for ${req.body}` }").await;
    let later = app.anonymous("POST", "/default/later").header("prefer", "respond-async").body("you");
    let later = Reply::of(later).await;
    let location = later.header("location").unwrap().to_owned();
    let answer = location.replacen('?', "/answer?", 1);
    let begun = std::time::Instant::now();
    let wait = || tokio::time::sleep(std::time::Duration::from_millis(5));
    while Reply::of(app.anonymous("GET", &answer)).await.status != 200 {
        assert!(begun.elapsed() < PATIENCE, "the call does not end");
        wait().await;
    }
    assert_eq!(Reply::of(app.anonymous("GET", &answer)).await.text(), "for you");
    assert_eq!(Reply::of(app.anonymous("GET", &location)).await.json()["state"], "done");
    let cancelled = Reply::of(app.anonymous("DELETE", &location)).await;
    cancelled.assert_problem(409, "not-cancellable");
    // Without the key there is nothing there at all, also for who has a token.
    let (path, _) = location.split_once('?').unwrap();
    Reply::of(app.request("GET", path)).await.assert_problem(404, "route-not-found");
    Reply::of(app.request("GET", &format!("{path}?key=wrong"))).await.assert_problem(401, "unauthorized");
    assert_eq!(Reply::of(admin(&app, "GET", path)).await.status, 200);
    let value = async || Reply::of(admin(&app, "GET", "/api/v1/apps/default/kv/delivered")).await;
    while value().await.status != 200 {
        assert!(begun.elapsed() < PATIENCE, "the event is not handled");
        wait().await;
    }
    assert_eq!(value().await.json(), Value::from("hello"));
}

#[tokio::test(flavor = "multi_thread")]
async fn in_dev_mode_both_addresses_refuse_the_names_of_others() {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    let app = TestApp::builder().config(|config| config.admin_address = Some(address)).start().await;
    for request in [app.anonymous("GET", "/default/a"), app.anonymous_admin("GET", "/api/v1/apps")] {
        Reply::of(request.header("host", "evil.example")).await.assert_problem(421, "host-forbidden");
    }
    assert_eq!(Reply::of(app.anonymous_admin("GET", "/api/v1/apps")).await.status, 200);
    Reply::of(app.anonymous("GET", "/api/v1/apps")).await.assert_problem(404, "route-not-found");
}
