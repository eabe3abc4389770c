//! How tests went: for people, as TAP, or as JSON.

use std::time::Duration;

use picloud_host::call::Failure;
use serde::Serialize;
use serde_json::{Value, json};

use super::files::TestedScript;
use crate::args::TestFormat;
use crate::client::problem::Position;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::diagnostic::Diagnostic;
use crate::output::text::{clean, clean_lines, thousands};

/// One test, or a script that cannot be tested.
#[derive(Debug, Serialize)]
pub(super) struct Tested {
    /// The script, `::` and the function; the script alone if it does not load.
    name: String,
    file: String,
    ok: bool,
    /// With all that the test has called.
    fuel: u64,
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Diagnostic>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    log: Vec<String>,
}

impl Tested {
    /// A test that has run.
    pub(super) fn new(script: &TestedScript, name: String, failure: Option<Failure>) -> Self {
        let diagnostic = |failure: Failure| {
            Diagnostic {
                code: failure.code.as_str().to_owned(),
                message: failure.message,
                position: failure.position.map(|at| Position { line: at.line, column: at.column }),
                ..Diagnostic::default()
            }
            .in_source(&script.file, &script.source)
        };
        let (ok, error) = (failure.is_none(), failure.map(diagnostic));
        Self { name, file: script.file.clone(), ok, fuel: 0, duration_ms: 0, error, log: Vec::new() }
    }

    /// A script that does not load.
    pub(super) fn broken(script: &TestedScript, failure: Failure) -> Self {
        Self::new(script, script.name.clone(), Some(failure))
    }

    pub(super) fn cost(self, fuel: u64, duration: Duration) -> Self {
        Self { fuel, duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), ..self }
    }

    pub(super) fn logged(self, log: Vec<String>) -> Self {
        Self { log, ..self }
    }

    fn human(&self, terminal: &Terminal) -> String {
        let paint = terminal.out_paint();
        let cost = paint.dim(&format!("{} fuel, {} ms", thousands(self.fuel), self.duration_ms));
        let name = clean(&self.name);
        let Some(error) = &self.error else {
            return format!("{}      {name}  {cost}", paint.good("ok"));
        };
        let mut text = format!("{}  {name}  {cost}\n{}", paint.error("FAILED"), error.render(paint));
        for line in &self.log {
            text.push_str("\n  log: ");
            text.push_str(&clean_lines(line));
        }
        text.push('\n');
        text
    }

    /// A test point, and for one that failed a block in YAML, of which JSON is a part.
    fn tap(&self, number: usize) -> String {
        let name = clean(&self.name).replace('\\', "\\\\").replace('#', "\\#");
        let Some(error) = &self.error else { return format!("ok {number} - {name}") };
        let mut members = vec![("message", json!(error.message)), ("code", json!(error.code))];
        members.push(("severity", json!("fail")));
        let at = error.position.map(|at| json!({ "file": self.file, "line": at.line, "column": at.column }));
        members.push(("at", at.unwrap_or_else(|| json!({ "file": self.file }))));
        members.push(("log", json!(self.log)));
        let lines = members.into_iter().map(|(name, value): (_, Value)| format!("  {name}: {value}\n"));
        format!("not ok {number} - {name}\n  ---\n{}  ...", lines.collect::<String>())
    }
}

/// Prints results as they come.
pub(super) struct Report {
    format: TestFormat,
    tests: Vec<Tested>,
}

impl Report {
    pub(super) fn new(format: TestFormat) -> Self {
        Self { format, tests: Vec::new() }
    }

    /// Tell how a test went.
    pub(super) fn add(&mut self, tested: Tested, terminal: &mut Terminal) -> Result<(), CliError> {
        if !terminal.json_wanted() {
            if self.tests.is_empty() && self.format == TestFormat::Tap {
                terminal.line("TAP version 14")?;
            }
            let text = match self.format {
                TestFormat::Human => tested.human(terminal),
                TestFormat::Tap => tested.tap(self.tests.len() + 1),
            };
            terminal.line(&text)?;
        }
        self.tests.push(tested);
        Ok(())
    }

    /// Sum up. Whether any failed.
    pub(super) fn end(self, terminal: &mut Terminal) -> Result<bool, CliError> {
        let failed = self.tests.iter().filter(|test| !test.ok).count();
        let passed = self.tests.len() - failed;
        if terminal.json_wanted() {
            terminal.json(&json!({ "tests": self.tests, "passed": passed, "failed": failed }))?;
        } else if self.format == TestFormat::Tap {
            if self.tests.is_empty() {
                terminal.line("TAP version 14")?;
            }
            terminal.line(&format!("1..{}", self.tests.len()))?;
        } else {
            terminal.line(&format!("{passed} passed, {failed} failed"))?;
        }
        Ok(failed > 0)
    }
}

#[cfg(test)]
mod tests {
    use picloud_host::problem::Code;

    use super::*;

    fn tested(name: &str, failure: Option<Failure>) -> Tested {
        let error = failure.map(|failure| Diagnostic {
            code: failure.code.as_str().to_owned(),
            message: failure.message,
            position: Some(Position { line: 2, column: 5 }),
            ..Diagnostic::default()
        });
        let ok = error.is_none();
        let log = vec!["a: info: \"x\"".to_owned()];
        Tested { name: name.into(), file: "a.rhai".into(), ok, fuel: 1234, duration_ms: 5, error, log }
    }

    #[test]
    fn tap_is_one_point_for_each_test_and_a_block_for_failures() {
        assert_eq!(tested("a::test_#1", None).tap(1), "ok 1 - a::test_\\#1");
        let failure = Failure::new(Code::ScriptError, "two\nlines: \"x\"");
        assert_eq!(
            tested("a::test_b", Some(failure)).tap(2),
            r#"not ok 2 - a::test_b
  ---
  message: "two\nlines: \"x\""
  code: "script-error"
  severity: "fail"
  at: {"column":5,"file":"a.rhai","line":2}
  log: ["a: info: \"x\""]
  ..."#
        );
    }
}
