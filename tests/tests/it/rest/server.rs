//! What the server tells about itself.

use picloud_tests::{Reply, TestApp};

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_that_it_lives_and_is_ready() {
    let app = TestApp::start().await;
    for path in ["/livez", "/readyz"] {
        let reply = app.get(path).await;
        assert_eq!((reply.status, reply.text()), (200, "ok\n"), "{path}");
        assert_eq!(Reply::of(app.request("HEAD", path)).await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_calls_by_script_and_fault() {
    let app = TestApp::start().await;
    app.deploy("counted", "if req.query.fail == \"1\" { throw \"x\" } 1").await;
    for path in ["/default/counted", "/default/counted?fail=1", "/default/counted"] {
        app.get(path).await;
    }
    let page = app.get("/metrics").await;
    assert!(
        page.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text")),
        "{page}"
    );
    let value = |labels: &str| {
        let line =
            page.text().lines().find(|line| line.starts_with(&format!("picloud_calls_total{{{labels}}}")));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
    };
    let labels =
        |fault: &str| format!("app=\"default\",script=\"counted\",trigger=\"http\",fault=\"{fault}\"");
    assert_eq!(value(&labels("none")), Some(2), "{page}");
    assert_eq!(value(&labels("script")), Some(1), "{page}");
    assert!(page.text().contains("picloud_call_duration_seconds_count{app=\"default\"} 3"), "{page}");
    assert!(page.text().ends_with("# EOF\n"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_how_busy_the_server_is() {
    let app = TestApp::start().await;
    app.deploy("a", "1").await;
    app.get("/default/a").await;
    let page = app.get("/metrics").await;
    let value = |name: &str| {
        let line = page.text().lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.and_then(|value| value.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name} in {page}"))
    };
    for name in ["picloud_calls_running", "picloud_calls_waiting", "picloud_calls_refused_total"] {
        assert_eq!(value(name), 0, "{name}");
    }
    assert_eq!((value("picloud_image_cache_images"), value("picloud_image_builds_total")), (1, 1));
    assert!(value("picloud_image_cache_bytes") > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_only_read() {
    let app = TestApp::start().await;
    for method in ["POST", "PUT", "DELETE"] {
        let reply = Reply::of(app.request(method, "/metrics")).await;
        reply.assert_problem(405, "method-not-allowed");
        assert_eq!(reply.header("allow"), Some("GET,HEAD"), "{method}");
    }
}

/// A caller cannot make a label: calls that lead nowhere are not counted by their address.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_no_label_from_outside() {
    let app = TestApp::start().await;
    app.get("/default/from-outside").await.assert_problem(404, "route-not-found");
    app.get("/from-outside/x").await.assert_problem(404, "route-not-found");
    assert!(!app.get("/metrics").await.text().contains("from-outside"));
}
