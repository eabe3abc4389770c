//! Reading, listing and deleting scripts, and the pages of errors.

use serde_json::json;

use super::fixture::{TestApi, script};

#[tokio::test]
async fn a_script_is_read_with_its_tag() {
    let api = TestApi::new().await;
    let put = api.put("a", "1").await;
    let got = api.get(&script("a")).await;
    assert_eq!((got.json(), got.header("etag")), (put.json(), put.header("etag")));
    let unchanged = api.send("GET", &script("a"), &[("if-none-match", put.header("etag"))], "").await;
    assert_eq!((unchanged.status, unchanged.text(), unchanged.header("etag")), (304, "", put.header("etag")));
    let head = api.send("HEAD", &script("a"), &[], "").await;
    assert_eq!((head.status, head.text()), (200, ""));
}

#[tokio::test]
async fn a_source_is_given_back_byte_by_byte_and_never_as_a_page() {
    let api = TestApi::new().await;
    let source = "<script>alert(1)</script>\r\n\u{feff}é";
    let put = api.put("a", source).await;
    let got = api.get(&format!("{}/source", script("a"))).await;
    assert_eq!((got.status, got.text(), got.header("etag")), (200, source, put.header("etag")));
    assert_eq!(got.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
}

#[tokio::test]
async fn a_deleted_script_is_gone_at_once() {
    let api = TestApi::new().await;
    let put = api.put("a", "1").await;
    let delete = async |tag: &str| api.send("DELETE", &script("a"), &[("if-match", tag)], "").await;
    delete("\"0\"").await.problem(412, "precondition-failed");
    assert_eq!(api.published("a"), Some(1));
    let deleted = delete(put.header("etag")).await;
    assert_eq!((deleted.status, deleted.text()), (204, ""));
    assert_eq!(api.published("a"), None);
    delete("*").await.problem(404, "script-not-found");
    api.get(&script("a")).await.problem(404, "script-not-found");
    api.get(&format!("{}/source", script("a"))).await.problem(404, "script-not-found");
}

#[tokio::test]
async fn lists_are_read_page_by_page() {
    let api = TestApi::new().await;
    for name in ["c", "a", "b"] {
        api.put(name, "1").await;
    }
    let list = async |query: &str| api.get(&format!("/api/v1/apps/default/scripts{query}")).await.json();
    let names = |list: &serde_json::Value| {
        let items = list["items"].as_array().unwrap().iter();
        items.map(|script| script["name"].as_str().unwrap().to_owned()).collect::<String>()
    };
    let first = list("?limit=2").await;
    assert_eq!((names(&first), &first["next_cursor"]), ("ab".into(), &json!("b")));
    let second = list("?limit=2&cursor=b").await;
    assert_eq!((names(&second), &second["next_cursor"]), ("c".into(), &json!(null)));
    // A page that is just full has no next one.
    assert_eq!(list("?limit=3").await["next_cursor"], json!(null));
    assert_eq!(list("?cursor=zzz").await, json!({"items": [], "next_cursor": null}));
}

#[tokio::test]
async fn queries_that_are_not_understood_are_refused() {
    let api = TestApi::new().await;
    let queries = [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=1&limit=2",
        "cursor=%FF",
        "cursor=",
        "limits=1",
    ];
    for query in queries {
        api.get(&format!("/api/v1/apps/default/scripts?{query}")).await.problem(400, "query-invalid");
    }
}

#[tokio::test]
async fn apps_are_read() {
    let api = TestApi::new().await;
    let app = api.get("/api/v1/apps/default").await.json();
    assert_eq!((&app["name"], &app["created_at"]), (&json!("default"), &json!("2023-11-14T22:13:20Z")));
    assert_eq!(api.get("/api/v1/apps").await.json(), json!({"items": [app], "next_cursor": null}));
    api.get("/api/v1/apps/other").await.problem(404, "app-not-found");
    api.get("/api/v1/apps/other/scripts").await.problem(404, "app-not-found");
    api.get("/api/v1/apps/Other/scripts").await.problem(400, "name-invalid");
}

#[tokio::test]
async fn each_error_leads_to_its_page() {
    let api = TestApi::new().await;
    let problem = api.get(&script("a")).await.problem(404, "script-not-found");
    let page = api.get(problem["type"].as_str().unwrap()).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/markdown; charset=utf-8"));
    assert!(page.text().starts_with("# script-not-found\n"));
    api.get("/api/v1/errors/no-such-code").await.problem(404, "route-not-found");
}

#[tokio::test]
async fn a_database_that_fails_is_an_opaque_problem() {
    let api = TestApi::new().await;
    api.test.database.close().await;
    let answer = api.get("/api/v1/apps/default/scripts").await;
    let problem = answer.problem(503, "storage-unavailable");
    assert_eq!((&problem["detail"], answer.header("retry-after")), (&json!(null), "1"));
}
