//! `picloud test`: what it runs, what it prints, and with which exit code it ends.

use std::path::Path;

use picloud_tests::{Ended, Site};
use serde_json::{Value, json};

struct Folder(Site);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Self {
        let site = Site::with_compiled_code();
        for (name, source) in files {
            std::fs::write(site.home().join(name), source).unwrap();
        }
        Self(site)
    }

    /// Run the tests of `t.rhai`, or of what else the arguments say.
    async fn test(&self, args: &[&str]) -> Ended {
        self.0.picloud(&[&["test"], args].concat()).await
    }

    /// The tests as JSON, by name.
    async fn results(&self, args: &[&str]) -> Value {
        let ended = self.test(&[args, &["-o", "json"]].concat()).await;
        let document: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{ended:?}"));
        let failed = document["failed"].as_u64().unwrap() > 0;
        assert_eq!(ended.code(), Some(i32::from(failed)), "{ended:?}");
        document["tests"]
            .as_array()
            .unwrap()
            .iter()
            .map(|test| (test["name"].as_str().unwrap().to_owned(), test.clone()))
            .collect()
    }
}

/// What the only test of a source fails with; none if it passes.
async fn failure(body: &str) -> Option<Value> {
    let folder = Folder::new(&[("t.rhai", &format!("fn test_it() {{\n{body}\n}}"))]);
    let test = folder.results(&["t.rhai", "--limit", "fuel=50000000"]).await["t::test_it"].clone();
    assert_eq!(test["ok"] == true, test["error"].is_null(), "{test}");
    (!test["error"].is_null()).then(|| test["error"].clone())
}

#[track_caller]
fn says(error: &Option<Value>, expected: &str) {
    let error = error.as_ref().unwrap_or_else(|| panic!("the test passed, without {expected}"));
    assert!(error["detail"].as_str().unwrap().contains(expected), "{error}");
}

#[tokio::test]
async fn assertions_pass_or_say_what_is_wrong_and_where() {
    assert_eq!(
        failure("assert(1 < 2); assert_eq([1, #{a: ()}], [1, #{a: ()}]); assert_throws(|| throw 1);").await,
        None
    );
    let error = failure("let a = 1;\n  assert_eq(a + 1, 3);").await;
    says(&error, "left and right differ\n left: 2\nright: 3");
    let error = error.unwrap();
    assert_eq!(error["position"], json!({ "line": 3, "column": 3 }));
    assert_eq!((&error["source_line"], &error["file"]), (&json!("  assert_eq(a + 1, 3);"), &json!("t.rhai")));
    says(&failure("assert(false, `it is ${1 + 1}`);").await, "assertion failed: it is 2");
    says(&failure("assert_throws(|| 1);").await, "nothing was thrown");
    says(&failure("throw \"enough\";").await, "enough");
    says(&failure("nobody(1);").await, "Function not found: nobody");
}

#[tokio::test]
async fn endless_and_greedy_tests_end() {
    assert_eq!(failure("loop {}").await.unwrap()["code"], "fuel-exhausted");
    assert_eq!(
        failure("let a = []; loop { a.push(\"xxxxxxxxxxxxxxxxxxxxxxxxx\") }").await.unwrap()["fault"],
        Value::Null
    );
    assert_eq!(
        failure("fn_that_calls_itself()}\nfn fn_that_calls_itself() { fn_that_calls_itself()").await.unwrap()
            ["code"],
        "stack-exhausted"
    );
    assert_eq!(failure("test::max_fuel(10_000_000); let n = 0; while n < 10 { n += 1 }").await, None);
    says(
        &failure("test::max_fuel(10_000); let n = 0; while n < 10000 { n += 1 }").await,
        "more than the 10 000 of test::max_fuel",
    );
}

#[tokio::test]
async fn requests_get_what_the_test_says_and_nothing_leaves_the_machine() {
    let body = r#"
        test::http(#{url: "https://a.example/x#f"}, #{status: 201, json: #{a: 1}, headers: #{"X-A": 2}});
        test::http(#{method: "post", url: "https://a.example/y"}, #{body: "first"});
        test::http(#{method: "POST", url: "https://a.example/y"}, #{error: "cut"});
        let r = http::get("https://a.example/x", #{headers: #{b: 1}});
        assert_eq([r.status, r.json, r.headers["x-a"]], [201, #{a: 1}, "2"]);
        assert_eq(http::post("https://a.example/y", #{n: 1}).body, "first");
        for n in 0..2 { assert_eq(assert_throws(|| http::post("https://a.example/y", "text")), "http: cut"); }
        let all = http::all([#{url: "https://a.example/x"}, #{url: "http://127.0.0.1:1/"}]);
        assert_eq(all.map(|r| r.ok), [true, false]);
        assert_eq(all[1].error, "http: the test has no fixture for GET http://127.0.0.1:1/");
        let sent = test::http_requests();
        assert_eq(sent.map(|s| s.method), ["GET", "POST", "POST", "POST", "GET", "GET"]);
        assert_eq([sent[0].headers.b, sent[1].json, sent[2].body], ["1", #{n: 1}, "text"]);"#;
    assert_eq!(failure(body).await, None);
    let error = failure("http::get(\"https://b.example/\");").await;
    says(&error, "http: the test has no fixture for GET https://b.example/");
    says(&failure("test::http(#{url: \"no url\"}, #{});").await, "the url of the fixture is not valid");
    says(&failure("test::http(#{url: \"http://a\"}, #{staus: 1});").await, "there is no option `staus`");
}

#[tokio::test]
async fn time_stands_still_until_the_test_moves_it() {
    let body = r#"
        assert_eq(time::now_iso(), "2026-01-01T00:00:00.000Z");
        kv::set("short", 1, 1000);
        test::advance(999);
        assert(kv::exists("short"));
        test::advance(1);
        assert(!kv::exists("short"));
        test::set_time("2030-02-03T04:05:06Z");
        assert_eq(time::parts(time::now()).year, 2030);
        test::set_time(5);
        assert_eq(time::now(), 5);"#;
    assert_eq!(failure(body).await, None);
    says(&failure("test::set_time(\"today\");").await, "is not a time as in RFC 3339");
    says(&failure("test::advance(-1);").await, "cannot be less than 0");
}

#[tokio::test]
async fn handlers_are_called_directly_or_as_scripts_and_events_are_seen() {
    let source = r#"
        fn handle(req) {
            if req.query.bad != () { throw #{status: 400, message: "bad"}; }
            kv::set("last", req.json);
            triggers::enqueue("t", req.json, #{delay_ms: 5000});
            response(201, #{method: req.method, path: req.path, type: req.headers["content-type"]})
        }
        fn on_event(event) { kv::set("seen", event.data); }
        fn test_directly() {
            let answer = test::answer(handle(test::request(#{path: "/p", body: #{a: 1}})));
            assert_eq(answer.status, 201);
            assert_eq(answer.json, #{method: "POST", path: "/p", type: "application/json"});
            assert_eq(kv::get("last"), #{a: 1});
            let event = test::events()[0];
            assert_eq([event.script, event.kind, event.data, event.queue], ["t", "queue", #{a: 1}, ()]);
            assert_eq(event.due_ms, time::now() + 5000);
            on_event(event);
            assert_eq(kv::get("seen"), #{a: 1});
            assert_eq(assert_throws(|| handle(test::request(#{query: "bad=1"}))).status, 400);
        }
        fn test_as_a_script() {
            let answer = scripts::invoke("t", #{a: 2});
            assert_eq([answer.status, kv::get("last")], [201, #{a: 2}]);
            assert_eq(scripts::invoke("t", (), #{query: "bad=1"}).status, 400);
            assert_eq(test::events().len, 1);
        }
        fn test_nothing_is_left_of_other_tests() {
            assert_eq([kv::list("").entries, test::events(), test::http_requests()], [[], [], []]);
            assert_eq(time::now_iso(), "2026-01-01T00:00:00.000Z");
        }"#;
    let folder = Folder::new(&[("t.rhai", source)]);
    let results = folder.results(&["t.rhai"]).await;
    assert_eq!(results.as_object().unwrap().len(), 3);
    for (name, test) in results.as_object().unwrap() {
        assert_eq!(test["ok"], true, "{name}: {test}");
    }
    let again = folder.results(&["t.rhai"]).await;
    assert_eq!(again["t::test_directly"]["fuel"], results["t::test_directly"]["fuel"], "fuel is exact");
}

#[tokio::test]
async fn a_folder_has_tests_beside_scripts_and_what_does_not_compile_fails() {
    let folder = Folder::new(&[
        ("price.rhai", "log::info(\"asked\"); req.json * 2"),
        (
            "price_test.rhai",
            "const TWO = 2;\nfn test_it_doubles() { assert_eq(scripts::invoke(\"price\", TWO).json, 4); }\nfn test_bug() {\n  scripts::invoke(\"price\", \"x\"); scripts::invoke(\"nobody\"); }\nfn test_odd(a) {}",
        ),
        ("broken.rhai", "fn test_never() {\n  let = 1;\n}"),
    ]);
    let results = folder.results(&["."]).await;
    assert_eq!(
        results.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["broken", "price_test::test_bug", "price_test::test_it_doubles", "price_test::test_odd"]
    );
    assert_eq!(results["price_test::test_it_doubles"]["ok"], true, "{results}");
    assert_eq!(results["broken"]["error"]["code"], "compile-failed");
    assert_eq!(results["broken"]["error"]["position"]["line"], 2);
    let bug = &results["price_test::test_bug"];
    assert!(bug["error"]["detail"].as_str().unwrap().contains("price failed with"), "{bug}");
    assert_eq!(bug["log"], json!(["price: info: asked"]));
    assert!(results["price_test::test_odd"]["error"]["detail"].as_str().unwrap().contains("no parameters"));

    let human = folder.test(&["."]).await;
    assert_eq!(human.code(), Some(1));
    for text in [
        "ok      price_test::test_it_doubles",
        "FAILED  price_test::test_bug",
        "--> ./price_test.rhai:4:12",
        "log: price: info: asked",
        "1 passed, 3 failed",
    ] {
        assert!(human.out.contains(text), "{text}: {human:?}");
    }
    let tap = folder.test(&[".", "--format", "tap", "--filter", "test_it"]).await;
    assert_eq!(tap.out.lines().next(), Some("TAP version 14"));
    assert!(tap.out.contains("\nok 2 - price_test::test_it_doubles\n1..2\n"), "{tap:?}");
    assert!(tap.out.contains("not ok 1 - broken\n  ---\n  message: "), "{tap:?}");
}

#[tokio::test]
async fn no_tests_are_a_failure_and_a_wrong_command_line_is_another() {
    let folder = Folder::new(&[("none.rhai", "1"), ("t.rhai", "fn test_a() {}")]);
    std::fs::create_dir(folder.0.home().join("empty")).unwrap();
    for (args, code, text) in [
        (&["none.rhai"][..], 1, "there are no tests in none.rhai"),
        (&["empty"], 2, "there is no *.rhai in empty"),
        (&["t.rhai", "--filter", "zzz"], 1, "no test in t.rhai has `zzz` in its name"),
        (&["missing.rhai"], 1, "missing.rhai: "),
        (&["t.rhai", "--limit", "speed=1"], 2, "speed"),
        (&[], 2, "FILE|DIR"),
    ] {
        let ended = folder.test(args).await;
        assert_eq!(ended.code(), Some(code), "{ended:?}");
        assert!(ended.log.contains(text), "{ended:?}");
    }
    assert_eq!(folder.test(&["t.rhai"]).await.code(), Some(0));
}

#[tokio::test]
async fn a_server_knows_no_tests() {
    let app = picloud_tests::TestApp::start().await;
    app.deploy("t", "fn test_a() { test::advance(1); } fn handle(req) { test_a() }").await;
    let problem = app.get("/default/t").await.assert_problem(500, "script-error");
    assert!(problem["detail"].as_str().unwrap().contains("test"), "{problem}");
}

#[tokio::test]
async fn the_tests_of_the_examples_and_of_the_documentation_pass() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let site = Site::with_compiled_code();
    let ended = site.picloud(&["test", root.join("examples").to_str().unwrap()]).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.out.contains("guestbook_test::") && ended.out.contains("stock::"), "{ended:?}");
    let page = std::fs::read_to_string(root.join("docs/SCRIPTING.md")).unwrap();
    let blocks = page.split("```rhai\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let blocks: Vec<_> = blocks.filter(|block| block.contains("fn test_")).collect();
    assert!(!blocks.is_empty(), "the page about tests has lost its example");
    for block in blocks {
        let folder = Folder::new(&[("orders.rhai", block)]);
        let ended = folder.test(&["orders.rhai"]).await;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
}
