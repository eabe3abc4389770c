//! The policy from the command line.

use picloud_tests::{Ended, Site};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_shown_set_and_extended() {
    let site = Site::new();
    let server = site.serve(&["--dev"]).await;
    let run = async |args: &[&str]| -> Ended {
        site.picloud(&[&["http-policy", "--server", &server.url], args].concat()).await
    };
    let none = run(&[]).await;
    assert_eq!((none.code(), &*none.out), (Some(0), ""), "{none:?}");
    assert!(none.log.contains("the app default may send no requests"), "{none:?}");

    std::fs::write(site.home().join("policy.json"), r#"{"rules": [{"hosts": ["A.example"]}]}"#).unwrap();
    let set = run(&["set", "@policy.json"]).await;
    assert!(set.code() == Some(0) && set.out.contains("a.example"), "{set:?}");
    let allowed =
        run(&["allow", "127.0.0.1", "--scheme", "http", "--port", "1", "--private", "-o", "json"]).await;
    assert_eq!(
        allowed.json()["rules"],
        json!([
            { "hosts": ["a.example"], "schemes": ["https"], "ports": [], "methods": [], "private": false,
              "callbacks": false },
            { "hosts": ["127.0.0.1"], "schemes": ["http"], "ports": [1], "methods": [], "private": true,
              "callbacks": false },
        ])
    );
    assert_eq!(run(&["show", "-o", "json"]).await.json(), allowed.json());
    // The policy lets it through; nobody listens there.
    server.deploy("fetch", "try { http::get(\"http://127.0.0.1:1/\"); } catch (e) { return e; }").await;
    let told = server.get("/default/fetch").await;
    assert!(told.text().starts_with("http: ") && !told.text().contains("policy"), "{told}");

    let refused = run(&["allow", "https://a.example/"]).await;
    assert!(refused.code() == Some(1) && refused.log.contains("policy-invalid"), "{refused:?}");
    let emptied = run(&["set", "{\"rules\": []}"]).await;
    assert_eq!((emptied.code(), &*emptied.out), (Some(0), ""), "{emptied:?}");
    assert!(server.get("/default/fetch").await.text().contains("the app's policy does not allow"));
}
