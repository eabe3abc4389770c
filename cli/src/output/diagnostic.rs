//! Errors about a place in a script, shown the way rustc does: file, line, column, the line itself, a caret.

use serde::Serialize;

use super::Paint;
use super::text::{clean, clean_lines};
use crate::client::problem::{Position, Problem};

/// How much of a long line is shown on each side of the caret, in characters.
const WINDOW: usize = 60;

/// Something to tell about a script.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Diagnostic {
    /// The stable code, such as `compile-failed`.
    pub code: String,
    /// What is wrong.
    #[serde(rename = "detail")]
    pub message: String,
    /// The file, or the script's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Where in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// The line at that place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_line: Option<String>,
    /// More to know: a word and what it says.
    #[serde(skip)]
    pub notes: Vec<(&'static str, String)>,
}

impl Diagnostic {
    /// What a problem document says.
    #[must_use]
    pub fn of_problem(problem: &Problem) -> Self {
        let mut notes = Vec::new();
        let mut note = |word, text: Option<String>| notes.extend(text.map(|text| (word, text)));
        // The title says in general what the message says in particular.
        note(
            "note",
            problem.title.clone().filter(|title| problem.detail.as_ref().is_some_and(|said| said != title)),
        );
        note("retry", problem.retry_after.map(|seconds| format!("in {seconds} s")));
        note("execution", problem.execution_id.as_ref().map(|id| format!("picloud executions show {id}")));
        if problem.is_refusal() && problem.code.as_deref() == Some("unauthorized") {
            note(
                "help",
                Some(
                    "the server wants a token: `picloud login`, --token, PICLOUD_TOKEN, or client.toml (see --help)"
                        .to_owned(),
                ),
            );
        }
        // Only a server that has a page for it knows the code.
        let has_page = problem.kind.as_deref().is_some_and(|kind| kind.starts_with("/api/v1/errors/"));
        note(
            "read",
            problem.code.as_ref().filter(|_| has_page).map(|code| format!("picloud explain {code}")),
        );
        Self {
            code: problem.code.clone().unwrap_or_default(),
            message: problem.summary(),
            position: problem.position,
            notes,
            ..Self::default()
        }
    }

    /// Say which file it is about, and show the line in question of its source.
    #[must_use]
    pub fn in_source(mut self, file: impl Into<String>, source: &str) -> Self {
        let line = self.position.map(|position| position.line as usize);
        self.source_line = line.and_then(|line| source.lines().nth(line.checked_sub(1)?)).map(str::to_owned);
        self.in_file(file)
    }

    /// Say which file, or which script, it is about.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<String>) -> Self {
        self.file = Some(file.into());
        self
    }

    /// Several lines, without a line break at the end.
    #[must_use]
    pub fn render(&self, paint: Paint) -> String {
        let code = if self.code.is_empty() { String::new() } else { format!("[{}]", clean(&self.code)) };
        let message = clean_lines(self.message.trim_end());
        let mut lines = vec![format!("{}: {}", paint.error(&format!("error{code}")), paint.bold(&message))];
        let number = self.position.map_or(0, |position| position.line).to_string();
        let margin = " ".repeat(if self.source_line.is_some() { number.len() } else { 1 });
        if let Some(file) = &self.file {
            let place = self.position.map_or_else(String::new, |at| format!(":{}:{}", at.line, at.column));
            lines.push(format!("{margin}{} {}{place}", paint.frame("-->"), clean(file)));
        }
        if let (Some(source), Some(position)) = (&self.source_line, self.position) {
            let (line, caret) = window(source, position.column as usize);
            let bar = paint.frame("|");
            lines.push(format!("{margin} {bar}"));
            lines.push(format!("{} {bar} {line}", paint.frame(&number)));
            lines.push(format!("{margin} {bar} {}{}", " ".repeat(caret), paint.error("^")));
        }
        for (word, text) in &self.notes {
            lines.push(format!("{margin} {} {word}: {}", paint.frame("="), clean(text)));
        }
        lines.join("\n")
    }
}

/// The part of a line around a column (from 1), and how many characters stand before it there.
fn window(source: &str, column: usize) -> (String, usize) {
    let characters: Vec<char> = source.trim_end().chars().collect();
    // A position past the end means the end of the line.
    let at = column.saturating_sub(1).min(characters.len());
    let from = at.saturating_sub(WINDOW);
    let to = (at + WINDOW).min(characters.len());
    // Tabs as one space, so that the caret stands where it should whatever the tab stops are.
    let show = |part: &[char]| {
        let text: String = part.iter().map(|c| if *c == '\t' { ' ' } else { *c }).collect();
        clean(&text)
    };
    let (head, tail) = (if from > 0 { "..." } else { "" }, if to < characters.len() { "..." } else { "" });
    let before = format!("{head}{}", show(&characters[from..at]));
    let caret = before.chars().count();
    (format!("{before}{}{tail}", show(&characters[at..to])), caret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile_error(source: &str, line: u32, column: u32) -> String {
        let diagnostic = Diagnostic {
            code: "compile-failed".to_owned(),
            message: "Expecting ';'".to_owned(),
            position: Some(Position { line, column }),
            ..Diagnostic::default()
        };
        diagnostic.in_source("dir/a.rhai", source).render(Paint(false))
    }

    #[test]
    fn the_caret_stands_under_the_column() {
        assert_eq!(
            compile_error("fn a() {}\n\tlet ö = x y;\n", 2, 12),
            "error[compile-failed]: Expecting ';'\n \
             --> dir/a.rhai:2:12\n  \
             |\n\
             2 |  let ö = x y;\n  \
             |            ^"
        );
    }

    #[test]
    fn the_margin_grows_with_the_line_number() {
        let source = "x\n".repeat(120);
        let text = compile_error(&source, 107, 1);
        assert!(text.contains("\n   --> dir/a.rhai:107:1\n    |\n107 | x\n    | ^"), "{text}");
    }

    #[test]
    fn a_long_line_is_shown_around_the_caret() {
        let source = format!("{}!{}", "a".repeat(200_000), "b".repeat(200_000));
        let text = compile_error(&source, 1, 200_001);
        let lines: Vec<&str> = text.lines().collect();
        assert!(text.len() < 500, "{}", text.len());
        let caret = lines[4].find('^').unwrap();
        assert_eq!(&lines[3][caret..=caret], "!");
    }

    #[test]
    fn places_that_are_not_there_do_no_harm() {
        for (line, column) in [(0, 0), (1, 0), (1, 99), (2, 1), (u32::MAX, u32::MAX)] {
            assert!(compile_error("ab", line, column).starts_with("error[compile-failed]: Expecting ';'\n"));
        }
        assert!(compile_error("ab", 1, 99).ends_with("|   ^"));
        assert!(compile_error("a\u{1b}[2Jb", 1, 3).contains("a\\u{1b}[2Jb"));
    }

    #[test]
    fn a_problem_says_what_to_do_next() {
        let problem = Problem {
            status: 401,
            code: Some("unauthorized".to_owned()),
            title: Some("A token is needed.".to_owned()),
            ..Problem::default()
        };
        let text = Diagnostic::of_problem(&problem).render(Paint(false));
        assert!(
            text.starts_with("error[unauthorized]: A token is needed.\n  = help: the server wants a token"),
            "{text}"
        );
        let problem = Problem {
            status: 500,
            code: Some("script-error".to_owned()),
            title: Some("The script stopped with an error.".to_owned()),
            detail: Some("Function not found: foo".to_owned()),
            execution_id: Some("0192".to_owned()),
            position: Some(Position { line: 3, column: 5 }),
            ..Problem::default()
        };
        assert_eq!(
            Diagnostic::of_problem(&problem).in_file("hello").render(Paint(false)),
            "error[script-error]: Function not found: foo\n \
             --> hello:3:5\n  \
             = note: The script stopped with an error.\n  \
             = execution: picloud executions show 0192"
        );
    }
}
