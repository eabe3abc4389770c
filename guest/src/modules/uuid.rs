//! The Rhai module `uuid`: identifiers that nobody else has (RFC 9562).

use rhai::{ImmutableString, Module};
use uuid::{Builder, Uuid};

use super::{add, random, time};

/// The length of the usual form, with hyphens.
const LENGTH: usize = 36;

pub(super) fn fill(module: &mut Module) {
    add!(volatile module, "v4", | | Ok(Builder::from_random_bytes(random_bytes()).into_uuid().to_string()));
    add!(volatile module, "v7", | | Ok(v7().to_string()));
    add!(module, "is_valid", |text: ImmutableString| Ok(
        text.len() == LENGTH && Uuid::try_parse(&text).is_ok()
    ));
}

fn v7() -> Uuid {
    let now_ms = u64::try_from(time::source::now_ms()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(now_ms, &random_bytes()).into_uuid()
}

fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    for (byte, random) in bytes.iter_mut().zip(random::source::bytes(N)) {
        *byte = random;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use uuid::{Uuid, Variant};

    use crate::modules::testing::{check, eval};

    #[test]
    fn versions_and_variant() {
        for (script, version) in [("uuid::v4()", 4), ("uuid::v7()", 7)] {
            let uuid = Uuid::try_parse(&eval(script).into_string().unwrap()).unwrap();
            assert_eq!((uuid.get_version_num(), uuid.get_variant()), (version, Variant::RFC4122));
        }
    }

    #[test]
    fn no_two_are_the_same_and_version_7_starts_with_the_time() {
        check("uuid::v4() != uuid::v4() && uuid::v7() != uuid::v7()");
        check(r#"uuid::v7().starts_with("019c139a-3a34-7")"#);
    }

    #[test]
    fn only_the_usual_form_is_valid() {
        check(r#"uuid::is_valid(uuid::v4()) && uuid::is_valid(uuid::v7().to_upper())"#);
        for text in [
            "",
            "67e5504410b1426f9247bb680e5fe0c8",
            "{67e55044-10b1-426f-9247-bb680e5fe0c8}",
            "67e55044-10b1-426f-9247-bb680e5fe0cg",
            "67e55044-10b1-426f-92470-b680e5fe0c8",
            "éééééééééééééééééé",
        ] {
            check(&format!(r#"!uuid::is_valid("{text}")"#));
        }
    }
}
