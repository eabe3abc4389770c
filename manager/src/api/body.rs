//! The bodies of requests, read under a limit of size and of time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts as _, Request};
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use picloud_host::limits::Limits;
use picloud_host::object::Object;
use picloud_host::problem::{Code, Problem};
use serde::de::DeserializeOwned;

use crate::api::State;
use crate::api::path::AppPath;

/// How long a body may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Media types under which sources come. Without any they come, too: `curl -T` sends none.
const SOURCE_TYPES: [&str; 3] = ["text/plain", "application/rhai", "text/x-rhai"];

/// The source of a script: a body of text.
#[derive(Debug)]
pub(crate) struct Source(pub(crate) String);

impl FromRequest<State> for Source {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        check_media_type(request.headers())?;
        if request.headers().contains_key(header::CONTENT_RANGE) {
            // What `curl -C -` sends: a part of the source must not replace the whole.
            return Err(
                Problem::new(Code::RequestInvalid).detail("Send the whole source, without Content-Range.")
            );
        }
        let (mut parts, body) = request.into_parts();
        let limits = app_limits(&mut parts, state).await?;
        let bytes = read(&parts.headers, body, limits.source_bytes, Code::SourceTooLarge).await?;
        String::from_utf8(bytes.into()).map(Self).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Problem::new(Code::SourceInvalid).detail(format!("The byte at offset {at} is not UTF-8."))
        })
    }
}

/// The limits of the app in the path.
///
/// # Errors
///
/// Those of [`AppPath`].
pub(crate) async fn app_limits(parts: &mut Parts, state: &State) -> Result<Limits, Problem> {
    Ok(state.limits_of(&AppPath::from_request_parts(parts, state).await?.app))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |detail: String| Err(Problem::new(Code::MediaTypeUnsupported).detail(detail));
    refuse_encoded(headers, "source")?;
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let value = value.to_str().unwrap_or_default().to_ascii_lowercase();
    let mut parts = value.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or_default();
    if !SOURCE_TYPES.contains(&media_type) {
        return refused(format!("Send the source as one of {}.", SOURCE_TYPES.join(", ")));
    }
    let charset = parts.find_map(|parameter| parameter.strip_prefix("charset="));
    match charset.map(|charset| charset.trim_matches('"')) {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(()),
        Some(_) => refused("Send the source in UTF-8.".into()),
    }
}

/// The media type that a body is said to have, in lower case and without parameters; empty when it is not said.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Refuse a body that is not as `what` it is: compressed, for one.
///
/// # Errors
///
/// `media-type-unsupported`.
pub(crate) fn refuse_encoded(headers: &HeaderMap, what: &str) -> Result<(), Problem> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let detail = format!("Send the {what} without a Content-Encoding.");
        return Err(Problem::new(Code::MediaTypeUnsupported).detail(detail));
    }
    Ok(())
}

/// Read a body that can have one media type only. `what` it is is said when it has another.
///
/// # Errors
///
/// `media-type-unsupported`, and those of [`read`] with `body-too-large`.
pub(crate) async fn read_as(
    wanted: &str,
    what: &str,
    headers: &HeaderMap,
    body: Body,
    limit: u64,
) -> Result<Bytes, Problem> {
    check_type(wanted, what, headers)?;
    read(headers, body, limit, Code::BodyTooLarge).await
}

/// Refuse a body that is not said to be JSON. `what` it is is said then.
///
/// # Errors
///
/// `media-type-unsupported`.
pub(crate) fn check_json(headers: &HeaderMap, what: &str) -> Result<(), Problem> {
    check_type("application/json", what, headers)
}

/// Refuse a body that is not said to have a media type. `what` it is is said then.
///
/// # Errors
///
/// `media-type-unsupported`.
pub(crate) fn check_type(wanted: &str, what: &str, headers: &HeaderMap) -> Result<(), Problem> {
    refuse_encoded(headers, what)?;
    if media_type(headers) != wanted {
        let detail = format!("Send the {what} as {wanted}.");
        return Err(Problem::new(Code::MediaTypeUnsupported).detail(detail));
    }
    Ok(())
}

/// Read a body of at most `limit` bytes. One that is longer is not read to its end and is `too_large`.
///
/// # Errors
///
/// `too_large`, `body-incomplete`, `body-timeout`.
pub(crate) async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: u64,
    too_large: Code,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(too_large).detail(format!("More than {limit} bytes."));
    let announced =
        headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let whole = async {
        let mut body = body;
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::new(Code::BodyIncomplete))?;
            let Some(data) = frame.data_ref() else { continue };
            if (bytes.len() as u64).saturating_add(data.len() as u64) > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(data);
        }
        Ok(bytes.freeze())
    };
    tokio::time::timeout(TIMEOUT, whole).await.unwrap_or_else(|_| Err(Problem::new(Code::BodyTimeout)))
}

/// What a JSON object says. An array is refused, and in the place of a struct within it as well, if its field says so: [`object`].
///
/// [`object`]: picloud_host::object
///
/// # Errors
///
/// It is no object, or none of this kind.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes).map(|Object(object)| object)
}

/// The JSON text of a body, without white space between its tokens. Numbers and the order of keys stay as they were
/// written.
///
/// # Errors
///
/// `code`, when it is not JSON.
pub(crate) fn json(bytes: &[u8], code: Code) -> Result<String, Problem> {
    let invalid = |detail: String| Problem::new(code).detail(detail);
    let text = str::from_utf8(bytes)
        .map_err(|error| invalid(format!("The byte at offset {} is not UTF-8.", error.valid_up_to())))?;
    // A whole value is built, because that refuses what no reader could take: numbers out of range, halves of
    // surrogate pairs, hundreds of nested arrays.
    serde_json::from_str::<serde_json::Value>(text).map_err(|error| invalid(error.to_string()))?;
    let (mut in_text, mut escaped) = (false, false);
    let compact = text.chars().filter(|c| {
        let keep = in_text || !c.is_ascii_whitespace();
        // Valid JSON has backslashes only in texts.
        let quote = *c == '"' && !escaped;
        in_text ^= quote;
        escaped = *c == '\\' && !escaped;
        keep
    });
    Ok(compact.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_stored_compact_and_otherwise_as_written() {
        let cases = [
            (" 1 ", "1"),
            ("\t{ \"b\" : 1.50 ,\r\n \"a\" : [ ] }\n", "{\"b\":1.50,\"a\":[]}"),
            (r#" " \" \\" "#, r#"" \" \\""#),
            (r#"[ "\\\\" , " , " ]"#, r#"["\\\\"," , "]"#),
            ("12345678901234567890123", "12345678901234567890123"),
            ("\"\u{a0} \u{10ffff}\"", "\"\u{a0} \u{10ffff}\""),
        ];
        for (given, stored) in cases {
            assert_eq!(json(given.as_bytes(), Code::ConfigInvalid).unwrap(), stored);
        }
    }

    #[test]
    fn what_no_reader_could_take_is_refused() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        let cases = [
            &b""[..],
            b" ",
            b"{",
            b"1 2",
            b"nul",
            b"NaN",
            b"1e999",
            b"'a'",
            b"\"\\ud800\"",
            b"\xff",
            b"\"\xff\"",
            b"\"\x00\"",
            b"\xef\xbb\xbf1",
            deep.as_bytes(),
        ];
        for given in cases {
            assert_eq!(
                json(given, Code::KvValueInvalid).unwrap_err().code(),
                Code::KvValueInvalid,
                "{}",
                String::from_utf8_lossy(given)
            );
        }
    }
}
