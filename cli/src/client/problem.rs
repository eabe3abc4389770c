//! A server's error answer, as far as it can be understood.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::http::Reply;
use super::server::Server;
use crate::exit::CliError;
use crate::output::text::{clean, excerpt};

/// A problem document (RFC 9457). Everything in it comes from the server, so nothing in it is relied on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// Where the page of the code is, relative to the server.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// One sentence, the same for every occurrence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What happened this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Whose fault a failed call was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Whether the same request may succeed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retryable: Option<bool>,
    /// The execution that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// Where in the script's source.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The header `Retry-After`, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

/// A place in a script's source; both count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
}

impl Problem {
    /// The problem document in an answer; none if it has none.
    #[must_use]
    pub fn of(reply: &Reply) -> Option<Self> {
        let media_type = reply.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
        if !media_type.trim().to_ascii_lowercase().starts_with("application/problem+json") {
            return None;
        }
        let mut members: Value = serde_json::from_slice(&reply.body).ok()?;
        // One member of the wrong type must not hide the others.
        let of = |members: &Value, name: &str| members.get(name).and_then(Value::as_str).map(str::to_owned);
        let problem = Self {
            kind: of(&members, "type"),
            title: of(&members, "title"),
            status: reply.status.as_u16(),
            code: of(&members, "code"),
            detail: of(&members, "detail"),
            instance: of(&members, "instance"),
            fault: of(&members, "fault"),
            retryable: members.get("retryable").and_then(Value::as_bool),
            execution_id: of(&members, "execution_id"),
            position: members.get_mut("position").and_then(|value| serde_json::from_value(value.take()).ok()),
            retry_after: reply
                .headers
                .get(http::header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok()),
        };
        members.is_object().then_some(problem)
    }

    /// What an error answer of the REST API means: its problem document, or that this is no PiCloud server.
    #[must_use]
    pub fn of_api(reply: &Reply, server: &Server) -> CliError {
        if let Some(problem) = Self::of(reply) {
            return CliError::Problem(Box::new(problem));
        }
        let location = reply.headers.get(http::header::LOCATION).and_then(|value| value.to_str().ok());
        if let Some(location) = location.filter(|_| reply.status.is_redirection()) {
            let location = clean(location);
            return CliError::Unreachable(format!(
                "{server} redirects to {location}; set --server to where the server really is"
            ));
        }
        let body = excerpt(&String::from_utf8_lossy(&reply.body), 200);
        let body = if body.is_empty() { "nothing".to_owned() } else { format!("`{body}`") };
        CliError::Unreachable(format!(
            "what answers at {server} does not seem to be PiCloud: status {} with {body}",
            reply.status.as_u16()
        ))
    }

    /// Whether the server refused to talk, rather than to do the thing.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, 401 | 403 | 421)
    }

    /// The most telling sentence in it.
    #[must_use]
    pub fn summary(&self) -> String {
        let said = self
            .detail
            .as_deref()
            .or(self.title.as_deref())
            .map(clean)
            .filter(|text| !text.trim().is_empty());
        said.unwrap_or_else(|| format!("the server answered with status {}", self.status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, media_type: &str, body: &str) -> Reply {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", media_type.parse().unwrap());
        Reply { status: http::StatusCode::from_u16(status).unwrap(), headers, body: body.to_owned().into() }
    }

    #[test]
    fn a_problem_is_read_member_by_member() {
        let body = r#"{"title": 1, "status": 200, "code": "script-error", "detail": "no", "position": {"line": 3, "column": 7}}"#;
        let problem = Problem::of(&reply(500, "Application/Problem+JSON; charset=utf-8", body)).unwrap();
        assert_eq!(problem.title, None);
        assert_eq!(problem.status, 500);
        assert_eq!(problem.code.as_deref(), Some("script-error"));
        assert_eq!(problem.position, Some(Position { line: 3, column: 7 }));
        assert_eq!(problem.summary(), "no");
    }

    #[test]
    fn what_is_no_problem_document_is_none() {
        for (media_type, body) in [
            ("application/json", "{}"),
            ("application/problem+json", "{"),
            ("application/problem+json", "[]"),
            ("application/problem+json", ""),
        ] {
            assert_eq!(Problem::of(&reply(500, media_type, body)), None, "{media_type} {body}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Problem::of(&reply(500, "application/problem+json", &deep)), None);
    }

    #[test]
    fn an_answer_of_something_else_is_shown_in_part_and_harmless() {
        let body = format!("<html>\u{1b}[31m{}", "x".repeat(100_000));
        let error = Problem::of_api(&reply(502, "text/html", &body), &Server::default());
        let text = error.to_string();
        assert!(
            text.contains("does not seem to be PiCloud: status 502") && text.contains("<html>"),
            "{text}"
        );
        assert!(text.len() < 400 && !text.contains('\u{1b}'), "{text}");
        assert_eq!(error.exit(), crate::exit::Exit::Unreachable);
    }
}
