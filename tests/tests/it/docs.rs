//! The examples in the documentation run, in the real sandbox.

use std::path::Path;

use picloud_host::call::{EventCall, Payload};
use picloud_host::event::EventKind;
use picloud_tests::{BareExecutor, TestApp};

/// What examples may use besides what scripts have. Behind the example, so that its lines keep their numbers.
const ASSERTIONS: &str = r#"
    fn assert(holds) { if holds != true { throw "this does not hold"; } }
    fn assert_eq(left, right) {
        if type_of(left) != type_of(right) || left != right {
            throw `${type_of(left)} ${left} is not ${type_of(right)} ${right}`;
        }
    }
"#;

/// A block in Rhai: a whole script.
struct Example {
    /// Where it is.
    at: String,
    source: String,
    /// What it answers to a plain GET, if that is an error on purpose: a block that starts with `rhai 404`.
    status: Option<u16>,
}

impl Example {
    fn handles(&self, function: &str) -> bool {
        self.source.contains(&format!("fn {function}("))
    }

    /// What a handler as a whole, without functions, does with an event is not what a page is about. A script with tests
    /// is run by those: process/script_tests.rs.
    fn answers_requests(&self) -> bool {
        (self.handles("handle") || !self.handles("on_event")) && !self.source.contains("fn test_")
    }

    fn answers_as_it_should(&self, status: u16) -> bool {
        self.status.map_or((200..300).contains(&status), |expected| status == expected)
    }
}

/// The examples of all pages that have some.
fn all_examples() -> Vec<Example> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut errors: Vec<_> = std::fs::read_dir(root.join("docs/errors"))
        .unwrap()
        .map(|page| format!("docs/errors/{}", page.unwrap().file_name().to_str().unwrap()))
        .collect();
    errors.sort();
    let mut found = Vec::new();
    for page in ["docs/SCRIPTING.md", "README.md"].map(str::to_owned).into_iter().chain(errors) {
        found.extend(examples(&page, &std::fs::read_to_string(root.join(&page)).unwrap()));
    }
    let some = |start: &str| found.iter().filter(|example| example.at.starts_with(start)).count() > 10;
    assert!(some("docs/SCRIPTING.md") && some("docs/errors/"), "a page has lost its examples");
    found
}

fn examples(page: &str, text: &str) -> Vec<Example> {
    let (mut found, mut open) = (Vec::new(), None::<Example>);
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_end();
        match &mut open {
            Some(_) if line == "```" => found.extend(open.take()),
            Some(example) => example.source.extend([line, "\n"]),
            None => {
                let Some(mark) = line.strip_prefix("```rhai") else { continue };
                let at = format!("{page}:{}", index + 1);
                let status = (!mark.is_empty()).then(|| {
                    mark.trim().parse::<u16>().unwrap_or_else(|_| panic!("{at}: {mark} is no status"))
                });
                open = Some(Example { at, source: String::new(), status });
            }
        }
    }
    assert!(open.is_none(), "{page}: a block does not end");
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_runs() {
    let (app, mut wrong) = (TestApp::start().await, Vec::new());
    for example in all_examples() {
        let upload = app.put_script("example", format!("{}{ASSERTIONS}", example.source)).await;
        if !upload.is_success() {
            wrong.push(format!("{}: {upload}", example.at));
        } else if example.answers_requests() {
            let reply = app.get("/default/example").await;
            if !example.answers_as_it_should(reply.status) {
                wrong.push(format!("{}: {reply}", example.at));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    app.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_example_with_events_handles_one() {
    let (executor, mut wrong, mut run) = (BareExecutor::start().await, Vec::new(), 0);
    for example in all_examples().iter().filter(|example| example.handles("on_event")) {
        let event = EventCall {
            id: "e-1".to_owned(),
            source: "/default/kv".to_owned(),
            kind: "picloud.kv.set".to_owned(),
            subject: Some("total".to_owned()),
            time_ms: 1_790_000_000_000,
            data: r#"{"total":12}"#.into(),
            trigger: EventKind::Event,
        };
        let source = format!("{}{ASSERTIONS}", example.source);
        let outcome = executor.call_source(&source, 0, Payload::Event(event)).await;
        wrong.extend(outcome.result.err().map(|failure| format!("{}: {failure:?}", example.at)));
        run += 1;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(run > 0, "no example handles events");
}

#[test]
fn examples_are_found_with_their_status() {
    let page = "```rhai\n1\n```\n```sh\n2\n```\n```rhai 404\nfn on_event(event) {}\n```\n";
    let found = examples("page.md", page);
    let seen: Vec<_> = found.iter().map(|one| (one.at.as_str(), one.source.as_str(), one.status)).collect();
    assert_eq!(seen, [("page.md:1", "1\n", None), ("page.md:7", "fn on_event(event) {}\n", Some(404))]);
    assert!(found[0].answers_requests() && !found[1].answers_requests());
    assert!(found[0].answers_as_it_should(204) && !found[0].answers_as_it_should(404));
    assert!(found[1].answers_as_it_should(404) && !found[1].answers_as_it_should(200));
}
