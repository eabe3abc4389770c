//! A secret appears in no table, no log and no answer, whatever scripts do with it by mistake.

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::any;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use picloud_tests::{Process, Reply, Site};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::API;

/// What is searched for is the middle, which looks the same in JSON and in URLs.
const SECRET: &str = "\"ä\\hunter2-battery-staple-9f8e7d6c/+\n";
const MIDDLE: &str = "hunter2-battery-staple-9f8e7d6c";

/// Everything that a careless script does with a secret, one action for each call.
const ACTIONS: &[&str] = &[
    "log::info(secret)",
    "log::error(\"it is\", #{ secret: secret })",
    "print(secret); debug(secret)",
    "log::warn(base64::encode(`user:${secret}`)); log::warn(hex::encode(secret))",
    "log::warn(url::encode_component(secret)); log::warn(json::stringify(json::stringify(secret)))",
    "throw secret",
    "throw #{ status: 404, message: `not ${secret}` }",
    "throw #{ status: 500, detail: [secret] }",
    "parse_int(secret)",
    "let m = #{}; m[secret].no_such_function()",
    "time::parse(secret)",
    "secret",
    "#{ secret: secret }",
    "response(200, \"\", #{ \"x-secret\": url::encode_component(secret) })",
    "kv::set(\"a\", secret)",
    "kv::set(secret, 1)",
    "kv::set(\"a\", (secret + \"x\").to_blob())",
    "triggers::emit(\"news\", secret)",
    "triggers::enqueue(\"careless\", #{ secret: secret }, #{ dedupe_key: \"k\" })",
    "triggers::schedule(\"careless\", time::now() + 1, secret)",
    "http::get(\"URL/\", #{ headers: #{ authorization: `Bearer ${url::encode_component(secret)}` } }).status",
    "http::get(\"URL/\", #{ headers: #{ authorization: `Bearer ${url::encode_component(secret)}` } }).body",
    "http::get(`URL/?${url::build_query(#{ a: secret })}`).status",
    "http::post(\"URL/\", secret).status",
    "http::get(`http://${secret}/`)",
    "http::get(`http://127.0.0.1:1/${secret}`)",
    "secrets::get(secret)",
    "fs::read(secret)",
    "mqtt::publish(secret, secret)",
    "scripts::invoke(secret)",
    "scripts::invoke(\"careless\", secret, #{ query: \"n=0\" }).status",
    "scripts::invoke(\"careless\", (), #{ query: \"n=5\" })",
    "scripts::invoke(\"careless\", (), #{ method: secret })",
    "scripts::invoke(\"careless\", (), #{ path: `/${url::encode_component(secret)}`, query: \"n=1000\" }).status",
    "loop { log::info(secret); }",
    "let a = []; loop { a.push(secret + a.len); }",
];

/// Where it must not be, and where it was found all the same.
#[derive(Default)]
struct Search {
    found: Vec<String>,
    searched: usize,
}

impl Search {
    fn bytes(&mut self, place: &str, bytes: &[u8]) {
        let hex: String = MIDDLE.bytes().map(|byte| format!("{byte:02x}")).collect();
        // The middle of the encoded whole does not depend on what is around it.
        let base64 = (0..3).map(|before| {
            let text = STANDARD.encode([&b"xx"[..before], MIDDLE.as_bytes()].concat());
            text[4..text.len() - 4].to_owned()
        });
        for form in [MIDDLE.to_owned(), hex].into_iter().chain(base64) {
            if bytes.windows(form.len()).any(|window| window.eq_ignore_ascii_case(form.as_bytes())) {
                self.found.push(format!("{place}: {form}"));
            }
        }
        self.searched += 1;
    }

    fn files(&mut self, folder: &Path) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.files(&path);
            } else if path.is_file() {
                // A file of SQLite may go while the server writes.
                let bytes = std::fs::read(&path).unwrap_or_default();
                // The compiled code is large, and older than the secret.
                if bytes.len() < 4 << 20 || !path.display().to_string().contains("cache") {
                    self.bytes(&path.display().to_string(), &bytes);
                }
            }
        }
    }

    fn reply(&mut self, place: &str, reply: &Reply) {
        self.bytes(place, &reply.body);
        for (name, value) in &reply.headers {
            self.bytes(&format!("{place}: {name}"), value.as_bytes());
        }
    }
}

/// A server that answers with the header that it got.
async fn remote() -> String {
    let echo = any(async |headers: HeaderMap| format!("{:?}", headers.get("authorization")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(echo);
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn put(server: &Process, path: &str, media_type: &str, body: String) {
    let request = server.request("PUT", &format!("{API}/{path}")).header("content-type", media_type);
    let reply = Reply::of(request.body(body)).await;
    assert!(reply.is_success(), "{reply}");
}

async fn prepare(server: &Process, url: &str) {
    put(server, "secrets/there", "text/plain", SECRET.to_owned()).await;
    let port = url.rsplit(':').next().unwrap().parse::<u16>().unwrap();
    let rule = json!({ "hosts": ["127.0.0.1"], "schemes": ["http"], "ports": [port, 1], "private": true });
    put(server, "http-policy", "application/json", json!({ "rules": [rule] }).to_string()).await;
    let topic = json!({ "kind": "topic", "topic": "#", "script": "careless" });
    put(server, "triggers/news", "application/json", topic.to_string()).await;
    let actions: String = ACTIONS
        .iter()
        .enumerate()
        .map(|(n, action)| format!("{n} => {{ {} }},\n", action.replace("URL", url)))
        .collect();
    let source = format!(
        "fn act(n) {{ let secret = secrets::get(\"there\"); switch n {{ {actions} }} }}
         fn handle(req) {{ act(parse_int(req.query.n)) }}
         fn on_event(event) {{ act(event.data) }}"
    );
    server.deploy("careless", source).await;
}

/// Everything that the API shows.
async fn shown(server: &Process, search: &mut Search) {
    let mut paths = vec!["/metrics".to_owned()];
    for list in [
        "secrets",
        "config",
        "kv",
        "events",
        "queues",
        "executions?limit=200",
        "logs?limit=1000",
        "triggers",
        "scripts",
    ] {
        paths.push(format!("{API}/{list}"));
    }
    for path in paths {
        let reply = server.get(&path).await;
        assert_eq!(reply.status, 200, "{path}: {reply}");
        search.reply(&path, &reply);
    }
    let executions = server.get(&format!("{API}/executions?limit=200")).await.json();
    for execution in executions["items"].as_array().unwrap() {
        let path = format!("{API}/executions/{}", execution["id"].as_str().unwrap());
        search.reply(&path, &server.get(&path).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_no_table_no_log_and_no_answer() {
    let (site, url, mut search) = (Site::new(), remote().await, Search::default());
    let server = site.serve(&["--dev", "--log-level", "trace", "--limit", "fuel=20000000"]).await;
    prepare(&server, &url).await;
    let mut codes = Vec::new();
    for n in 0..ACTIONS.len() {
        let reply = server.get(&format!("/default/careless?n={n}")).await;
        if reply.status >= 400 {
            codes.push(reply.problem_code());
        }
        search.reply(&format!("action {n}"), &reply);
        let event = server.request("POST", &format!("{API}/events?script=careless&attempts=1"));
        assert_eq!(Reply::of(event.body(n.to_string())).await.status, 202);
    }
    for code in ["secret-exposed", "script-threw", "script-error", "fuel-exhausted"] {
        assert!(codes.iter().any(|found| found == code), "{code} is not among {codes:?}");
    }
    let begun = Instant::now();
    loop {
        let events = server.get(&format!("{API}/events?limit=1000")).await.json();
        let items = events["items"].as_array().unwrap().clone();
        let dead = |event: &Value| event["state"] == "dead";
        if items.len() > 10 && items.iter().all(dead) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{events}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shown(&server, &mut search).await;
    // With what is still in the write-ahead logs, and then with what a stop leaves.
    search.files(site.home());
    server.stop().await;
    search.files(site.home());
    assert_eq!(search.found, Vec::<String>::new());
    assert!(search.searched > 100, "{} places", search.searched);
    search.bytes("here", SECRET.as_bytes());
    search.bytes("here", STANDARD.encode(SECRET).as_bytes());
    assert!(search.found.len() >= 2, "the search finds nothing: {:?}", search.found);
}
