//! The examples in the documentation run, in the real sandbox.

use std::path::Path;

use picloud_tests::TestApp;

/// What examples may use besides what scripts have. Behind the example, so that its lines keep their numbers.
const ASSERTIONS: &str = r#"
    fn assert(holds) { if holds != true { throw "this does not hold"; } }
    fn assert_eq(left, right) {
        if type_of(left) != type_of(right) || left != right {
            throw `${type_of(left)} ${left} is not ${type_of(right)} ${right}`;
        }
    }
"#;

/// The blocks of a page in Rhai, each with the number of the line before its first one.
fn examples(page: &str) -> Vec<(usize, String)> {
    let (mut found, mut open) = (Vec::new(), None);
    for (index, line) in page.lines().enumerate() {
        match (&mut open, line.trim_end()) {
            (None, "```rhai") => open = Some((index + 1, String::new())),
            (Some(_), "```") => found.extend(open.take()),
            (Some((_, text)), _) => text.extend([line, "\n"]),
            (None, _) => {}
        }
    }
    assert!(open.is_none(), "a block does not end");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_runs() {
    let app = TestApp::start().await;
    let (root, mut wrong) = (Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), Vec::new());
    for (page, least) in [("docs/SCRIPTING.md", 10), ("README.md", 0)] {
        let text = std::fs::read_to_string(root.join(page)).unwrap_or_default();
        let examples = examples(&text);
        assert!(examples.len() >= least, "{page} has lost its examples");
        for (before, example) in examples {
            let at = format!("{page}, after line {before}");
            let upload = app.put_script("example", example + ASSERTIONS).await;
            if !upload.is_success() {
                wrong.push(format!("{at}: {upload}"));
                continue;
            }
            // An example that answers with an error on purpose chooses a status for it.
            let reply = app.get("/default/example").await;
            if reply.status >= 500 {
                wrong.push(format!("{at}: {reply}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    app.assert_healthy().await;
}
