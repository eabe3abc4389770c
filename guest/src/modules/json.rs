//! The Rhai module `json`, and the way between Rhai values and JSON text for everything else in the guest.
//!
//! Values are read and written in one pass, with nothing in between. Both ways nest [`MAX_DEPTH`] levels at most, so
//! neither hostile text nor a value that contains itself can exhaust the stack.

use std::borrow::Cow;
use std::fmt;

use rhai::{Array, Blob, Dynamic, FnPtr, ImmutableString, Map, Module};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap as _, Serializer};

use super::{add, kind};

/// How many arrays and maps may be inside one another. The parser's own limit, so what was written can be read.
const MAX_DEPTH: u32 = 127;

pub(super) fn fill(module: &mut Module) {
    add!(module, "parse", |text: ImmutableString| from_text(&text));
    add!(module, "stringify", |value: &mut Dynamic| to_text(value));
    add!(module, "stringify_pretty", |value: &mut Dynamic| {
        serde_json::to_string_pretty(&Node { value, room: MAX_DEPTH }).map_err(|error| error.to_string())
    });
}

/// A value as JSON text without white space: maps in the order of their keys, blobs as base64.
///
/// # Errors
///
/// A message for the user: NaN, infinity, function pointers and other opaque values have no JSON, and more than 127
/// levels of nesting are too deep.
pub fn to_text(value: &Dynamic) -> Result<String, String> {
    serde_json::to_string(&Node { value, room: MAX_DEPTH }).map_err(|error| error.to_string())
}

/// The value of JSON text. Whole numbers that fit are integers, all others floating-point numbers; of a repeated key the
/// last counts.
///
/// # Errors
///
/// A message for the user, with line and column, if it is not JSON or nests more than 127 levels deep.
pub fn from_text(text: &str) -> Result<Dynamic, String> {
    serde_json::from_str::<Value>(text).map(|value| value.0).map_err(|error| {
        let message = error.to_string();
        match message.strip_prefix("recursion limit exceeded") {
            Some(place) => format!("JSON is nested more than {MAX_DEPTH} levels deep{place}"),
            None => format!("not valid JSON: {message}"),
        }
    })
}

/// A value on its way to text.
struct Node<'a> {
    value: &'a Dynamic,
    /// How many levels there may be below.
    room: u32,
}

impl Node<'_> {
    fn child<'a, E: serde::ser::Error>(&self, value: &'a Dynamic) -> Result<Node<'a>, E> {
        match self.room.checked_sub(1) {
            Some(room) => Ok(Node { value, room }),
            None => Err(E::custom(TOO_DEEP)),
        }
    }
}

/// The same words for a value that contains itself, which looks just like a deep one.
const TOO_DEEP: &str = "the value is nested more than 127 levels deep, or contains itself";

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        let value = self.value;
        if let Some(text) = value.read_lock::<ImmutableString>() {
            return out.serialize_str(&text);
        }
        if let Ok(number) = value.as_int() {
            return out.serialize_i64(number);
        }
        if let Some(map) = value.read_lock::<Map>() {
            let mut entries = out.serialize_map(Some(map.len()))?;
            for (key, value) in map.iter() {
                entries.serialize_entry(key.as_str(), &self.child(value)?)?;
            }
            return entries.end();
        }
        if let Some(array) = value.read_lock::<Array>() {
            return serialize_array(self, &array, out);
        }
        if let Ok(truth) = value.as_bool() {
            return out.serialize_bool(truth);
        }
        if value.is_unit() {
            return out.serialize_unit();
        }
        serialize_rare(value, out)
    }
}

fn serialize_array<S: Serializer>(node: &Node<'_>, array: &Array, out: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeSeq as _;
    let mut elements = out.serialize_seq(Some(array.len()))?;
    for value in array {
        elements.serialize_element(&node.child(value)?)?;
    }
    elements.end()
}

fn serialize_rare<S: Serializer>(value: &Dynamic, out: S) -> Result<S::Ok, S::Error> {
    if let Ok(number) = value.as_float() {
        if !number.is_finite() {
            return Err(S::Error::custom(format_args!("{number} cannot be written as JSON")));
        }
        return out.serialize_f64(number);
    }
    if let Some(blob) = value.read_lock::<Blob>() {
        return out.serialize_str(&super::base64::to_text(&blob));
    }
    if let Ok(character) = value.as_char() {
        return out.serialize_char(character);
    }
    if value.is_locked() {
        return Err(S::Error::custom("a value cannot be written as JSON while it is being changed"));
    }
    let kind =
        if value.read_lock::<FnPtr>().is_some() { "a function pointer".to_owned() } else { kind(value) };
    Err(S::Error::custom(format_args!("{kind} cannot be written as JSON")))
}

/// A value on its way from text.
struct Value(Dynamic);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Value)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Dynamic;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Dynamic, E> {
        Ok(Dynamic::from_bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Dynamic, E> {
        Ok(Dynamic::from_int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Dynamic, E> {
        Ok(i64::try_from(value).map_or_else(|_| Dynamic::from_float(value as f64), Dynamic::from_int))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Dynamic, E> {
        Ok(Dynamic::from_float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Dynamic, E> {
        Ok(ImmutableString::from(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Dynamic, A::Error> {
        let mut array = Array::new();
        while let Some(Value(value)) = elements.next_element()? {
            array.push(value);
        }
        Ok(Dynamic::from_array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Dynamic, A::Error> {
        let mut map = Map::new();
        while let Some((Key(key), Value(value))) = entries.next_entry()? {
            map.insert(key.as_ref().into(), value);
        }
        Ok(Dynamic::from_map(map))
    }
}

/// The key of an entry: a part of the text itself where it has no escapes.
struct Key<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor).map(Key)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
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
            ["null", "true", "0", "-1", "1.5", "-0.0", "1e+300", "\"\"", "[]", "{}", "[1,[2.0,\"x\"],null]"]
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
            "[1,1.0,0.1,1e+21,-0.0]"
        );
    }
}
