//! Sizes: what does not fit on a few screens is not understood.

use super::assert_none;
use super::source::files;

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;

#[test]
fn files_are_short() {
    let long = files(&["rs", "ts", "svelte"]).into_iter().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > MAX_FILE_LINES).then(|| format!("{}: {lines} lines", source.path))
    });
    assert_none(&format!("a file has {MAX_FILE_LINES} lines at most"), &long.collect::<Vec<_>>());
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent = files(&["rs"]).into_iter().filter(|source| {
        // `//! x` would pass for a sentence; nobody is helped by it.
        !source.text.lines().next().is_some_and(|line| line.starts_with("//! ") && line.len() > 12)
    });
    assert_none(
        "the first line is `//!` and what the file is for",
        &silent.map(|source| source.path).collect::<Vec<_>>(),
    );
}

#[test]
fn functions_are_short() {
    let mut long = Vec::new();
    for source in files(&["rs"]) {
        for (name, line, length) in functions(&source.text) {
            if length > MAX_FUNCTION_LINES {
                long.push(format!("{}:{line}: {name} has {length} lines", source.path));
            }
        }
    }
    assert_none(&format!("a function has {MAX_FUNCTION_LINES} lines at most"), &long);
}

/// Name, first line and length of each function. The code is formatted, so a function that has a body ends at the first
/// line that closes a brace in the column in which it starts.
fn functions(text: &str) -> Vec<(&str, usize, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut functions = Vec::new();
    for (first, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = &line[..line.len() - line.trim_start().len()];
        let ends = |line: &&str| {
            let rest = line.strip_prefix(indent).unwrap_or(" ");
            rest.starts_with('}') || (rest.starts_with(')') && rest.ends_with(';'))
        };
        let one_line = line.ends_with(['}', ';']);
        let length =
            if one_line { 1 } else { lines[first..].iter().position(ends).map_or(1, |last| last + 1) };
        functions.push((name, first + 1, length));
    }
    functions
}

/// The name of the function that starts on a line.
fn function_name(line: &str) -> Option<&str> {
    const BEFORE: &[&str] =
        &["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern", "\"C\""];
    let (before, after) = line.trim_start().split_once("fn ")?;
    let is_name = |text: &str| text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    (before.split_whitespace().all(|word| BEFORE.contains(&word)) && is_name(after))
        .then(|| after.split(['(', '<']).next().unwrap_or(after))
}

#[test]
fn functions_are_measured() {
    let text = "\
trait A {
    fn declared(
        a: u8,
    );
    fn short(&self) -> u8;
}
pub(crate) async fn long<T>(a: T) {
    if a {
        b();
    }
}
fn one() {}
// fn no() {
";
    assert_eq!(functions(text), [("declared", 2, 3), ("short", 5, 1), ("long", 7, 5), ("one", 12, 1)]);
}
