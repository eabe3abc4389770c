//! The Rhai module `crypto`: digests, message authentication and a comparison that does not tell where it ended.

use hmac::{Hmac, KeyInit, Mac};
use rhai::{Blob, Dynamic, Module};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{add, with_bytes};

pub(super) fn fill(module: &mut Module) {
    add!(module, "sha256", |data: &mut Dynamic| sha256(data).map(Dynamic::from_blob));
    add!(module, "sha256_hex", |data: &mut Dynamic| sha256(data).map(hex::encode));
    add!(module, "hmac_sha256", |key: &mut Dynamic, data: Dynamic| hmac_sha256(key, &data)
        .map(Dynamic::from_blob));
    add!(module, "hmac_sha256_hex", |key: &mut Dynamic, data: Dynamic| hmac_sha256(key, &data)
        .map(hex::encode));
    add!(module, "equal", |left: &mut Dynamic, right: Dynamic| equal(left, &right));
}

fn sha256(data: &Dynamic) -> Result<Blob, String> {
    with_bytes(data, |bytes| Sha256::digest(bytes).to_vec())
}

/// HMAC of RFC 2104; a key of any length is good.
fn hmac_sha256(key: &Dynamic, data: &Dynamic) -> Result<Blob, String> {
    let mut mac = with_bytes(key, Hmac::<Sha256>::new_from_slice)?.map_err(|error| error.to_string())?;
    with_bytes(data, |bytes| mac.update(bytes))?;
    Ok(mac.finalize().into_bytes().to_vec())
}

/// Whether both are the same bytes. How long it takes depends on their lengths alone.
fn equal(left: &Dynamic, right: &Dynamic) -> Result<bool, String> {
    with_bytes(left, |left| with_bytes(right, |right| bool::from(left.ct_eq(right))))?
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::{check, message};

    #[test]
    fn digests_of_fips_180() {
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check(&format!(r#"crypto::sha256_hex("abc") == "{digest}""#));
        check(&format!(r#"hex::encode(crypto::sha256("abc".to_blob())) == "{digest}""#));
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        check(&format!(r#"crypto::sha256_hex(blob()) == "{empty}""#));
    }

    #[test]
    fn authentication_codes_of_rfc_4231() {
        let short = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        check(&format!(r#"crypto::hmac_sha256_hex("Jefe", "what do ya want for nothing?") == "{short}""#));
        let long = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54";
        check(&format!(
            r#"hex::encode(crypto::hmac_sha256(blob(131, 0xaa), "Test Using Larger Than Block-Size Key - Hash Key First")) == "{long}""#
        ));
        check(r#"crypto::hmac_sha256("", "").len == 32"#);
    }

    #[test]
    fn equality_of_strings_and_blobs() {
        check(r#"crypto::equal("abc", "abc".to_blob()) && crypto::equal("", blob())"#);
        check(r#"!crypto::equal("abc", "abd") && !crypto::equal("abc", "ab") && !crypto::equal("", "a")"#);
    }

    #[test]
    fn other_types_are_refused() {
        assert_eq!(message("crypto::sha256(1)"), "expected a string or a blob, not an integer");
        assert_eq!(message(r#"crypto::hmac_sha256("k", ())"#), "expected a string or a blob, not ()");
        assert_eq!(message(r#"crypto::equal([], "k")"#), "expected a string or a blob, not an array");
    }
}
