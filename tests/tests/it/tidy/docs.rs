//! Documentation: every error code has a page, and no link leads nowhere.

use std::collections::BTreeSet;

use picloud_host::problem::Code;

use super::assert_none;
use super::source::{files, root, stems};

#[test]
fn every_code_has_a_page_and_every_page_a_code() {
    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(codes.len(), Code::ALL.len(), "no two codes have the same name");
    let mut pages = stems("docs/errors", "md");
    assert!(pages.remove("README"), "docs/errors has an overview");
    assert_eq!(pages, codes);
}

#[test]
fn the_overview_lists_every_code_as_it_is() {
    let overview = std::fs::read_to_string(root().join("docs/errors/README.md")).unwrap();
    let rows = overview.lines().filter(|line| line.starts_with("| ["));
    let listed: Vec<String> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            format!("{} | {} | {}", cells[1], cells[2], cells[5])
        })
        .collect();
    let expected: Vec<String> = Code::ALL
        .iter()
        .map(|code| format!("[{0}]({0}.md) | {1} | {2}", code.as_str(), code.status().as_u16(), code.title()))
        .collect();
    let missing = expected.iter().filter(|row| !listed.contains(row)).map(|row| format!("missing: {row}"));
    let stale = listed.iter().filter(|row| !expected.contains(row)).map(|row| format!("stale: {row}"));
    assert_none(
        "docs/errors/README.md has code, status and title of each code",
        &missing.chain(stale).collect::<Vec<_>>(),
    );
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in files(&["md"]) {
        let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for link in links(&page.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target =
                if path.is_empty() { root().join(&page.path) } else { root().join(folder).join(path) };
            if !target.exists() {
                broken.push(format!("{}: {link}: there is no such file", page.path));
            } else if !anchor.is_empty()
                && !anchors(&std::fs::read_to_string(&target).unwrap()).contains(anchor)
            {
                broken.push(format!("{}: {link}: there is no such heading", page.path));
            }
        }
    }
    assert_none("a link leads to a file or a heading that exists", &broken);
}

/// The lines of a page that are not code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        !in_code && !fence
    })
}

/// The targets of `[text](target)` and `[name]: target`.
fn links(text: &str) -> Vec<&str> {
    let mut links = Vec::new();
    for line in prose(text) {
        if let Some((name, target)) = line.split_once("]: ")
            && name.starts_with('[')
        {
            links.push(target.trim());
        }
        for part in line.split("](").skip(1) {
            let before = &line[..part.as_ptr() as usize - line.as_ptr() as usize];
            // Between backticks it is code.
            if before.matches('`').count() % 2 == 0
                && let Some((target, _)) = part.split_once(')')
            {
                links.push(target.split(' ').next().unwrap_or(target));
            }
        }
    }
    links
}

/// The anchors of a page's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let slug = |heading: &str| -> String {
        let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
        text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
    };
    headings.map(slug).collect()
}

#[test]
fn links_and_anchors_are_found() {
    let page =
        "# The `kv` module\nSee [a](b.md#c), [d](<e>) and `[no](code)`.\n```\n[no](fence)\n```\n[f]: g.md\n";
    assert_eq!(links(page), ["b.md#c", "<e>", "g.md"]);
    assert!(anchors(page).contains("the-kv-module"));
}
