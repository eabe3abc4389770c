//! The page that shows how a service is added shows what is there.

use super::assert_none;
use super::source::root;

const PAGE: &str = "docs/ADDING-A-SERVICE.md";

/// Lines of a diff, each with the file that it is from.
fn added(page: &str) -> Vec<(&str, &str)> {
    let (mut found, mut file) = (Vec::new(), None);
    let mut in_diff = false;
    for line in page.lines() {
        match line {
            "```diff" => (in_diff, file) = (true, None),
            "```" => in_diff = false,
            _ if !in_diff => {}
            line => match line.strip_prefix("+++ ") {
                Some(path) => file = Some(path),
                None => found.extend(file.zip(line.strip_prefix('+'))),
            },
        }
    }
    found
}

#[test]
fn the_worked_diff_is_what_the_files_have() {
    let page = std::fs::read_to_string(root().join(PAGE)).unwrap();
    let lines = added(&page);
    assert!(lines.len() > 40, "{PAGE} has lost its diff");
    let missing = lines.iter().filter(|(file, line)| {
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        !line.is_empty() && !text.lines().any(|found| found.trim() == line.trim())
    });
    let missing: Vec<String> = missing.map(|(file, line)| format!("{file}: {line}")).collect();
    assert_none(&format!("{PAGE} shows lines of files as they are"), &missing);
}

#[test]
fn lines_of_a_diff_are_found() {
    let page =
        "text\n```diff\n+++ a/b.rs\n+one\n context\n+  two\n```\n+not in a diff\n```diff\n+no file\n```\n";
    assert_eq!(added(page), [("a/b.rs", "one"), ("a/b.rs", "  two")]);
}
