//! The Rhai module `hex`: bytes as hexadecimal text.

use rhai::{Dynamic, ImmutableString, Module};

use super::{add, with_bytes};

pub(super) fn fill(module: &mut Module) {
    add!(module, "encode", |data: &mut Dynamic| with_bytes(data, |bytes| hex::encode(bytes)));
    add!(module, "decode", |text: ImmutableString| {
        hex::decode(text.as_str())
            .map(Dynamic::from_blob)
            .map_err(|error| format!("not valid hexadecimal: {}", explain(error)))
    });
}

fn explain(error: hex::FromHexError) -> String {
    match error {
        hex::FromHexError::OddLength => "the number of digits must be even".to_owned(),
        // The crate looks at bytes: past ASCII its "character" is part of one.
        hex::FromHexError::InvalidHexCharacter { c, index } if c.is_ascii() => {
            format!("{c:?} at position {index} is no digit")
        }
        _ => "only 0-9, a-f and A-F are digits".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::{check, message};

    #[test]
    fn bytes_there_and_back() {
        check(r#"hex::encode("Hé") == "48c3a9" && hex::decode("48C3a9").as_string() == "Hé""#);
        check(r#"hex::encode(blob()) == "" && hex::decode("").len == 0"#);
    }

    #[test]
    fn what_is_not_hexadecimal_is_refused() {
        assert_eq!(
            message(r#"hex::decode("abc")"#),
            "not valid hexadecimal: the number of digits must be even"
        );
        assert_eq!(message(r#"hex::decode("0g")"#), "not valid hexadecimal: 'g' at position 1 is no digit");
        assert_eq!(message(r#"hex::decode("é")"#), "not valid hexadecimal: only 0-9, a-f and A-F are digits");
    }
}
