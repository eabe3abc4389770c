//! Headers as a list of pairs; values that are not UTF-8 keep their bytes as Latin-1.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(crate) fn serialize<S: Serializer>(map: &HeaderMap, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(map.iter().map(|(name, value)| {
        (name.as_str(), value.as_bytes().iter().map(|b| char::from(*b)).collect::<String>())
    }))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HeaderMap, D::Error> {
    let mut map = HeaderMap::new();
    for (name, value) in Vec::<(String, String)>::deserialize(deserializer)? {
        let bytes = value
            .chars()
            .map(|c| u8::try_from(c).map_err(D::Error::custom))
            .collect::<Result<Vec<_>, _>>()?;
        map.append(
            HeaderName::try_from(name).map_err(D::Error::custom)?,
            HeaderValue::from_bytes(&bytes).map_err(D::Error::custom)?,
        );
    }
    Ok(map)
}
