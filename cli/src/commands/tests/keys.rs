//! `picloud kv export` and `import`, and whole lists.

use axum::response::Response;
use serde_json::json;

use super::server::{FakeServer, Seen, problem, with_type};
use super::{picloud, picloud_in};
use crate::exit::Exit;

const KV: &str = "/api/v1/apps/default/kv";

/// Two pages of keys, with a number that no float holds.
fn api(seen: &Seen) -> Response {
    let page = |text: &'static str| with_type(200, "application/json", text);
    match seen.line.as_str() {
        line if line.starts_with(&format!("GET {KV}?")) && line.contains("cursor=") => {
            page(r#"{"items":[{"key":"b","value_base64":"AQI=","expires_at":null}],"next_cursor":null}"#)
        }
        line if line.starts_with(&format!("GET {KV}?")) => page(
            r#"{"items":[{"key":"a/1","value":{"n":1.50,"m":12345678901234567890123}}],"next_cursor":"c"}"#,
        ),
        line if line.starts_with(&format!("PUT {KV}/refused")) => {
            problem(413, "kv-value-too-large", json!({}))
        }
        line if line.starts_with(&format!("PUT {KV}/")) => with_type(204, "text/plain", ""),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_export_has_every_page_and_every_digit() {
    let server = FakeServer::start(api).await;
    let ran = picloud(&server.url, &["kv", "export"]).await.expect(Exit::Ok);
    assert_eq!(
        ran.out,
        "{\"key\":\"a/1\",\"value\":{\"n\":1.50,\"m\":12345678901234567890123}}\n\
         {\"key\":\"b\",\"value_base64\":\"AQI=\",\"expires_at\":null}\n"
    );
    let ran = picloud(&server.url, &["kv", "list", "--all", "-o", "json"]).await.expect(Exit::Ok);
    assert_eq!(ran.json()["items"].as_array().unwrap().len(), 2);
    let ran = picloud(&server.url, &["kv", "list", "-n", "1"]).await.expect(Exit::Ok);
    assert!(ran.err.contains("--all"), "{}", ran.err);
}

async fn import(server: &FakeServer, text: &str) -> super::Ran {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    picloud(&server.url, &["kv", "import", file.path().to_str().unwrap()]).await
}

#[tokio::test]
async fn an_import_sets_what_an_export_has() {
    let server = FakeServer::start(api).await;
    let exported = picloud(&server.url, &["kv", "export"]).await.out;
    let far = "\n{\"key\":\"c\",\"value\":1,\"expires_at\":\"2999-01-01T00:00:00Z\"}\n";
    let gone = "{\"key\":\"d\",\"value\":1,\"expires_at\":\"1999-01-01T00:00:00Z\"}\n";
    let null = "{\"key\":\"e\",\"value\":null,\"expires_at\":null}\n";
    let ran = import(&server, &format!("{exported}{far}{gone}{null}")).await.expect(Exit::Ok);
    assert_eq!(ran.out, "4 keys set, 1 had expired\n");
    let puts: Vec<_> = server.seen().into_iter().filter(|seen| seen.line.starts_with("PUT")).collect();
    let sent = |at: usize| (puts[at].headers["content-type"].to_str().unwrap(), puts[at].body.as_str());
    assert_eq!(puts[0].line, format!("PUT {KV}/a%2F1"));
    assert_eq!(sent(0), ("application/json", "{\"n\":1.50,\"m\":12345678901234567890123}"));
    assert_eq!(sent(1), ("application/octet-stream", "\u{1}\u{2}"));
    assert!(puts[2].line.starts_with(&format!("PUT {KV}/c?ttl_ms=")), "{}", puts[2].line);
}

#[tokio::test]
async fn a_line_that_cannot_be_is_told_with_its_number() {
    let server = FakeServer::start(api).await;
    for (line, why) in [
        ("{", "line 2: EOF"),
        ("{\"value\": 1}", "missing field `key`"),
        ("{\"key\": \"b\"}", "either value or value_base64"),
        ("{\"key\": \"b\", \"value\": 1, \"value_base64\": \"AQI=\"}", "either value or value_base64"),
        ("{\"key\": \"b\", \"value_base64\": \"!\"}", "no base64"),
        ("{\"key\": \"refused\", \"value\": 1}", "line 2: the server refuses it; 1 keys were set"),
    ] {
        let ran =
            import(&server, &format!("{{\"key\":\"a\",\"value\":1}}\n{line}\n")).await.expect(Exit::Failed);
        assert!(ran.err.contains(why) && ran.err.contains("1 keys were set"), "{line}: {}", ran.err);
    }
    let env = [("PICLOUD_SERVER", server.url.as_str())];
    // Standard input is `[1]` here.
    let ran = picloud_in(&env, &["kv", "import", "-"]).await.expect(Exit::Failed);
    assert!(ran.err.contains("standard input: line 1: "), "{}", ran.err);
}
