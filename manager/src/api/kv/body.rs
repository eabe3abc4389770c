//! The value in the body of a request.

use axum::extract::{FromRequest, Request};
use http::{HeaderMap, header};
use picloud_host::ports::KvValue;
use picloud_host::problem::{Code, Problem};

use crate::api::State;
use crate::api::body::read;

/// A value to store, checked.
pub(super) struct Value(pub(super) KvValue);

/// What the media type says about the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Blob,
}

impl FromRequest<State> for Value {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let kind = kind(request.headers())?;
        let (parts, body) = request.into_parts();
        let bytes = read(&parts.headers, body, state.limits.kv_value_bytes, Code::KvValueTooLarge).await?;
        match kind {
            Kind::Blob => Ok(Self(KvValue::Blob(bytes))),
            Kind::Json => json(&bytes).map(|text| Self(KvValue::Json(text.into()))),
        }
    }
}

fn kind(headers: &HeaderMap) -> Result<Kind, Problem> {
    let refused = |detail: &str| Err(Problem::new(Code::MediaTypeUnsupported).detail(detail));
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        return refused("Send the value without a Content-Encoding.");
    }
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/octet-stream" => Ok(Kind::Blob),
        "application/json" => Ok(Kind::Json),
        other if other.len() > "+json".len() && other.ends_with("+json") => Ok(Kind::Json),
        _ => refused("Send the value as application/json or application/octet-stream."),
    }
}

/// JSON text without white space between its tokens. Numbers and the order of keys stay as they were written.
fn json(bytes: &[u8]) -> Result<String, Problem> {
    let invalid = |detail: String| Problem::new(Code::KvValueInvalid).detail(detail);
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
            assert_eq!(json(given.as_bytes()).unwrap(), stored);
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
                json(given).unwrap_err().code(),
                Code::KvValueInvalid,
                "{}",
                String::from_utf8_lossy(given)
            );
        }
    }
}
