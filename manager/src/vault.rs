//! Encrypts secrets for the database: XChaCha20-Poly1305 with a key that is in a file and not in the database.

use std::fmt;

use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use picloud_host::call::AppId;
use picloud_host::ports::StoreError;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The length of a key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The length of a nonce, in bytes: so many that random ones do not repeat.
const NONCE_BYTES: usize = 24;

/// Encrypts and decrypts with one key. Nothing but the key opens what it has sealed, and only under the same name of the
/// same app.
pub struct Vault {
    cipher: XChaCha20Poly1305,
    key_id: String,
}

/// A secret as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    pub(crate) ciphertext: Vec<u8>,
    pub(crate) nonce: Vec<u8>,
    pub(crate) key_id: String,
}

impl Vault {
    /// A vault with this key.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        // The beginning of a hash tells keys apart and tells nothing about them.
        let hash = Sha256::new().chain_update(b"picloud secret key\0").chain_update(key).finalize();
        let key_id = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Self { cipher: XChaCha20Poly1305::new(key.into()), key_id }
    }

    /// Encrypt the value of a secret.
    ///
    /// # Errors
    ///
    /// The system has no random numbers.
    pub(crate) fn seal(&self, app: AppId, name: &str, value: &str) -> Result<Sealed, StoreError> {
        let failed = |why: &dyn fmt::Display| {
            tracing::error!(error = %why, "a secret cannot be encrypted");
            StoreError("a secret cannot be encrypted".to_owned())
        };
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|error| failed(&error))?;
        let payload = Payload { msg: value.as_bytes(), aad: &place(app, name) };
        let ciphertext =
            self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|error| failed(&error))?;
        Ok(Sealed { ciphertext, nonce: nonce.to_vec(), key_id: self.key_id.clone() })
    }

    /// Decrypt the value of a secret; none when it was encrypted with another key, for another name or app, or when it
    /// was changed.
    pub(crate) fn open(&self, app: AppId, name: &str, sealed: &Sealed) -> Option<Zeroizing<String>> {
        if sealed.key_id != self.key_id {
            return None;
        }
        let nonce = <[u8; NONCE_BYTES]>::try_from(sealed.nonce.as_slice()).ok()?;
        let payload = Payload { msg: &sealed.ciphertext, aad: &place(app, name) };
        let value = self.cipher.decrypt(&XNonce::from(nonce), payload).ok()?;
        // What is no UTF-8 was never stored; the bytes of the error would not be overwritten, but cannot be a secret.
        String::from_utf8(value).ok().map(Zeroizing::new)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

/// What a secret is tied to: the app's number has a fixed length, so no two places have the same bytes.
fn place(app: AppId, name: &str) -> Vec<u8> {
    [b"picloud secret\0", &app.0.to_be_bytes()[..], name.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: AppId = AppId(1);

    #[test]
    fn only_the_same_key_opens_it_in_the_same_place() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal(APP, "a", "correct-horse").unwrap();
        assert_eq!(vault.open(APP, "a", &sealed).unwrap().as_str(), "correct-horse");
        assert_eq!(vault.open(APP, "b", &sealed), None);
        assert_eq!(vault.open(AppId(2), "a", &sealed), None);
        let other = Vault::new(&[8; 32]);
        assert_eq!(other.open(APP, "a", &sealed), None);
        let renamed = Sealed { key_id: other.key_id.clone(), ..sealed.clone() };
        assert_eq!(other.open(APP, "a", &renamed), None);
    }

    #[test]
    fn what_was_changed_is_not_opened() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal(APP, "a", "correct-horse").unwrap();
        for at in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[at] ^= 1;
            assert_eq!(vault.open(APP, "a", &changed), None, "{at}");
        }
        for nonce in [Vec::new(), vec![0; 24], vec![0; 25]] {
            assert_eq!(vault.open(APP, "a", &Sealed { nonce, ..sealed.clone() }), None);
        }
        assert_eq!(vault.open(APP, "a", &Sealed { ciphertext: Vec::new(), ..sealed }), None);
    }

    #[test]
    fn the_same_value_never_looks_the_same() {
        let vault = Vault::new(&[7; 32]);
        let (one, other) = (vault.seal(APP, "a", "x").unwrap(), vault.seal(APP, "a", "x").unwrap());
        assert_ne!(one.nonce, other.nonce);
        assert_ne!(one.ciphertext, other.ciphertext);
    }

    #[test]
    fn no_debug_shows_the_key() {
        let debug = format!("{:?}", Vault::new(&[0xab; 32]));
        assert!(!debug.contains("171") && !debug.contains("abab"), "{debug}");
    }
}
