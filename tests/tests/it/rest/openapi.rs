//! The description of the API: served, and locked in `docs/openapi.json`, from which clients are made.

use std::path::Path;

use picloud_tests::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_the_one_in_the_documentation() {
    let app = TestApp::start().await;
    let reply = app.get("/openapi.json").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let served = serde_json::to_string_pretty(&reply.json()).unwrap() + "\n";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &served).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let first = served.lines().zip(written.lines()).position(|(new, old)| new != old);
    let line = first.map_or("the end".into(), |line| format!("line {}", line + 1));
    assert!(
        served == written,
        "the API and docs/openapi.json differ from {line} on; UPDATE_EXPECT=1 writes it"
    );
}

/// Whatever the description says is there: no operation answers that the address or the method does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn every_operation_is_there() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let address =
                path.replace("{app}", "default").replace("{code}", "internal").replace(['{', '}'], "");
            let reply = picloud_tests::Reply::of(app.request(&method.to_uppercase(), &address)).await;
            let code = reply.problem_code();
            assert!(code != "route-not-found" && code != "method-not-allowed", "{method} {path}: {reply}");
            assert!(reply.status < 500, "{method} {path}: {reply}");
        }
    }
}
