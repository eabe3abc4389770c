//! `--dry-run`: what an upload would change.

use std::path::Path;

use http::Method;
use picloud_host::call::SourceHash;
use serde_json::json;
use similar::TextDiff;

use super::upload::{active, describe};
use super::{Change, Done, read_source};
use crate::client::Api;
use crate::client::http::Call;
use crate::commands::{number, text};
use crate::exit::CliError;
use crate::output::text::{clean, clean_lines};
use crate::output::{Paint, Terminal};

/// How many lines are shown around a change.
const CONTEXT: usize = 3;

/// Compare a file with the active version of its script.
pub(super) async fn compare(
    name: &str,
    file: &Path,
    api: &Api,
    terminal: &Terminal,
) -> Result<Done, CliError> {
    let source = read_source(file)?;
    let paint = terminal.out_paint();
    let named = |error| describe(error, file, &source, terminal);
    let Some(script) = active(name, api).await.map_err(named)? else {
        let lines = source.lines().count();
        let text = format!("{}  {}  {lines} lines", paint.good("create   "), paint.bold(&clean(name)));
        return Ok(Done { change: Change::Created, text, more: json!({}) });
    };
    let version = number(&script, "version");
    if text(&script, "source_hash") == SourceHash::of(&source).to_hex() {
        let text = format!("{}  {}  version {version}", paint.dim("unchanged"), paint.bold(&clean(name)));
        return Ok(Done { change: Change::Unchanged, text, more: json!({}) });
    }
    let reply =
        api.send(Call::api(Method::GET, api.path(["scripts", name, "source"]))).await.map_err(named)?;
    let old = String::from_utf8_lossy(&reply.body);
    let diff = unified(&old, &source, &format!("{name} (version {version})"), &file.display().to_string());
    let head = format!("{}  {}  version {version}", paint.good("update   "), paint.bold(&clean(name)));
    let text = format!("{head}\n{}", painted(&diff, paint));
    Ok(Done { change: Change::Updated, text, more: json!({ "diff": diff }) })
}

fn unified(old: &str, new: &str, old_name: &str, new_name: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff().context_radius(CONTEXT).header(old_name, new_name).to_string()
}

/// The diff for people: in colours, and without control characters of anybody.
fn painted(diff: &str, paint: Paint) -> String {
    let line = |line: &str| {
        let line = clean_lines(line);
        match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] => paint.bold(&line),
            [b'+', ..] => paint.good(&line),
            [b'-', ..] => paint.error(&line),
            [b'@', ..] => paint.frame(&line),
            _ => line,
        }
    };
    diff.trim_end().split('\n').map(|text| line(text.trim_end_matches('\r'))).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_diff_shows_what_changes_and_what_is_around_it() {
        let diff = unified("a\nb\nc\n", "a\nB\nc\n", "x (version 1)", "x.rhai");
        assert_eq!(diff, "--- x (version 1)\n+++ x.rhai\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c\n");
        assert_eq!(painted(&diff, Paint(false)), diff.trim_end());
        let colours = painted(&diff, Paint(true));
        assert!(colours.contains("\u{1b}[31m") && colours.contains("\u{1b}[32m"), "{colours:?}");
        let hostile = unified("a\u{1b}[2J\n", "b\n", "x", "y");
        assert!(painted(&hostile, Paint(false)).contains("-a\\u{1b}[2J"));
    }
}
