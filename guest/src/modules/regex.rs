//! The Rhai module `regex`: regular expressions that take time linear in the text, without look-around and backreferences.
//!
//! Every function takes its pattern as text or as made by `regex::compile`, which top-level code can do once, at upload.
//! Offsets count characters, as Rhai's strings do. Classes such as `\w` know ASCII only: tables of Unicode would be in
//! every image.

use std::cell::RefCell;
use std::rc::Rc;

use regex_lite::{Captures, Match, Regex, RegexBuilder};
use rhai::{Array, Dynamic, INT, ImmutableString, Map, Module};

use super::{add, excerpt};

/// Length of a pattern in bytes. Its parsed form takes many times as much.
const MAX_PATTERN_BYTES: usize = 16 << 10;

/// Size of a compiled pattern in bytes, which bounds what `(a{100}){100}` may become, and the time for each character.
const MAX_COMPILED_BYTES: usize = 256 << 10;

/// Groups of a pattern. Searching needs memory for groups times states.
const MAX_GROUPS: usize = 100;

/// Patterns given as text that are kept compiled during a call.
const CACHED: usize = 8;

/// A compiled pattern, as scripts hold it.
#[derive(Clone)]
pub(super) struct Pattern(Rc<Regex>);

thread_local! {
    /// The patterns used last, newest first: a pattern inside a loop is compiled once.
    static CACHE: RefCell<Vec<(ImmutableString, Pattern)>> = const { RefCell::new(Vec::new()) };
}

/// Register a function twice: for a pattern as text, and for a compiled one, also as its method.
macro_rules! add_both {
    ($module:expr, $name:literal, $function:path $(, $arg:ident)*) => {
        add!($module, $name, |pattern: ImmutableString, text: ImmutableString $(, $arg: ImmutableString)*| {
            cached(&pattern).and_then(|pattern| $function(&pattern.0, &text $(, &$arg)*))
        });
        add!(method $module, $name, |pattern: &mut Pattern, text: ImmutableString $(, $arg: ImmutableString)*| {
            $function(&pattern.0, &text $(, &$arg)*)
        });
    };
}

pub(super) fn fill(module: &mut Module) {
    add!(module, "compile", |pattern: ImmutableString| compile(&pattern).map(Dynamic::from));
    add_both!(module, "is_match", is_match);
    add_both!(module, "find", find);
    add_both!(module, "find_all", find_all);
    add_both!(module, "captures", captures);
    add_both!(module, "captures_all", captures_all);
    add_both!(module, "replace", replace, replacement);
    add_both!(module, "replace_all", replace_all, replacement);
    add_both!(module, "split", split);
}

fn compile(pattern: &str) -> Result<Pattern, String> {
    let fail = |reason: &str| Err(format!("the pattern {} is not valid: {reason}", excerpt(pattern)));
    if pattern.len() > MAX_PATTERN_BYTES {
        return fail(&format!("it is longer than {MAX_PATTERN_BYTES} bytes"));
    }
    match RegexBuilder::new(pattern).size_limit(MAX_COMPILED_BYTES).build() {
        Ok(regex) if regex.captures_len() > MAX_GROUPS => {
            fail(&format!("it has more than {MAX_GROUPS} groups"))
        }
        Ok(regex) => Ok(Pattern(Rc::new(regex))),
        Err(error) => fail(&error.to_string()),
    }
}

fn cached(pattern: &ImmutableString) -> Result<Pattern, String> {
    CACHE.with_borrow_mut(|cache| {
        if let Some(at) = cache.iter().position(|(text, _)| text == pattern) {
            cache[..=at].rotate_right(1);
        } else {
            let compiled = compile(pattern)?;
            cache.truncate(CACHED - 1);
            cache.insert(0, (pattern.clone(), compiled));
        }
        Ok(cache[0].1.clone())
    })
}

fn is_match(regex: &Regex, text: &str) -> Result<bool, String> {
    Ok(regex.is_match(text))
}

fn find(regex: &Regex, text: &str) -> Result<Dynamic, String> {
    let found = regex.find(text).map(|found| Characters::of(text).describe(found));
    Ok(found.map_or(Dynamic::UNIT, Dynamic::from_map))
}

fn find_all(regex: &Regex, text: &str) -> Result<Array, String> {
    let mut characters = Characters::of(text);
    Ok(regex.find_iter(text).map(|found| characters.describe(found).into()).collect())
}

fn captures(regex: &Regex, text: &str) -> Result<Dynamic, String> {
    let found = regex.captures(text).and_then(|captures| groups(regex, &captures, &mut Characters::of(text)));
    Ok(found.map_or(Dynamic::UNIT, Dynamic::from_map))
}

fn captures_all(regex: &Regex, text: &str) -> Result<Array, String> {
    let mut characters = Characters::of(text);
    let found = regex.captures_iter(text).filter_map(|captures| groups(regex, &captures, &mut characters));
    Ok(found.map(Dynamic::from_map).collect())
}

fn replace(regex: &Regex, text: &str, replacement: &str) -> Result<String, String> {
    Ok(regex.replace(text, replacement).into_owned())
}

fn replace_all(regex: &Regex, text: &str, replacement: &str) -> Result<String, String> {
    Ok(regex.replace_all(text, replacement).into_owned())
}

fn split(regex: &Regex, text: &str) -> Result<Array, String> {
    Ok(regex.split(text).map(Into::into).collect())
}

/// A match with the text of its groups, in order and by name; `()` for a group that took no part.
fn groups(regex: &Regex, captures: &Captures<'_>, characters: &mut Characters<'_>) -> Option<Map> {
    let mut map = characters.describe(captures.get(0)?);
    let text = |group: Option<Match<'_>>| group.map_or(Dynamic::UNIT, |group| group.as_str().into());
    let named = regex.capture_names().flatten().map(|name| (name.into(), text(captures.name(name))));
    map.insert("named".into(), named.collect::<Map>().into());
    map.insert("groups".into(), captures.iter().map(text).collect::<Array>().into());
    Some(map)
}

/// Turns offsets in bytes into offsets in characters, walking forward through the text once for all matches.
struct Characters<'a> {
    text: &'a str,
    byte: usize,
    character: usize,
}

impl<'a> Characters<'a> {
    fn of(text: &'a str) -> Self {
        Self { text, byte: 0, character: 0 }
    }

    /// Matches must come in the order of the text.
    fn describe(&mut self, found: Match<'_>) -> Map {
        self.walk_to(found.start());
        let start = self.character;
        self.walk_to(found.end());
        Map::from([
            ("start".into(), Dynamic::from_int(start as INT)),
            ("end".into(), Dynamic::from_int(self.character as INT)),
            ("text".into(), found.as_str().into()),
        ])
    }

    fn walk_to(&mut self, byte: usize) {
        self.character += self.text[self.byte..byte].chars().count();
        self.byte = byte;
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::{check, message};

    #[test]
    fn a_match_is_found() {
        check(r#"regex::is_match("^a+$", "aaa") && !regex::is_match("^a+$", "aab")"#);
        check(
            r#"regex::find("b+", "abbc") == #{start: 1, end: 3, text: "bb"} && regex::find("x", "abc") == ()"#,
        );
    }

    #[test]
    fn offsets_count_characters() {
        check(
            r#"let t = "äö😀x"; let m = regex::find("x", t); m.start == 3 && m.end == 4 && t[m.start..m.end] == "x""#,
        );
        check(r#"regex::find_all("[ä😀]", "äö😀ä").map(|m| m.start) == [0, 2, 3]"#);
        check(r#"regex::find_all("", "ä😀").map(|m| m.end) == [0, 1, 2]"#);
    }

    #[test]
    fn groups_by_number_and_name() {
        check(
            r#"
            let m = regex::captures(`(?<year>\d{4})-(\d\d)(x)?`, "on 2026-01-31");
            m.start == 3 && m.end == 10 && m.text == "2026-01" &&
            m.groups == ["2026-01", "2026", "01", ()] && m.named == #{year: "2026"}
            "#,
        );
        check(r#"regex::captures("(a)", "b") == ()"#);
        check(
            r#"regex::captures_all("(?<k>[a-z])=([0-9])", "a=1,b=2").map(|m| m.named.k + m.groups[2]) == ["a1", "b2"]"#,
        );
    }

    #[test]
    fn text_is_replaced_and_split() {
        check(r#"regex::replace("a", "banana", "o") == "bonana""#);
        check(r#"regex::replace_all("(?<x>a)(n)", "banana", "${x}$2$$") == "ban$an$a""#);
        check(r#"regex::split(`\s*,\s*`, "a , b,c") == ["a", "b", "c"] && regex::split(",", "") == [""]"#);
    }

    #[test]
    fn a_compiled_pattern_has_the_functions_as_methods() {
        check(
            r#"
            const WORD = regex::compile("[a-z]+");
            WORD.is_match("ab") && WORD.find("1ab").text == "ab" && WORD.find_all("a b").len == 2 &&
            WORD.captures("ab").groups == ["ab"] && WORD.captures_all("a b").len == 2 &&
            WORD.replace("ab cd", "x") == "x cd" && WORD.replace_all("ab cd", "x") == "x x" &&
            WORD.split("1a2") == ["1", "2"] && regex::is_match(WORD, "ab") && type_of(WORD) == "Regex"
            "#,
        );
    }

    #[test]
    fn more_patterns_than_are_kept() {
        check(
            r#"
            let found = 0;
            for round in 0..3 { for i in 0..20 { if regex::is_match(`^${i}$`, `${i}`) { found += 1 } } }
            found == 60
            "#,
        );
    }

    #[test]
    fn patterns_that_are_not_valid_are_refused() {
        assert!(
            message(r#"regex::is_match("(", "")"#)
                .starts_with(r#"the pattern "(" is not valid: found open group"#)
        );
        assert!(message(r#"regex::compile("(?=a)")"#).contains("look-around is not supported"));
        assert!(
            message(r#"regex::compile(`\p{Greek}`)"#).contains("Unicode character classes are not supported")
        );
    }

    #[test]
    fn huge_patterns_are_refused() {
        let long = message(r#"let p = "a"; p.pad(20000, "b"); regex::compile(p)"#);
        assert!(long.ends_with("is not valid: it is longer than 16384 bytes"), "{long}");
        assert!(long.contains("bbb...\""), "{long}");
        assert!(message(r#"regex::compile("((a{100}){100}){100}")"#).contains("size limit"));
        assert!(
            message(r#"let p = ""; for i in 0..100 { p += "(a)" } regex::compile(p)"#)
                .contains("more than 100 groups")
        );
        assert!(
            message(r#"let p = ""; for i in 0..9000 { p += "(" } regex::compile(p)"#)
                .contains("too much nesting")
        );
    }

    #[test]
    fn what_breaks_backtracking_engines_is_quick() {
        check(r#"let t = ""; t.pad(5000, "a"); !regex::is_match("^(a+)+$", t + "!")"#);
    }
}
