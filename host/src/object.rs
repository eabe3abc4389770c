//! JSON objects that have to be objects. Serde takes an array for a struct as well, its elements for the members in the order
//! of the fields; nothing that describes what we take says so, and the order is nobody's business.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

/// A struct that is read from an object only.
#[derive(Debug)]
pub struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OnlyMap(PhantomData))
    }
}

struct OnlyMap<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for OnlyMap<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// For `deserialize_with` of a member that is a struct.
///
/// # Errors
///
/// It is no object, or none of this kind.
pub fn one<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(one)| one)
}

/// For a member that is a struct, or null.
///
/// # Errors
///
/// Those of [`one`].
pub fn optional<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|Object(one)| one))
}

/// For a member that is a list of structs.
///
/// # Errors
///
/// Those of [`one`].
pub fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Object<T>>::deserialize(deserializer)?.into_iter().map(|Object(one)| one).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    struct Inner {
        text: Box<RawValue>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(deserialize_with = "one")]
        one: Inner,
        #[serde(default, deserialize_with = "optional")]
        optional: Option<Inner>,
        #[serde(default, deserialize_with = "list")]
        list: Vec<Inner>,
    }

    #[test]
    fn objects_are_read_as_they_are_written() {
        let text = r#"{"one":{"text":1.50},"optional":{"text":[ 1 ]},"list":[{"text":"a"},{"text":null}]}"#;
        let Object(outer) = serde_json::from_str::<Object<Outer>>(text).unwrap();
        assert_eq!((outer.one.text.get(), outer.optional.unwrap().text.get()), ("1.50", "[ 1 ]"));
        assert_eq!(outer.list.iter().map(|inner| inner.text.get()).collect::<Vec<_>>(), ["\"a\"", "null"]);
        let without = serde_json::from_str::<Object<Outer>>(r#"{"one":{"text":1},"optional":null}"#).unwrap();
        assert!(without.0.optional.is_none() && without.0.list.is_empty());
    }

    #[test]
    fn an_array_is_no_object_wherever_it_stands() {
        for text in [
            r#"[{"text":1}]"#,
            r#"{"one":[1]}"#,
            r#"{"one":{"text":1},"optional":[1]}"#,
            r#"{"one":{"text":1},"list":[[1]]}"#,
        ] {
            let error = serde_json::from_str::<Object<Outer>>(text).unwrap_err().to_string();
            assert!(error.starts_with("invalid type: sequence, expected an object"), "{text}: {error}");
        }
        let error = serde_json::from_str::<Object<Outer>>(r#"{"one":{"text":1},"two":1}"#).unwrap_err();
        assert!(error.to_string().contains("unknown field `two`"), "{error}");
    }
}
