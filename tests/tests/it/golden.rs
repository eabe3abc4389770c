//! Scripts with the answers, logs and fuel that are expected of them: one folder for each case under `tests/cases`.
//!
//! A case is a `script.rhai`, a `request.json` (without it: one GET of the script's own address) and an `expect.json`.
//! `UPDATE_EXPECT=1` writes what happens to `expect.json`; read the difference before you commit it. `COMPILER` says which
//! compiler's guest the recorded fuel is of.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use picloud_host::guest::COMPILER;
use picloud_tests::{Reply, TestApp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How far fuel may be from the recorded number, in hundredths of it. A change of the guest moves it a little; more than
/// that should be meant.
const FUEL_TOLERANCE: u64 = 3;

/// The same for a guest of another compiler, which brings another allocator and another standard library.
const FUEL_TOLERANCE_OTHER_COMPILER: u64 = 15;

/// Headers that differ from call to call, or from machine to machine.
const VOLATILE: [&str; 6] =
    ["content-length", "date", "picloud-execution-id", "picloud-fuel-used", "server-timing", "x-request-id"];

/// A request to the script of a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Request {
    method: String,
    /// What follows the address of the script.
    path: String,
    headers: Vec<(String, String)>,
    /// Text.
    body: Option<String>,
    /// Bytes, in hexadecimal.
    body_hex: Option<String>,
    /// How long to wait before it is sent.
    wait_ms: u64,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            path: String::new(),
            headers: vec![],
            body: None,
            body_hex: None,
            wait_ms: 0,
        }
    }
}

/// What a call did, as `expect.json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Step {
    status: u16,
    headers: BTreeMap<String, String>,
    /// JSON as it is, text as a string, other bytes as `{"hex": "..."}`.
    body: Value,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    log: Vec<String>,
    pub(crate) fuel: u64,
}

impl Step {
    fn differs(&self, expected: &Self, tolerance: u64) -> bool {
        let far = self.fuel.abs_diff(expected.fuel) * 100 > expected.fuel * tolerance;
        far || Self { fuel: 0, ..self.clone() } != Self { fuel: 0, ..expected.clone() }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_case_does_what_is_expected_of_it() {
    let app = TestApp::start().await;
    let (update, mut wrong) = (std::env::var_os("UPDATE_EXPECT").is_some(), Vec::new());
    if update {
        std::fs::write(folder().join("COMPILER"), format!("{COMPILER}\n")).unwrap();
    }
    let tolerance = match std::fs::read_to_string(folder().join("COMPILER")).unwrap().trim() {
        COMPILER => FUEL_TOLERANCE,
        _ => FUEL_TOLERANCE_OTHER_COMPILER,
    };
    for case in cases() {
        let steps = run(&app, &case).await;
        let path = case.join("expect.json");
        if update {
            std::fs::write(&path, pretty(&steps) + "\n").unwrap();
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap_or_else(|_| "[]".into());
        let expected: Vec<Step> = serde_json::from_str(&text).unwrap();
        let same_length = steps.len() == expected.len();
        if !same_length
            || steps.iter().zip(&expected).any(|(step, expected)| step.differs(expected, tolerance))
        {
            wrong.push(format!("{}: it was\n{}\nbut expected is\n{text}", name(&case), pretty(&steps)));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_EXPECT=1 accepts what is new.\n\n{}", wrong.join("\n"));
    app.assert_healthy().await;
}

/// The folders of the cases, in order.
pub(crate) fn cases() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<_> = entries.filter(|path| path.is_dir()).collect();
    cases.sort();
    assert!(cases.len() > 20, "the cases are not where they should be");
    cases
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

pub(crate) fn name(case: &Path) -> &str {
    case.file_name().unwrap().to_str().unwrap()
}

/// Deploy the script of a case and make its requests.
pub(crate) async fn run(app: &TestApp, case: &Path) -> Vec<Step> {
    app.deploy(name(case), std::fs::read(case.join("script.rhai")).unwrap()).await;
    let mut steps = Vec::new();
    for request in requests(case) {
        tokio::time::sleep(Duration::from_millis(request.wait_ms)).await;
        let reply = send(app, name(case), &request).await;
        steps.push(step(app, reply).await);
    }
    steps
}

fn requests(case: &Path) -> Vec<Request> {
    match std::fs::read_to_string(case.join("request.json")) {
        Ok(text) => serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", name(case))),
        Err(_) => vec![Request::default()],
    }
}

async fn send(app: &TestApp, script: &str, request: &Request) -> Reply {
    // Always the same host, whatever the port is: a script that reads the headers pays for each byte.
    let path = format!("/default/{script}{}", request.path);
    let mut builder = app.request(&request.method, &path).header("host", "localhost");
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    let bytes = request.body_hex.as_deref().map(from_hex);
    match bytes.or_else(|| Some(request.body.clone()?.into_bytes())) {
        Some(body) => Reply::of(builder.body(body)).await,
        None => Reply::of(builder).await,
    }
}

async fn step(app: &TestApp, reply: Reply) -> Step {
    let record = app.get(&format!("/api/v1/apps/default/executions/{}", reply.execution_id())).await.json();
    let lines = record["log"].as_array().unwrap().iter();
    let log = lines
        .map(|line| format!("{}: {}", line["level"].as_str().unwrap(), line["message"].as_str().unwrap()));
    let headers = reply.headers.iter().filter(|(name, _)| !VOLATILE.contains(&name.as_str()));
    let mut by_name = BTreeMap::<String, String>::new();
    for (name, value) in headers {
        let all = by_name.entry(name.to_string()).or_default();
        all.push_str(if all.is_empty() { "" } else { " | " });
        all.push_str(value.to_str().unwrap());
    }
    Step {
        status: reply.status,
        headers: by_name,
        body: body(&reply),
        log: log.collect(),
        fuel: reply.fuel(),
    }
}

fn body(reply: &Reply) -> Value {
    if reply.header("content-type").is_some_and(|kind| kind.ends_with("json")) {
        let mut value = reply.json();
        if let Some(id) = value.get_mut("execution_id") {
            assert_eq!(id, reply.execution_id());
            *id = "(the header's)".into();
        }
        return value;
    }
    match str::from_utf8(&reply.body) {
        Ok(text) => text.into(),
        Err(_) => {
            serde_json::json!({ "hex": reply.body.iter().map(|byte| format!("{byte:02x}")).collect::<String>() })
        }
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).unwrap() as u8;
    text.as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}

fn pretty(steps: &[Step]) -> String {
    serde_json::to_string_pretty(steps).unwrap()
}
