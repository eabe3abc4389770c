//! `/api/v1/apps/{app}/kv`

use std::sync::Arc;

use futures_util::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use picloud_host::limits::Limits;
use picloud_host::ports::Clock as _;
use serde_json::{Value, json};

use super::fixture::{Answer, TestApi};

const LIST: &str = "/api/v1/apps/default/kv";
const JSON: (&str, &str) = ("content-type", "application/json");
const BLOB: (&str, &str) = ("content-type", "application/octet-stream");

/// The address of a key.
fn key(key: &str) -> String {
    format!("{LIST}/{}", utf8_percent_encode(key, NON_ALPHANUMERIC))
}

async fn put(api: &TestApi, name: &str, value: &str) -> Answer {
    api.send("PUT", &key(name), &[JSON], value.to_owned()).await
}

#[tokio::test]
async fn json_is_put_got_and_deleted() {
    let api = TestApi::new().await;
    api.get(&key("a")).await.problem(404, "key-not-found");
    let put = api.send("PUT", &key("a"), &[JSON], "{ \"b\": 1.50,\n \"a\": [] }").await;
    assert_eq!((put.status, put.text()), (201, ""));
    let got = api.get(&key("a")).await;
    assert_eq!((got.status, got.text()), (200, "{\"b\":1.50,\"a\":[]}"));
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert_eq!(got.header("etag"), put.header("etag"));
    assert_eq!(got.header("picloud-expires-at"), "");
    let again =
        api.send("PUT", &key("a"), &[("content-type", "application/Merge-Patch+JSON; a=b")], "2").await;
    assert_eq!(again.status, 204);
    assert_ne!(again.header("etag"), put.header("etag"));
    assert_eq!(api.get(&key("a")).await.text(), "2");
    assert_eq!(api.send("DELETE", &key("a"), &[], "").await.status, 204);
    api.send("DELETE", &key("a"), &[], "").await.problem(404, "key-not-found");
    api.get(&key("a")).await.problem(404, "key-not-found");
}

#[tokio::test]
async fn blobs_come_back_byte_for_byte() {
    let api = TestApi::new().await;
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(api.send("PUT", &key("b"), &[BLOB], bytes.clone()).await.status, 201);
    let got = api.get(&key("b")).await;
    assert_eq!((got.status, got.header("content-type")), (200, "application/octet-stream"));
    assert_eq!(got.body, bytes);
    assert_eq!(api.send("PUT", &key("b"), &[BLOB], "").await.status, 204);
    assert_eq!(api.get(&key("b")).await.body, b"");
}

#[tokio::test]
async fn keys_are_one_segment_of_the_path_whatever_is_in_them() {
    let api = TestApi::new().await;
    let keys = ["a/b", "/", "..", "a%2Fb", "a b+c?d#e", "\"'; --", "ä\u{10ffff}", "\0", "%", "{key}"];
    for (number, name) in keys.iter().enumerate() {
        assert_eq!(put(&api, name, &number.to_string()).await.status, 201, "{name:?}");
    }
    for (number, name) in keys.iter().enumerate() {
        assert_eq!(api.get(&key(name)).await.text(), number.to_string(), "{name:?}");
    }
    let listed = api.get(LIST).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), keys.len());
    api.get(&format!("{LIST}/a/b")).await.problem(404, "route-not-found");
    api.get(&format!("{LIST}/")).await.problem(404, "route-not-found");
    api.get(&format!("{LIST}/%FF")).await.problem(400, "request-invalid");
    api.send("POST", &key("a"), &[JSON], "1").await.problem(405, "method-not-allowed");
    api.get("/api/v1/apps/none/kv").await.problem(404, "app-not-found");
    api.get("/api/v1/apps/none/kv/a").await.problem(404, "app-not-found");
    api.send("PUT", "/api/v1/apps/none/kv/a", &[JSON], "1").await.problem(404, "app-not-found");
}

#[tokio::test]
async fn limits_are_kept_to_the_byte() {
    let api = TestApi::new().await;
    let limits = Limits::default();
    let longest = "k".repeat(usize::try_from(limits.kv_key_bytes).unwrap());
    assert_eq!(put(&api, &longest, "1").await.status, 201);
    put(&api, &format!("{longest}k"), "1").await.problem(400, "kv-key-invalid");
    api.get(&key(&format!("{longest}k"))).await.problem(400, "kv-key-invalid");
    let largest = vec![0; usize::try_from(limits.kv_value_bytes).unwrap()];
    assert_eq!(api.send("PUT", &key("b"), &[BLOB], largest.clone()).await.status, 201);
    let too_large = [largest, vec![0]].concat();
    api.send("PUT", &key("b"), &[BLOB], too_large).await.problem(413, "kv-value-too-large");
}

#[tokio::test]
async fn what_is_no_value_is_refused() {
    let api = TestApi::new().await;
    for value in ["", "{", "1 2", "\"\\ud800\"", "1e999"] {
        put(&api, "a", value).await.problem(422, "kv-value-invalid");
    }
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "+json")],
        &[JSON, ("content-encoding", "gzip")],
    ] {
        api.send("PUT", &key("a"), headers, "1").await.problem(415, "media-type-unsupported");
    }
    for query in ["ttl_ms=0", "ttl_ms=-1", "ttl_ms=x", "ttl=1", "ttl_ms=99999999999999999999"] {
        let path = format!("{}?{query}", key("a"));
        api.send("PUT", &path, &[JSON], "1").await.problem(400, "query-invalid");
    }
    api.get(&key("a")).await.problem(404, "key-not-found");
}

#[tokio::test]
async fn a_time_to_live_ends() {
    let api = TestApi::new().await;
    let with_ttl = |name: &str, ttl: u64| format!("{}?ttl_ms={ttl}", key(name));
    assert_eq!(api.send("PUT", &with_ttl("a", 1000), &[JSON], "1").await.status, 201);
    assert_eq!(api.get(&key("a")).await.header("picloud-expires-at"), "2023-11-14T22:13:21Z");
    api.test.clock.advance(999);
    assert_eq!(api.get(&key("a")).await.status, 200);
    api.test.clock.advance(1);
    api.get(&key("a")).await.problem(404, "key-not-found");
    assert_eq!(api.get(LIST).await.json()["items"], json!([]));
    api.send("DELETE", &key("a"), &[], "").await.problem(404, "key-not-found");
    api.send("PUT", &key("a"), &[JSON, ("if-match", "*")], "1").await.problem(412, "precondition-failed");
    // What has expired does not count as there; a key without a time to live has none any more.
    let put = api.send("PUT", &key("a"), &[JSON, ("if-none-match", "*")], "2").await;
    assert_eq!(put.status, 201);
    assert_eq!(api.get(&key("a")).await.header("picloud-expires-at"), "");
}

#[tokio::test]
async fn no_time_to_live_is_too_long_and_the_longest_ends_with_the_calendar() {
    const LATEST: &str = "9999-12-30T22:00:00Z";
    let api = TestApi::new().await;
    let latest: jiff::Timestamp = LATEST.parse().unwrap();
    let to_the_end = latest.as_millisecond().cast_unsigned() - api.test.clock.now_ms();
    for ttl in [to_the_end, to_the_end + 1, i64::MAX.cast_unsigned(), u64::MAX] {
        let path = format!("{}?ttl_ms={ttl}", key(&format!("k{ttl}")));
        assert_eq!(api.send("PUT", &path, &[JSON], "1").await.status, 201, "{ttl}");
        let got = api.get(&key(&format!("k{ttl}"))).await;
        assert_eq!((got.status, got.header("picloud-expires-at")), (200, LATEST), "{ttl}");
    }
    for item in api.get(LIST).await.json()["items"].as_array().unwrap() {
        assert_eq!(item["expires_at"], LATEST, "{item}");
    }
    api.test.clock.advance(to_the_end - 1);
    assert_eq!(api.get(LIST).await.json()["items"].as_array().unwrap().len(), 4);
    api.test.clock.advance(1);
    assert_eq!(api.get(LIST).await.json()["items"], json!([]), "what is shown is what is stored");
}

#[tokio::test]
async fn preconditions_are_part_of_the_transaction() {
    let api = TestApi::new().await;
    let send =
        async |method: &str, header: (&str, &str)| api.send(method, &key("a"), &[JSON, header], "1").await;
    send("PUT", ("if-match", "*")).await.problem(412, "precondition-failed");
    let first = send("PUT", ("if-none-match", "*")).await;
    assert_eq!(first.status, 201);
    send("PUT", ("if-none-match", "*")).await.problem(412, "precondition-failed");
    let tag = first.header("etag").to_owned();
    assert_eq!(send("GET", ("if-none-match", &tag)).await.status, 304);
    send("GET", ("if-match", "\"0\"")).await.problem(412, "precondition-failed");
    let second = send("PUT", ("if-match", &tag)).await;
    assert_eq!(second.status, 204);
    send("PUT", ("if-match", &tag)).await.problem(412, "precondition-failed");
    send("DELETE", ("if-match", &tag)).await.problem(412, "precondition-failed");
    send("DELETE", ("if-match", "x")).await.problem(400, "request-invalid");
    assert_eq!(send("DELETE", ("if-match", second.header("etag"))).await.status, 204);
    send("DELETE", ("if-match", "*")).await.problem(404, "key-not-found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_replace_the_same_version_one_succeeds() {
    let api = Arc::new(TestApi::new().await);
    let mut tag = put(&api, "a", "0").await.header("etag").to_owned();
    for round in 1..20 {
        let attempts = (0..16).map(|n| {
            let (api, tag) = (Arc::clone(&api), tag.clone());
            tokio::spawn(async move {
                let value = format!("[{round},{n}]");
                (api.send("PUT", &key("a"), &[JSON, ("if-match", &tag)], value.clone()).await, value)
            })
        });
        let answers: Vec<_> = join_all(attempts).await.into_iter().map(Result::unwrap).collect();
        let winners: Vec<_> = answers.iter().filter(|(answer, _)| answer.status == 204).collect();
        assert_eq!(winners.len(), 1);
        assert!(answers.iter().all(|(answer, _)| [204, 412].contains(&answer.status)));
        let got = api.get(&key("a")).await;
        assert_eq!((got.text(), got.header("etag")), (&*winners[0].1, winners[0].0.header("etag")));
        tag = got.header("etag").to_owned();
    }
}

#[tokio::test]
async fn lists_go_page_by_page_through_a_prefix() {
    let api = TestApi::new().await;
    for n in 0..7 {
        put(&api, &format!("p/{n}"), &format!("{{\"n\":{n}}}")).await;
    }
    api.send("PUT", &key("p/blob"), &[BLOB], "\0\u{1}").await;
    api.send("PUT", &format!("{}?ttl_ms=1", key("p/3x")), &[JSON], "1").await;
    api.test.clock.advance(1);
    put(&api, "q", "1").await;

    let mut path = format!("{LIST}?prefix=p%2F&limit=3");
    let mut items: Vec<Value> = Vec::new();
    let mut pages = 0;
    loop {
        let page = api.get(&path).await.json();
        items.extend(page["items"].as_array().unwrap().iter().cloned());
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{LIST}?prefix=p%2F&limit=3&cursor={cursor}");
    }
    assert_eq!(pages, 3);
    let keys: Vec<_> = items.iter().map(|item| item["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["p/0", "p/1", "p/2", "p/3", "p/4", "p/5", "p/6", "p/blob"]);
    let version = items[0]["version"].as_u64().unwrap();
    assert_eq!(api.get(&key("p/0")).await.header("etag"), format!("\"{version}\""));
    let first =
        json!({"key": "p/0", "kind": "json", "value": {"n": 0}, "version": version, "expires_at": null});
    assert_eq!(items[0], first);
    assert_eq!((&items[7]["kind"], &items[7]["value_base64"]), (&json!("blob"), &json!("AAE=")));
    assert_eq!(items[7].get("value"), None);
}

#[tokio::test]
async fn queries_that_make_no_sense_are_refused() {
    let api = TestApi::new().await;
    put(&api, "a", "1").await;
    put(&api, "b", "1").await;
    let cursor = api.get(&format!("{LIST}?limit=1")).await.json()["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(api.get(&format!("{LIST}?cursor={cursor}")).await.json()["items"][0]["key"], "b");
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=%2B",
        "cursor=_w",
        "prefixes=a",
        &format!("prefix=b&cursor={cursor}"),
    ] {
        api.get(&format!("{LIST}?{query}")).await.problem(400, "query-invalid");
    }
}
