//! The Rhai module `base64`: bytes as text of 64 characters, in the standard and in the URL-safe alphabet (RFC 4648).

use base64::Engine as _;
use base64::alphabet::{Alphabet, STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rhai::{Blob, Dynamic, ImmutableString, Module};

use super::{add, with_bytes};

/// With padding; `=` at the end may be missing when decoding.
static PADDED: GeneralPurpose = engine(&STANDARD, true);

/// Without padding; `=` at the end may be there when decoding.
static URL: GeneralPurpose = engine(&URL_SAFE, false);

const fn engine(alphabet: &Alphabet, padding: bool) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new()
        .with_encode_padding(padding)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(alphabet, config)
}

pub(super) fn fill(module: &mut Module) {
    add!(module, "encode", |data: &mut Dynamic| with_bytes(data, to_text));
    add!(module, "encode_url", |data: &mut Dynamic| with_bytes(data, |bytes| URL.encode(bytes)));
    add!(module, "decode", |text: ImmutableString| decode(&PADDED, &text).map(Dynamic::from_blob));
    add!(module, "decode_url", |text: ImmutableString| decode(&URL, &text).map(Dynamic::from_blob));
    add!(module, "decode_text", |text: ImmutableString| decode_text(&text));
}

/// Bytes in the standard alphabet with padding.
pub(super) fn to_text(bytes: &[u8]) -> String {
    PADDED.encode(bytes)
}

fn decode(engine: &GeneralPurpose, text: &str) -> Result<Blob, String> {
    engine.decode(text).map_err(|error| format!("not valid base64: {error}"))
}

fn decode_text(text: &str) -> Result<String, String> {
    String::from_utf8(decode(&PADDED, text)?)
        .map_err(|_| "the decoded bytes are not UTF-8 text; use base64::decode to get a blob".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::{check, message};

    #[test]
    fn the_vectors_of_rfc_4648() {
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            check(&format!(
                r#"base64::encode("{bytes}") == "{text}" && base64::decode_text("{text}") == "{bytes}""#
            ));
        }
    }

    #[test]
    fn blobs_and_the_alphabet_for_urls() {
        check(r#"base64::encode(blob(3, 255)) == "////" && base64::encode_url(blob(3, 255)) == "____""#);
        check(r#"base64::decode_url("____") == blob(3, 255) && base64::encode_url("f") == "Zg""#);
    }

    #[test]
    fn padding_may_be_missing_or_there() {
        check(r#"base64::decode("Zg") == base64::decode("Zg==") && base64::decode_url("Zg==").len == 1"#);
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["Z", "Zm9v!", "Zh==", "____", "Zm 9v", "Zm9v\\n", "é", "=", "Zg==Zg=="] {
            let script = format!(r#"base64::decode("{text}")"#);
            assert!(message(&script).starts_with("not valid base64: "), "{text}");
        }
        assert!(message(r#"base64::decode_text("/w==")"#).contains("not UTF-8"));
    }
}
