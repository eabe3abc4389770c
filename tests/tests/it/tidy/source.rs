//! The files of this repository, and which of their lines are tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Folders with nothing that was written here: builds, data of servers, what npm installs.
const SKIPPED: &[&str] = &["target", "data", "node_modules"];

/// A text file of the repository.
pub(super) struct Source {
    /// From the root of the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
}

/// The root of the repository.
pub(super) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file whose name ends in one of these extensions, in the order of their paths. Hidden files are left out.
pub(super) fn files(extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root(), &mut |path| {
        if path.extension().is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted)) {
            let relative = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{relative}: {error}"));
            found.push(Source { path: relative, text });
        }
    });
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "there is no {extensions:?} under {}", root().display());
    found
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name.starts_with('.') || SKIPPED.contains(&name) {
            continue;
        }
        if path.is_dir() { walk(&path, visit) } else { visit(&path) }
    }
}

/// The names of the files in a folder, without their extension; folders beside them are not counted.
pub(super) fn stems(folder: &str, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|found| found == extension));
    files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

impl Source {
    /// The lines with their numbers, comments left out.
    pub(super) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// As [`Source::code`], without the modules in it that are compiled for tests only.
    pub(super) fn product_code(&self) -> Vec<(usize, &str)> {
        let mut lines = Vec::new();
        let mut for_tests = false;
        let mut in_tests = false;
        for (number, line) in self.code() {
            if in_tests {
                in_tests = line != "}";
                continue;
            }
            in_tests = for_tests && module(line).is_some() && line.ends_with('{');
            for_tests = is_test_attribute(line) || (for_tests && line.starts_with("#["));
            if !in_tests {
                lines.push((number, line));
            }
        }
        lines
    }
}

/// The code below `folder` that is part of the product: without the files of modules that are compiled for tests only.
pub(super) fn product(folder: &str) -> Vec<Source> {
    let all: Vec<Source> =
        files(&["rs"]).into_iter().filter(|source| source.path.starts_with(folder)).collect();
    let tests: Vec<String> = all.iter().flat_map(test_modules).collect();
    let is_test = |path: &str| {
        tests.iter().any(|test| path == format!("{test}.rs") || path.starts_with(&format!("{test}/")))
    };
    all.into_iter().filter(|source| !is_test(&source.path)).collect()
}

/// Paths, without `.rs`, of the modules that this file declares for tests only.
fn test_modules(source: &Source) -> Vec<String> {
    let path = source.path.strip_suffix(".rs").unwrap();
    let folder = match path.rsplit_once('/') {
        Some((folder, "mod" | "lib" | "main")) => folder,
        _ => path,
    };
    let mut modules = Vec::new();
    let mut for_tests = false;
    for (_, line) in source.code() {
        if let (true, Some(name)) = (for_tests && line.ends_with(';'), module(line)) {
            modules.push(format!("{folder}/{name}"));
        }
        for_tests = is_test_attribute(line) || (for_tests && line.starts_with("#["));
    }
    modules
}

fn is_test_attribute(line: &str) -> bool {
    line == "#[cfg(test)]" || line.starts_with("#[cfg(any(test,")
}

/// The name of the module that a line at the left margin declares.
fn module(line: &str) -> Option<&str> {
    let rest = ["mod ", "pub mod ", "pub(crate) mod ", "pub(super) mod "]
        .iter()
        .find_map(|start| line.strip_prefix(start))?;
    Some(rest.trim_end_matches([' ', ';', '{']))
}

#[test]
fn modules_for_tests_are_no_product_code() {
    let text = "//! x\nmod a;\n#[cfg(test)]\nmod b;\nfn f() {}\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\nfn h() {}\n";
    let source = Source { path: "host/src/x.rs".to_owned(), text: text.to_owned() };
    assert_eq!(test_modules(&source), ["host/src/x/b"]);
    let lines: Vec<&str> = source.product_code().into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["mod a;", "#[cfg(test)]", "mod b;", "fn f() {}", "#[cfg(test)]", "fn h() {}"]);
}
