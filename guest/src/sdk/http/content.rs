//! What a request carries, whoever it goes to: headers, and a body of the media type of its kind.

use rhai::{Array, Blob, Dynamic, ImmutableString, Map};

use super::Result;
use crate::modules::json;
use crate::sdk::error;

/// Headers and body.
pub(crate) struct Content {
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
}

impl Content {
    /// From a body, and the options `headers`, `body` and `json`. Errors begin with the name of the module.
    pub(crate) fn of(module: &str, body: Option<&Dynamic>, options: &Map) -> Result<Self> {
        let mut headers =
            options.get("headers").map_or_else(|| Ok(Vec::new()), |value| headers(module, value))?;
        let (media_type, body) = content(module, body, options)?;
        if let Some(media_type) = media_type
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type"))
        {
            headers.push(("content-type".to_owned(), media_type.to_owned()));
        }
        Ok(Self { headers, body })
    }
}

/// The body with its media type, from the one place where it may be. `()` is no body.
fn content<'a>(
    module: &str,
    body: Option<&'a Dynamic>,
    options: &'a Map,
) -> Result<(Option<&'static str>, Option<Vec<u8>>)> {
    let given = |value: Option<&'a Dynamic>| value.filter(|value| !value.is_unit());
    let (body, body_option, json_option) = (given(body), given(options.get("body")), options.get("json"));
    if [body, body_option, json_option].into_iter().flatten().count() > 1 {
        return Err(error(format!("{module}: a request has one body: an argument, `body` or `json`")));
    }
    if let Some(value) = json_option {
        return Ok((Some("application/json"), Some(as_json(module, value)?)));
    }
    let Some(value) = body.or(body_option) else {
        return Ok((None, None));
    };
    Ok(if let Some(text) = value.read_lock::<ImmutableString>() {
        (Some("text/plain; charset=utf-8"), Some(text.as_bytes().to_vec()))
    } else if let Some(bytes) = value.read_lock::<Blob>() {
        (Some("application/octet-stream"), Some(bytes.clone()))
    } else {
        (Some("application/json"), Some(as_json(module, value)?))
    })
}

fn as_json(module: &str, value: &Dynamic) -> Result<Vec<u8>> {
    let text = json::to_text(value);
    text.map(String::into_bytes)
        .map_err(|reason| error(format!("{module}: the body cannot be sent as JSON: {reason}")))
}

/// An array gives its header once for each of its values, `()` leaves it out.
fn headers(module: &str, value: &Dynamic) -> Result<Vec<(String, String)>> {
    let Some(map) = value.read_lock::<Map>() else {
        return Err(error(format!("{module}: `headers` must be a map, not {}", value.type_name())));
    };
    let mut headers = Vec::new();
    for (name, value) in map.iter().filter(|(_, value)| !value.is_unit()) {
        match value.read_lock::<Array>() {
            Some(values) => headers.extend(values.iter().map(|value| (name.to_string(), value.to_string()))),
            None => headers.push((name.to_string(), value.to_string())),
        }
    }
    Ok(headers)
}
