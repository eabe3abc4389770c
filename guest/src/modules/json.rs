//! The Rhai module `json`, and the way between Rhai values and JSON text for everything else in the guest.
//!
//! Both ways take one pass, with nothing in between, and nest [`MAX_DEPTH`] levels at most, so neither hostile text nor a
//! value that contains itself can exhaust the stack.

mod read;
mod write;

use rhai::{Dynamic, ImmutableString, Module};

use super::add;

/// How many arrays and maps may be inside one another. The parser's own limit, so what was written can be read.
const MAX_DEPTH: u32 = 127;

pub(super) fn fill(module: &mut Module) {
    add!(module, "parse", |text: ImmutableString| from_text(&text));
    add!(module, "stringify", |value: &mut Dynamic| to_text(value));
    add!(module, "stringify_pretty", |value: &mut Dynamic| write::write(value, Some("  ")));
}

/// A value as JSON text without white space: maps in the order of their keys, blobs as base64.
///
/// # Errors
///
/// A message for the user: NaN, infinity, function pointers and other opaque values have no JSON, and more than 127
/// levels of nesting are too deep.
pub fn to_text(value: &Dynamic) -> Result<String, String> {
    write::write(value, None)
}

/// The value of JSON text. Whole numbers that fit are integers, all others floating-point numbers; of a repeated key the
/// last counts.
///
/// # Errors
///
/// A message for the user, with line and column, if it is not JSON or nests more than 127 levels deep.
pub fn from_text(text: &str) -> Result<Dynamic, String> {
    read::read(text)
}

#[cfg(test)]
mod tests {
    use rhai::{Dynamic, FLOAT, INT};

    use super::{MAX_DEPTH, from_text, to_text};
    use crate::modules::testing::{check, eval, message};

    #[track_caller]
    fn round_trip(text: &str) {
        assert_eq!(to_text(&from_text(text).unwrap()).unwrap(), text);
    }

    #[test]
    fn what_is_read_is_written_the_same() {
        for text in
            ["null", "true", "0", "-1", "1.5", "-0.0", "1e300", "\"\"", "[]", "{}", "[1,[2.0,\"x\"],null]"]
        {
            round_trip(text);
        }
        round_trip(r#"{"":1,"a":{"b":[]},"ä\n\"":"\\\u0000\u001f/😀"}"#);
        round_trip("9223372036854775807");
        round_trip("-9223372036854775808");
    }

    #[test]
    fn whole_numbers_that_fit_are_integers() {
        assert_eq!(from_text("9223372036854775807").unwrap().as_int(), Ok(INT::MAX));
        assert_eq!(from_text("9223372036854775808").unwrap().as_float(), Ok(9_223_372_036_854_775_808.0));
        assert_eq!(from_text("-9223372036854775809").unwrap().as_float(), Ok(-9_223_372_036_854_775_808.0));
        assert_eq!(from_text("1e2").unwrap().as_float(), Ok(100.0));
        assert_eq!(from_text("2.0").unwrap().as_float(), Ok(2.0));
    }

    #[test]
    fn the_last_of_repeated_keys_counts_and_keys_are_sorted() {
        check(r#"json::stringify(json::parse("{\"b\":1,\"a\":2,\"b\":3}")) == `{"a":2,"b":3}`"#);
    }

    #[test]
    fn pretty_text_is_indented() {
        check("json::stringify_pretty(#{a: [1, #{}]}) == \"{\\n  \\\"a\\\": [\\n    1,\\n    {}\\n  ]\\n}\"");
    }

    #[test]
    fn blobs_are_base64_and_characters_are_text() {
        check(r#"json::stringify([blob(3, 0), 'x', (), "a/b"]) == `["AAAA","x",null,"a/b"]`"#);
    }

    #[test]
    fn errors_have_line_and_column() {
        assert_eq!(
            message(r#"json::parse("[1,\n 2,,]")"#),
            "not valid JSON: expected value at line 2 column 4"
        );
        assert_eq!(
            message(r#"json::parse("")"#),
            "not valid JSON: EOF while parsing a value at line 1 column 0"
        );
        for text in
            ["{", "[1", "nul", "1 2", "{'a':1}", "{1:2}", "\"\\ud800\"", "\"\n\"", "01", "1e999", "NaN"]
        {
            assert!(from_text(text).unwrap_err().starts_with("not valid JSON: "), "{text}");
        }
    }

    #[test]
    fn deep_text_is_refused_and_the_deepest_can_be_written() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        round_trip(&nested(MAX_DEPTH as usize));
        let error = from_text(&nested(MAX_DEPTH as usize + 1)).unwrap_err();
        assert_eq!(error, "JSON is nested more than 127 levels deep at line 1 column 128");
        assert!(from_text(&"{\"a\":".repeat(1_000_000)).is_err());
    }

    #[test]
    fn deep_values_are_refused() {
        let mut value = Dynamic::UNIT;
        for _ in 0..=MAX_DEPTH {
            value = Dynamic::from_array(vec![value]);
        }
        assert!(to_text(&value).unwrap_err().contains("more than 127 levels"));
        let mut map = rhai::Map::new();
        map.insert("a".into(), value);
        assert!(to_text(&map.into()).unwrap_err().contains("more than 127 levels"));
    }

    #[test]
    fn a_value_that_contains_itself_is_refused() {
        let mut value = Dynamic::from_array(vec![]).into_shared();
        for _ in 0..2 {
            let itself = value.clone();
            value.write_lock::<rhai::Array>().unwrap().push(itself);
        }
        assert!(to_text(&value).unwrap_err().contains("contains itself"));
    }

    #[test]
    fn a_shared_value_is_written_like_any_other() {
        check(
            r#"let a = [1]; let f = || a.push(2); f.call(); json::stringify([a, #{b: a}]) == `[[1,2],{"b":[1,2]}]`"#,
        );
    }

    #[test]
    fn a_value_that_is_being_changed_is_an_error_and_no_crash() {
        let script = "let a = [1]; a.for_each(|| a.push(json::stringify([a])))";
        assert!(crate::modules::testing::engine().eval::<Dynamic>(script).is_err());
    }

    #[test]
    fn what_has_no_json_is_refused() {
        assert_eq!(to_text(&FLOAT::NAN.into()).unwrap_err(), "NaN cannot be written as JSON");
        assert_eq!(to_text(&FLOAT::NEG_INFINITY.into()).unwrap_err(), "-inf cannot be written as JSON");
        assert_eq!(message("json::stringify([|x| x])"), "a function pointer cannot be written as JSON");
        assert!(message(r#"json::stringify(regex::compile("a"))"#).ends_with("cannot be written as JSON"));
    }

    #[test]
    fn numbers_stay_what_they_are() {
        assert_eq!(
            eval("json::stringify([1, 1.0, 0.1, 1e21, -0.0])").into_string().unwrap(),
            "[1,1.0,0.1,1e21,-0.0]"
        );
    }
}
