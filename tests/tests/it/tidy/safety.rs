//! Safety: a server does not stop because of a value that nobody expected, and unsafe code is where it must be.

use std::collections::BTreeSet;

use super::assert_none;
use super::source::{files, product};

/// Lines with a panic that cannot happen: file, what the line contains, why it cannot.
const PANICS: &[(&str, &str, &str)] = &[];

#[test]
fn the_server_does_not_panic_on_purpose() {
    let mut violations = Vec::new();
    let mut unused: BTreeSet<_> = PANICS.iter().collect();
    for source in ["host/src/", "manager/src/"].iter().flat_map(|folder| product(folder)) {
        for (number, line) in source.product_code() {
            if ![".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!("]
                .iter()
                .any(|call| line.contains(call))
            {
                continue;
            }
            match PANICS.iter().find(|(path, part, _)| *path == source.path && line.contains(part)) {
                Some(excepted) => drop(unused.remove(excepted)),
                None => violations.push(format!("{}:{number}: {}", source.path, line.trim())),
            }
        }
    }
    assert_none("errors are returned, or cannot happen and are in the table PANICS", &violations);
    assert!(unused.is_empty(), "an exception is needed: {unused:?}");
}

/// Files with unsafe code, and what cannot be done without it.
const UNSAFE: &[(&str, &str)] = &[
    ("guest/src/memory.rs", "the allocator, and the view of the whole memory"),
    ("host/src/aot.rs", "machine code from a file"),
    ("host/src/clock.rs", "a file descriptor that the runtime watches"),
    ("host/src/budget.rs", "reserving address space to learn how much there is"),
];

/// Crates without the lint: all of their code is generated.
const GENERATED: &[&str] = &["sdk-wit"];

#[test]
fn unsafe_code_is_where_it_must_be_and_says_why_it_is_sound() {
    let mut violations = Vec::new();
    let mut unused: BTreeSet<&str> = UNSAFE.iter().map(|(path, _)| *path).collect();
    for source in files(&["rs"]) {
        // The rule itself is full of the word.
        if source.path.starts_with("tests/tests/it/tidy") {
            continue;
        }
        let lines: Vec<&str> = source.text.lines().collect();
        for (number, line) in source.code() {
            let blocks = ["unsafe {", "unsafe impl ", "unsafe fn ", "unsafe extern ", "allow(unsafe_code"];
            if !blocks.iter().any(|block| line.contains(block)) {
                continue;
            }
            unused.remove(source.path.as_str());
            if !UNSAFE.iter().any(|(path, _)| *path == source.path) {
                violations.push(format!("{}:{number}: {}", source.path, line.trim()));
            } else if line.contains("unsafe {") && !explained(&lines[..number - 1]) {
                violations.push(format!("{}:{number}: no SAFETY sentence", source.path));
            }
        }
    }
    assert_none(
        "unsafe code is in the files of the table UNSAFE, below a comment `// SAFETY: ...`",
        &violations,
    );
    assert_none("an exception is needed", &unused.into_iter().map(str::to_owned).collect::<Vec<_>>());
}

/// Whether the comment that ends the lines above, or stands a line further up, is about safety.
fn explained(above: &[&str]) -> bool {
    let mut lines = above
        .iter()
        .rev()
        .map(|line| line.trim())
        .skip_while(|line| !line.starts_with("//"))
        .take_while(|line| line.starts_with("//"));
    let near = above.iter().rev().take(2).any(|line| line.trim().starts_with("//"));
    near && lines.any(|line| line.starts_with("// SAFETY: "))
}

#[test]
fn every_crate_denies_unsafe_code() {
    let without = files(&["toml"]).into_iter().filter(|source| {
        let folder = source.path.strip_suffix("/Cargo.toml").unwrap_or_default();
        if folder.is_empty() || GENERATED.contains(&folder) {
            return false;
        }
        let inherits = source.text.contains("[lints]\nworkspace = true\n");
        !inherits
            && !source.text.contains("unsafe_code = \"deny\"")
            && !source.text.contains("unsafe_code = \"forbid\"")
    });
    assert_none(
        "a crate inherits the lints of the workspace, or denies unsafe_code itself",
        &without.map(|source| source.path).collect::<Vec<_>>(),
    );
    let workspace = files(&["toml"]).into_iter().find(|source| source.path == "Cargo.toml").unwrap();
    assert!(workspace.text.contains("\nunsafe_code = \"deny\"\n"), "the workspace denies unsafe_code");
}
