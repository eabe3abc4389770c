//! Documentation: every error code has a page, limits are what they are, no link leads nowhere, no section is empty.

use std::collections::BTreeSet;

use picloud_host::event::EventKind;
use picloud_host::limits::{LIMITS, LimitRow};
use picloud_host::problem::Code;
use picloud_host::quota::QUOTAS;

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
fn the_page_for_scripts_lists_every_limit_as_it_is() {
    let listed: Vec<_> = limit_rows()
        .into_iter()
        .map(|[name, default, maximum]| (name, amount(&default), amount(&maximum)))
        .collect();
    let expected: Vec<_> = LIMITS
        .iter()
        .map(|limit| {
            let counted = |number| Some((number, limit.unit.to_owned()));
            (format!("`{}`", limit.name), counted(limit.default), counted(limit.maximum))
        })
        .collect();
    assert_eq!(listed, expected, "docs/SCRIPTING.md has name, default and maximum of each limit");
}

#[test]
fn the_page_of_a_limit_names_its_default() {
    // Of the limits of a call, those that the top level of an upload can reach.
    let limits_of_uploads = ["fuel", "memory_bytes", "deadline_ms"];
    let mut wrong = Vec::new();
    for [name, default, _] in limit_rows() {
        let name = name.trim_matches('`');
        let limit = LIMITS.iter().find(|limit| limit.name == name).unwrap();
        let of_upload = limits_of_uploads.contains(&name).then_some("top-level-limit");
        for code in code_beyond(limit).into_iter().chain(of_upload) {
            let page = std::fs::read_to_string(root().join(format!("docs/errors/{code}.md"))).unwrap();
            let words = page.split_whitespace().collect::<Vec<_>>().join(" ");
            if !words.contains(&default) {
                wrong.push(format!("docs/errors/{code}.md: {default}, the default of {name}, is not there"));
            }
        }
    }
    assert_none("the page of a limit names its default", &wrong);
}

#[test]
fn the_page_for_operators_lists_every_quota_as_it_is() {
    let page = std::fs::read_to_string(root().join("docs/CONFIG.md")).unwrap();
    let (_, section) = page.split_once("\n## Quotas\n").unwrap();
    let rows =
        section.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    let listed: Vec<_> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            (cells[1].trim_matches('`'), amount_of(cells[2]), amount_of(cells[3]))
        })
        .collect();
    let counted = |value: u64, unit: &str| Some((value, unit.to_owned()));
    let expected: Vec<_> = QUOTAS
        .iter()
        .map(|row| {
            let default = row.default.and_then(|default| counted(default, row.unit));
            (row.name, default, counted(row.maximum, row.unit))
        })
        .collect();
    assert_eq!(listed, expected, "docs/CONFIG.md has name, default and maximum of each quota");
}

/// As [`amount`]; nothing for `none`.
fn amount_of(cell: &str) -> Option<(u64, String)> {
    if cell == "none" { None } else { amount(cell) }
}

/// Name, default and maximum of each limit, as docs/SCRIPTING.md has them.
fn limit_rows() -> Vec<[String; 3]> {
    let page = std::fs::read_to_string(root().join("docs/SCRIPTING.md")).unwrap();
    let (_, section) = page.split_once("\n## Limits\n").unwrap();
    let rows =
        section.lines().take_while(|line| !line.starts_with("## ")).filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1).map(|cell| cell.trim().to_owned());
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    })
    .collect()
}

/// The code of what is over a limit, if it is an error that ends a call or refuses a request.
fn code_beyond(limit: &LimitRow) -> Option<&'static str> {
    let (_, code) = limit.doc.split_once("Beyond it: `")?;
    Some(code.split_once('`')?.0)
}

/// A number and what it counts: `64 MiB` are 67108864 bytes, `10 000 lines` are 10000 lines.
fn amount(cell: &str) -> Option<(u64, String)> {
    let (number, word) = cell.split_at(cell.find(char::is_alphabetic)?);
    let number: u64 = number.replace(' ', "").parse().ok()?;
    let (factor, unit) = match word {
        "KiB" => (1 << 10, "bytes"),
        "MiB" => (1 << 20, "bytes"),
        "GiB" => (1 << 30, "bytes"),
        "s" => (1000, "ms"),
        "min" => (60 * 1000, "ms"),
        "h" => (60 * 60 * 1000, "ms"),
        unit => (1, unit),
    };
    Some((number * factor, unit.to_owned()))
}

#[test]
fn amounts_are_read() {
    assert_eq!(amount("64 MiB"), Some((64 << 20, "bytes".to_owned())));
    assert_eq!(amount("1 000 000 units"), Some((1_000_000, "units".to_owned())));
    assert_eq!(amount("15 min"), Some((900_000, "ms".to_owned())));
    assert_eq!(amount("as many as fit"), None);
}

/// No script runs for them.
const NOT_FOR_SCRIPTS: &[EventKind] = &[EventKind::Publish, EventKind::Callback];

/// And an `event` is only what `picloud run` makes.
const NEITHER_RECORDED: &[EventKind] = &[EventKind::Publish, EventKind::Callback, EventKind::Event];

/// Where kinds of events are listed for readers: the file, what stands before the list, and the kinds that are none there.
/// An `event` is never stored.
const LISTS_OF_KINDS: &[(&str, &str, &[EventKind])] = &[
    ("docs/SCRIPTING.md", "#{id, kind, script, due_ms, attempt}`, the next first. ", &[EventKind::Event]),
    ("sdk-wit/wit/triggers.wit", "record waiting {\n    /// UUIDv7.\n    id: string,\n", &[EventKind::Event]),
    ("manager/src/api/events.rs", "struct Event {\n    /// UUIDv7.\n    id: Uuid,\n", &[EventKind::Event]),
    ("manager/src/api/events.rs", "/// Only those of this kind: ", &[EventKind::Event]),
    ("cli/src/args/event.rs", "/// Only those of this kind: ", &[EventKind::Event]),
    ("cli/src/args/executions.rs", "/// Only those that this made run: ", NOT_FOR_SCRIPTS),
    ("manager/src/api/executions.rs", "/// What made it run: ", NEITHER_RECORDED),
    ("manager/src/api/executions.rs", "/// Only those that this made run: ", NOT_FOR_SCRIPTS),
];

#[test]
fn lists_of_kinds_of_events_name_all_of_them() {
    let mut missing = Vec::new();
    for (path, before, none) in LISTS_OF_KINDS {
        let text = std::fs::read_to_string(root().join(path)).unwrap();
        let (_, list) = text.split_once(before).unwrap_or_else(|| panic!("{path} has no {before:?}"));
        let words = words_of_paragraph(list);
        let kinds = EventKind::ALL.iter().filter(|kind| !none.contains(kind));
        let unnamed = kinds.map(|kind| kind.as_str()).filter(|kind| !words.contains(kind));
        missing.extend(unnamed.map(|kind| format!("{path}: {kind} is not there: {before:?}")));
    }
    assert_none("a list of the kinds of events names all of them", &missing);
}

/// The words up to the end of a line, or of the comment that it is in.
fn words_of_paragraph(text: &str) -> BTreeSet<&str> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let rest = lines.take_while(|line| line.trim_start().starts_with("///"));
    let words = [first].into_iter().chain(rest).flat_map(|line| line.split(|c: char| !c.is_alphanumeric()));
    words.filter(|word| !word.is_empty()).collect()
}

#[test]
fn words_of_a_paragraph_end_with_it() {
    let words = |text| words_of_paragraph(text).into_iter().collect::<Vec<_>>();
    assert_eq!(words("`kv`, mqtt\n    /// or `http`.\n    kind: String\n"), ["http", "kv", "mqtt", "or"]);
    assert_eq!(words("`kv` |\n| next |\n"), ["kv"]);
}

#[test]
fn every_section_has_a_name_of_its_own_and_a_text() {
    let mut wrong = Vec::new();
    for page in files(&["md"]) {
        let sections = sections(&page.text);
        let mut names = BTreeSet::new();
        for (index, section) in sections.iter().enumerate() {
            if !names.insert(section.name) {
                wrong.push(format!("{}: {} is there twice", page.path, section.name));
            }
            // A section may begin with a smaller one.
            let holds_next = sections.get(index + 1).is_some_and(|next| next.level > section.level);
            if !section.has_text && !holds_next {
                wrong.push(format!("{}: {} is empty", page.path, section.name));
            }
        }
    }
    assert_none("a section has a name of its own and a text", &wrong);
}

#[test]
fn contents_name_every_section_in_its_order() {
    for page in files(&["md"]) {
        let Some((_, contents)) = page.text.split_once("\nContents: ") else { continue };
        let contents = contents.split("\n\n").next().unwrap_or_default();
        let named: Vec<String> =
            links(contents).iter().map(|link| link.trim_start_matches('#').into()).collect();
        let sections = sections(&page.text).into_iter().filter(|section| section.level == 2);
        assert_eq!(named, sections.map(|section| anchor(section.name)).collect::<Vec<_>>(), "{}", page.path);
    }
}

/// A heading and whether anything follows it before the next one.
#[derive(Debug, PartialEq)]
struct Section<'a> {
    level: usize,
    name: &'a str,
    has_text: bool,
}

fn sections(text: &str) -> Vec<Section<'_>> {
    let (mut sections, mut in_code) = (Vec::<Section<'_>>::new(), false);
    for line in text.lines() {
        in_code ^= line.trim_start().starts_with("```");
        let name = line.trim_start_matches('#');
        let level = line.len() - name.len();
        if level > 0 && !in_code {
            sections.push(Section { level, name: name.trim(), has_text: false });
        } else if let Some(section) = sections.last_mut() {
            section.has_text |= !line.trim().is_empty();
        }
    }
    sections
}

#[test]
fn sections_are_found() {
    let page = "# Page\n\n## First\n```sh\n# no heading\n```\n## Second\n\n";
    let section = |level, name, has_text| Section { level, name, has_text };
    assert_eq!(
        sections(page),
        [section(1, "Page", false), section(2, "First", true), section(2, "Second", false)]
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

#[test]
fn the_table_of_places_names_files_that_exist() {
    let page = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, section) = page.split_once("\n## I want to change ...\n").unwrap();
    let places = section
        .lines()
        .take_while(|line| !line.starts_with("## "))
        .filter_map(|row| row.split('|').nth(2))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .filter(|place| place.contains('/'))
        // These stand for any name.
        .filter(|place| !["NAME", "NOUN", "CODE"].iter().any(|any| place.contains(any)));
    let missing = places.filter(|place| !root().join(place).exists()).map(str::to_owned);
    assert_none("README.md names files that exist", &missing.collect::<Vec<_>>());
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
    prose(text).filter(|line| line.starts_with('#')).map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
    text.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect()
}

#[test]
fn links_and_anchors_are_found() {
    let page =
        "# The `kv` module\nSee [a](b.md#c), [d](<e>) and `[no](code)`.\n```\n[no](fence)\n```\n[f]: g.md\n";
    assert_eq!(links(page), ["b.md#c", "<e>", "g.md"]);
    assert!(anchors(page).contains("the-kv-module"));
}
