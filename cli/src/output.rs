//! What a command prints: results on standard output, everything else on standard error, for people or as JSON.

pub mod diagnostic;
pub mod table;
pub mod text;
pub mod time;

use std::io::{IsTerminal as _, Read, Write};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;
use zeroize::Zeroizing;

use crate::env::Env;
use crate::exit::{CliError, Exit};
use diagnostic::Diagnostic;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Table,
    /// JSON documents.
    Json,
}

/// Whether to colour, for one of the two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paint(pub bool);

impl Paint {
    /// The text in a style, if colours are wanted.
    #[must_use]
    pub fn style(self, style: Style, text: &str) -> String {
        if self.0 { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// What went wrong.
    #[must_use]
    pub fn error(self, text: &str) -> String {
        self.style(AnsiColor::Red.on_default().bold(), text)
    }

    /// What went well.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.style(AnsiColor::Green.on_default().bold(), text)
    }

    /// What may need a look.
    #[must_use]
    pub fn warning(self, text: &str) -> String {
        self.style(AnsiColor::Yellow.on_default().bold(), text)
    }

    /// What frames the rest.
    #[must_use]
    pub fn frame(self, text: &str) -> String {
        self.style(AnsiColor::Blue.on_default().bold(), text)
    }

    /// What matters less.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.style(Style::new().dimmed(), text)
    }

    /// What matters more.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.style(Style::new().bold(), text)
    }
}

/// Standard input, output and error, and how to print to them.
pub struct Terminal {
    /// How to print results and errors.
    pub format: Format,
    input: Box<dyn Read + Send>,
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    in_is_terminal: bool,
    out_is_terminal: bool,
    err_is_terminal: bool,
    /// Whether the cursor can be moved: not on a terminal that calls itself `dumb`.
    cursor: bool,
    out_paint: Paint,
    err_paint: Paint,
}

impl Terminal {
    /// Those of this process. Colours only on a terminal, and not when `NO_COLOR` is set or `TERM` is `dumb`.
    #[must_use]
    pub fn process(env: &Env) -> Self {
        let cursor = env.get("TERM").is_none_or(|term| term != "dumb");
        let colours = env.get("NO_COLOR").is_none() && cursor;
        let out_is_terminal = std::io::stdout().is_terminal();
        let err_is_terminal = std::io::stderr().is_terminal();
        Self {
            format: Format::Table,
            input: Box::new(std::io::stdin()),
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            in_is_terminal: std::io::stdin().is_terminal(),
            out_is_terminal,
            err_is_terminal,
            cursor,
            out_paint: Paint(colours && out_is_terminal),
            err_paint: Paint(colours && err_is_terminal),
        }
    }

    /// Any others, which are no terminal and get no colours.
    #[must_use]
    pub fn new(input: Box<dyn Read + Send>, out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        let plain = Paint(false);
        Self {
            format: Format::Table,
            input,
            out,
            err,
            in_is_terminal: false,
            out_is_terminal: false,
            err_is_terminal: false,
            cursor: false,
            out_paint: plain,
            err_paint: plain,
        }
    }

    /// Whether results are JSON.
    #[must_use]
    pub fn json_wanted(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether a person sees the results as they are, so that control characters would reach their terminal.
    #[must_use]
    pub fn out_is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    /// Whether the screen can be drawn anew, again and again.
    #[must_use]
    pub fn can_redraw(&self) -> bool {
        self.out_is_terminal && self.cursor && !self.json_wanted()
    }

    /// Columns and rows of the terminal that standard output is; none if it is no terminal, or does not know.
    #[must_use]
    pub fn size(&self) -> Option<(u16, u16)> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok().filter(|_| self.out_is_terminal)?;
        Some((size.ws_col, size.ws_row)).filter(|(columns, rows)| *columns > 0 && *rows > 0)
    }

    /// Whether somebody sees questions and can answer them.
    #[must_use]
    pub fn can_ask(&self) -> bool {
        self.in_is_terminal && self.err_is_terminal && !self.json_wanted()
    }

    /// Ask something that `y` or `yes` agrees to; everything else does not.
    ///
    /// # Errors
    ///
    /// Standard input cannot be read.
    pub fn ask(&mut self, question: &str) -> Result<bool, CliError> {
        let _ = write!(self.err, "{question} [y/N] ");
        let _ = self.err.flush();
        let answer = text::read_line(&mut self.input)
            .map_err(|why| CliError::Failed(format!("standard input: {why}")))?;
        Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    /// Ask for a line of text.
    ///
    /// # Errors
    ///
    /// Nobody can be asked, or standard input cannot be read.
    pub fn ask_line(&mut self, question: &str) -> Result<String, CliError> {
        if !self.can_ask() {
            return Err(CliError::Usage(format!("nobody can be asked `{}`; see --help", question.trim())));
        }
        let _ = write!(self.err, "{question}");
        let _ = self.err.flush();
        let answer = text::read_line(&mut self.input)
            .map_err(|why| CliError::Failed(format!("standard input: {why}")))?;
        Ok(answer.trim().to_owned())
    }

    /// Whether somebody can be asked for a password.
    #[must_use]
    pub fn can_ask_password(&self) -> bool {
        self.in_is_terminal
    }

    /// Ask for a password, which is not shown while it is typed.
    ///
    /// # Errors
    ///
    /// The terminal cannot be read.
    pub fn ask_password(&mut self, question: &str) -> Result<Zeroizing<String>, CliError> {
        rpassword::prompt_password(question)
            .map(Zeroizing::new)
            .map_err(|why| CliError::Failed(format!("the terminal: {why}")))
    }

    /// A bar that shows how many of `steps` are done, on standard error if that is a terminal. What is printed meanwhile has
    /// to be printed in its `suspend`.
    #[must_use]
    pub fn progress(&self, steps: usize) -> ProgressBar {
        if steps == 0 || !self.err_is_terminal || !self.cursor || self.json_wanted() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("[{bar:30}] {pos}/{len}  {msg}");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
    }

    /// A bar that shows how many bytes have come, on standard error if that is a terminal.
    #[must_use]
    pub fn bytes_progress(&self) -> ProgressBar {
        let bar = self.progress(1);
        let style = ProgressStyle::with_template("[{bar:30}] {bytes}/{total_bytes}  {bytes_per_sec}");
        bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "))
    }

    /// The colours of standard output.
    #[must_use]
    pub fn out_paint(&self) -> Paint {
        self.out_paint
    }

    /// The colours of standard error.
    #[must_use]
    pub fn err_paint(&self) -> Paint {
        self.err_paint
    }

    /// Read standard input to its end, `limit` bytes at most.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is longer.
    pub fn read_input(&mut self, limit: usize) -> Result<Vec<u8>, CliError> {
        text::read_bounded(&mut self.input, limit)
            .map_err(|why| CliError::Failed(format!("standard input: {why}")))
    }

    /// Print a line of a result.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn line(&mut self, line: &str) -> Result<(), CliError> {
        self.raw(format!("{line}\n").as_bytes())
    }

    /// Print bytes of a result as they are.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub fn raw(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.out.write_all(bytes)?;
        Ok(self.out.flush()?)
    }

    /// Print a result as one JSON document, laid out for reading.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string_pretty(value).map_err(std::io::Error::from)?;
        self.line(&text)
    }

    /// Print a result as one JSON document in one line.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn json_line(&mut self, value: &impl Serialize) -> Result<(), CliError> {
        let text = serde_json::to_string(value).map_err(std::io::Error::from)?;
        self.line(&text)
    }

    /// Say something beside the result: a line, or `{"note": ...}`. That it cannot be said is no error.
    pub fn note(&mut self, line: &str) {
        if self.json_wanted() { self.say(&json!({ "note": line }).to_string()) } else { self.say(line) }
    }

    fn say(&mut self, line: &str) {
        let _ = writeln!(self.err, "{line}");
    }

    /// Say why a command failed, and give the exit code that follows.
    pub fn report(&mut self, error: &CliError) -> Exit {
        let exit = error.exit();
        if exit == Exit::Ok || matches!(error, CliError::Reported(_)) {
            return exit;
        }
        let line = if self.json_wanted() {
            error_document(error).to_string()
        } else {
            match error {
                CliError::Problem(problem) => Diagnostic::of_problem(problem).render(self.err_paint),
                CliError::Diagnostic(diagnostic) => diagnostic.render(self.err_paint),
                other => format!("{}: {other}", self.err_paint.error("error")),
            }
        };
        self.say(&line);
        exit
    }

    /// Print clap's help.
    pub(crate) fn help(&mut self, text: &clap::builder::StyledStr) -> Result<(), CliError> {
        let text = if self.out_paint.0 { text.ansi().to_string() } else { text.to_string() };
        self.raw(text.as_bytes())
    }

    /// Print clap's complaint.
    pub(crate) fn usage(&mut self, text: &clap::builder::StyledStr) {
        let text = if self.err_paint.0 { text.ansi().to_string() } else { text.to_string() };
        self.say(text.trim_end());
    }
}

/// An error as a JSON document: `{"error": {"code", "message", ...}}`, with what the server or the diagnostic knows.
#[must_use]
pub fn error_document(error: &CliError) -> serde_json::Value {
    let mut members = match error {
        CliError::Problem(problem) => serde_json::to_value(problem).unwrap_or_default(),
        CliError::Diagnostic(diagnostic) => serde_json::to_value(diagnostic).unwrap_or_default(),
        _ => json!({}),
    };
    members["code"] = json!(error.code());
    members["message"] = json!(error.to_string());
    json!({ "error": members })
}
