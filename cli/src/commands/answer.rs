//! A script's answer and what it cost, as `invoke` and `run` show it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

use crate::client::http::Reply;
use crate::client::problem::Problem;
use crate::exit::{CliError, Exit};
use crate::output::Terminal;
use crate::output::diagnostic::Diagnostic;
use crate::output::text::{clean, clean_lines, thousands};

/// The largest answer that a server can be told to allow, in bytes.
pub(super) const MAX_ANSWER: usize = 64 << 20;

/// An answer with its cost.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// Fuel, if the call got that far.
    pub fuel: Option<u64>,
    /// Where the time went: a word and milliseconds, in order.
    pub timing: Vec<(String, f64)>,
    /// The execution's id.
    pub execution_id: Option<String>,
    /// Why the call failed; none when the script itself chose the status.
    pub problem: Option<Problem>,
}

impl Answer {
    /// Understand an answer from a server.
    #[must_use]
    pub fn of(reply: Reply) -> Self {
        let header = |name: &str| reply.headers.get(name).and_then(|value| value.to_str().ok());
        Self {
            fuel: header("picloud-fuel-used").and_then(|fuel| fuel.parse().ok()),
            timing: header("server-timing").map(parse_timing).unwrap_or_default(),
            execution_id: header("picloud-execution-id").map(clean),
            problem: Problem::of(&reply).filter(|_| reply.status.as_u16() >= 400),
            status: reply.status,
            headers: reply.headers,
            body: reply.body,
        }
    }

    /// Print the answer: the body on standard output and the cost on standard error, or all in one document. `file` is
    /// what a position in the script counts in; `source` is the script itself, if it is at hand.
    ///
    /// # Errors
    ///
    /// The call failed: its status is 400 or more. What there is to say about it has been said.
    pub fn print(&self, file: &str, source: Option<&str>, terminal: &mut Terminal) -> Result<(), CliError> {
        let diagnostic = self.problem.as_ref().map(|problem| {
            let mut diagnostic = Diagnostic::of_problem(problem);
            match source {
                Some(source) => {
                    // No server has it.
                    diagnostic.notes.retain(|(word, _)| *word != "execution");
                    diagnostic.in_source(file, source)
                }
                None => diagnostic.in_file(file),
            }
        });
        if terminal.json_wanted() {
            terminal.json(&self.document())?;
        } else {
            if diagnostic.is_none() {
                self.print_body(terminal)?;
            }
            terminal.note(&self.cost(terminal));
        }
        if let Some(diagnostic) = diagnostic {
            terminal.report(&CliError::Diagnostic(Box::new(diagnostic)));
        }
        if self.status.as_u16() < 400 { Ok(()) } else { Err(CliError::Reported(Exit::Failed)) }
    }

    /// Bytes as they are, but for a person: text ends with a line break, and nothing in it commands their terminal.
    fn print_body(&self, terminal: &mut Terminal) -> Result<(), CliError> {
        if !terminal.out_is_terminal() || self.body.is_empty() {
            return terminal.raw(&self.body);
        }
        match std::str::from_utf8(&self.body) {
            Ok(text) if !text.contains('\0') => {
                terminal.line(clean_lines(&text.replace("\r\n", "\n")).trim_end_matches('\n'))
            }
            _ => {
                let length = self.body.len();
                terminal.note(&format!(
                    "(the body is {length} bytes that are no text; redirect standard output to get them)"
                ));
                Ok(())
            }
        }
    }

    /// Status, fuel, times and id in one line.
    fn cost(&self, terminal: &Terminal) -> String {
        let paint = terminal.err_paint();
        let status =
            format!("{} {}", self.status.as_u16(), self.status.canonical_reason().unwrap_or_default());
        let status = status.trim_end();
        let mut parts =
            vec![if self.status.as_u16() < 400 { paint.good(status) } else { paint.error(status) }];
        parts.extend(self.fuel.map(|fuel| format!("fuel {}", thousands(fuel))));
        parts.extend(self.timing.iter().map(|(what, ms)| format!("{} {ms:.2} ms", clean(what))));
        parts.extend(self.execution_id.iter().map(|id| paint.dim(&format!("execution {id}"))));
        parts.join("  ")
    }

    /// Everything in one document. `json` is the body once more, parsed, if it says that it is JSON.
    fn document(&self) -> Value {
        let mut headers: Map<String, Value> = Map::new();
        for (name, value) in &self.headers {
            let values = headers.entry(name.as_str()).or_insert_with(|| json!([]));
            if let Value::Array(values) = values {
                values.push(json!(String::from_utf8_lossy(value.as_bytes())));
            }
        }
        let timing: Map<String, Value> =
            self.timing.iter().map(|(what, ms)| (what.clone(), json!(ms))).collect();
        let mut document = json!({
            "status": self.status.as_u16(),
            "headers": headers,
            "fuel": self.fuel,
            "timing_ms": timing,
            "execution_id": self.execution_id,
        });
        match std::str::from_utf8(&self.body) {
            Ok(text) => document["body"] = json!(text),
            Err(_) => document["body_base64"] = json!(base64(&self.body)),
        }
        if self.problem.is_some() {
            document["problem"] = json!(self.problem);
        } else if let Some(value) = self.json_body() {
            document["json"] = value;
        }
        document
    }

    fn json_body(&self) -> Option<Value> {
        let media_type = self.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let media_type = media_type.split(';').next()?.trim().to_ascii_lowercase();
        if media_type != "application/json" && !media_type.ends_with("+json") {
            return None;
        }
        serde_json::from_slice(&self.body).ok()
    }
}

/// Bytes as JSON can hold them.
pub(super) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// The entries of the header `Server-Timing` that have a duration.
fn parse_timing(header: &str) -> Vec<(String, f64)> {
    let entry = |entry: &str| {
        let (name, parameters) = entry.split_once(';')?;
        let duration = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("dur="))?;
        let ms: f64 = duration.trim().parse().ok()?;
        ms.is_finite().then(|| (name.trim().to_owned(), ms))
    };
    header.split(',').filter_map(entry).take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timing_is_read_leniently() {
        let timing =
            parse_timing("queue;dur=0.01, sandbox;desc=\"x\";dur=1.5,commit, bad;dur=x, worse;dur=NaN");
        assert_eq!(timing, [("queue".to_owned(), 0.01), ("sandbox".to_owned(), 1.5)]);
        assert!(parse_timing("").is_empty());
        assert_eq!(parse_timing(&"a;dur=1,".repeat(100_000)).len(), 16);
    }
}
