//! The module `kv`: keys and values of the app, in the transaction of the call.

use picloud_sdk_wit::picloud::sdk::kv::{self, Error, Page, Value};
use rhai::{Array, Dynamic, Engine, EvalAltResult, ImmutableString, Map, Module};

use crate::arguments::{self, list_limit};
use crate::modules::json;
use crate::sdk::{add, error};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// How many entries `kv::list` gives when the script does not say.
const DEFAULT_LIMIT: i64 = 100;

/// The most entries of one `kv::list`.
const MAX_LIST: u32 = 1000;

/// No limit on keys is higher, in bytes.
const MAX_KEY: usize = 4096;

/// Register the module.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    add!(module, "get", |key: &str| get(key, Dynamic::UNIT));
    add!(module, "get", |key: &str, default: Dynamic| get(key, default));
    add!(module, "get_many", |keys: Array| get_many(&keys));
    add!(module, "set", |key: &str, value: Dynamic| set(key, &value, None));
    add!(module, "set", |key: &str, value: Dynamic, ttl_ms: i64| set(key, &value, Some(ttl_ms)));
    add!(module, "set_many", |entries: Map| set_many(&entries, None));
    add!(module, "set_many", |entries: Map, ttl_ms: i64| set_many(&entries, Some(ttl_ms)));
    add!(module, "delete", |key: &str| kv::delete(cut(key)).map_err(explain));
    add!(module, "exists", |key: &str| kv::exists(cut(key)).map_err(explain));
    add!(module, "incr", |key: &str| kv::incr(cut(key), 1).map_err(explain));
    add!(module, "incr", |key: &str, by: i64| kv::incr(cut(key), by).map_err(explain));
    add!(module, "compare_and_swap", |key: &str, expected: Dynamic, new: Dynamic| {
        compare_and_swap(key, &expected, &new)
    });
    add!(module, "list", |prefix: &str| list(prefix, DEFAULT_LIMIT, Dynamic::UNIT));
    add!(module, "list", |prefix: &str, limit: i64| list(prefix, limit, Dynamic::UNIT));
    add!(module, "list", |prefix: &str, limit: i64, cursor: Dynamic| list(prefix, limit, cursor));
    engine.register_static_module("kv", module.into());
}

/// As much of a key as the host needs.
fn cut(key: &str) -> &str {
    arguments::cut(key, MAX_KEY)
}

fn get(key: &str, default: Dynamic) -> Result<Dynamic> {
    kv::get(cut(key)).map_err(explain)?.map_or(Ok(default), from_value)
}

fn get_many(keys: &Array) -> Result<Array> {
    let values = kv::get_many(&to_keys(keys)?).map_err(explain)?;
    values.into_iter().map(|value| value.map_or(Ok(Dynamic::UNIT), from_value)).collect()
}

fn to_keys(keys: &Array) -> Result<Vec<String>> {
    let text = |key: &Dynamic| match key.read_lock::<ImmutableString>() {
        Some(key) => Ok(cut(&key).to_owned()),
        None => Err(error(format!("kv: a key must be a string, not {}", key.type_name()))),
    };
    keys.iter().map(text).collect()
}

fn set(key: &str, value: &Dynamic, ttl_ms: Option<i64>) -> Result<()> {
    kv::set(cut(key), &to_value(value)?, ttl(ttl_ms)?).map_err(explain)
}

fn set_many(entries: &Map, ttl_ms: Option<i64>) -> Result<()> {
    let entries = entries
        .iter()
        .map(|(key, value)| Ok((cut(key).to_owned(), to_value(value)?)))
        .collect::<Result<Vec<_>>>()?;
    kv::set_many(&entries, ttl(ttl_ms)?).map_err(explain)
}

/// `()` stands for no value on both sides.
fn compare_and_swap(key: &str, expected: &Dynamic, new: &Dynamic) -> Result<bool> {
    let value = |value: &Dynamic| if value.is_unit() { Ok(None) } else { to_value(value).map(Some) };
    kv::compare_and_swap(cut(key), value(expected)?.as_ref(), value(new)?.as_ref()).map_err(explain)
}

/// `#{ entries: [#{ key, value }, ...], cursor }`, where `cursor` is `()` on the last page.
fn list(prefix: &str, limit: i64, cursor: Dynamic) -> Result<Map> {
    let limit = list_limit("kv", limit, MAX_LIST)?;
    let cursor = if cursor.is_unit() {
        None
    } else {
        let text = cursor.into_immutable_string();
        Some(text.map_err(|kind| error(format!("kv: a cursor must be a string, not {kind}")))?)
    };
    let Page { entries, cursor } =
        kv::list(cut(prefix), limit, cursor.as_deref().map(cut)).map_err(explain)?;
    let entries = entries
        .into_iter()
        .map(|(key, value)| {
            Ok(Map::from([("key".into(), key.into()), ("value".into(), from_value(value)?)]).into())
        })
        .collect::<Result<Array>>()?;
    Ok(Map::from([
        ("entries".into(), entries.into()),
        ("cursor".into(), cursor.map_or(Dynamic::UNIT, Into::into)),
    ]))
}

fn ttl(ms: Option<i64>) -> Result<Option<u64>> {
    ms.map(|ms| u64::try_from(ms).ok().filter(|ms| *ms > 0).ok_or_else(|| explain(Error::TtlInvalid)))
        .transpose()
}

fn to_value(value: &Dynamic) -> Result<Value> {
    if let Some(blob) = value.read_lock::<rhai::Blob>() {
        return Ok(Value::Blob(blob.clone()));
    }
    json::to_text(value)
        .map(Value::Json)
        .map_err(|reason| error(format!("kv: the value cannot be stored: {reason}")))
}

fn from_value(value: Value) -> Result<Dynamic> {
    match value {
        Value::Json(text) => {
            json::from_text(&text).map_err(|reason| error(format!("kv: the value cannot be read: {reason}")))
        }
        Value::Blob(bytes) => Ok(Dynamic::from_blob(bytes)),
    }
}

/// The text that a script catches.
fn explain(reason: Error) -> Box<EvalAltResult> {
    error(match reason {
        Error::KeyInvalid(limit) => format!("kv: a key must have 1 to {limit} bytes"),
        Error::ValueTooLarge(limit) => format!("kv: a value may have at most {limit} bytes"),
        Error::ValueInvalid => "kv: the value is not JSON".to_owned(),
        Error::TooManyOperations(limit) => format!("kv: a call may do at most {limit} operations"),
        Error::TooManyBytes(limit) => format!("kv: a call may read at most {limit} bytes, and write as many"),
        Error::NotAnInteger => "kv: the value is not an integer, or would leave the range of one".to_owned(),
        Error::TtlInvalid => "kv: a time to live must be at least 1 millisecond".to_owned(),
        Error::CursorInvalid => "kv: the cursor did not come from list".to_owned(),
        Error::NoCall => {
            "kv: the top level runs at upload, where there are no keys; use kv in a handler".to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::testing::assert_told;

    fn array(script: &str) -> Array {
        Engine::new().eval(script).unwrap()
    }

    #[test]
    fn a_long_key_is_cut_between_characters_and_stays_too_long_also_among_many() {
        assert_eq!(to_keys(&array(r#"let a = "a"; let f = || a; [a, "ö"]"#)).unwrap(), ["a", "ö"]);
        for character in ["a", "é", "€", "😀"] {
            let long = character.repeat(10_000);
            let keys = to_keys(&vec![long.clone().into()]).unwrap();
            assert_eq!(keys, [cut(&long)], "{character}");
            assert!((4097..=4104).contains(&keys[0].len()), "{character}");
        }
    }

    #[test]
    fn every_error_of_the_host_has_a_text_with_its_limit() {
        for (reason, part) in [
            (Error::KeyInvalid(512), "1 to 512 bytes"),
            (Error::ValueTooLarge(262_144), "at most 262144 bytes"),
            (Error::ValueInvalid, "not JSON"),
            (Error::TooManyOperations(1000), "at most 1000 operations"),
            (Error::TooManyBytes(8_388_608), "at most 8388608 bytes"),
            (Error::NotAnInteger, "not an integer"),
            (Error::TtlInvalid, "at least 1 millisecond"),
            (Error::CursorInvalid, "did not come from list"),
            (Error::NoCall, "top level"),
        ] {
            assert_told("kv", *explain(reason), part);
        }
    }

    #[test]
    fn a_key_that_is_no_string_is_refused_before_the_host_is_asked() {
        for (keys, kind) in [("[1]", "i64"), (r#"["a", ()]"#, "()"), ("[blob(1)]", "blob")] {
            let refused = to_keys(&array(keys)).unwrap_err().to_string();
            assert!(refused.contains(&format!("kv: a key must be a string, not {kind}")), "{refused}");
        }
    }
}
