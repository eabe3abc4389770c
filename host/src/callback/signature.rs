//! The signature of a callback, as Standard Webhooks 1.0 has it (`v1`, symmetric).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::secret::SecretText;

/// What a secret starts with that is a key in base64.
const PREFIX: &str = "whsec_";

/// The shortest key, in bytes: who gets a message and its signature could find out a shorter one by trying.
const MIN_KEY: usize = 16;

/// What callbacks are signed with.
pub(crate) struct Key(Zeroizing<Vec<u8>>);

impl Key {
    /// The key in a secret: behind `whsec_` in base64, anything else as it is.
    ///
    /// # Errors
    ///
    /// It starts with `whsec_` and goes on with something else, or it is too short.
    pub(super) fn of(secret: &SecretText) -> Result<Self, String> {
        let key = match secret.expose().strip_prefix(PREFIX) {
            None => secret.expose().as_bytes().to_vec(),
            Some(text) => STANDARD.decode(text).map_err(|_| {
                format!("The secret that signs callbacks starts with {PREFIX}, but has no base64 behind it.")
            })?,
        };
        let key = Zeroizing::new(key);
        match key.len() {
            MIN_KEY.. => Ok(Self(key)),
            _ => Err(format!("The key that signs callbacks is shorter than {MIN_KEY} bytes.")),
        }
    }

    /// The value of `webhook-signature`, for a message that is sent at `seconds` since the Unix epoch.
    pub(super) fn sign(&self, id: &str, seconds: u64, body: &[u8]) -> String {
        // A key may have any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Result<Key, String> {
        Key::of(&SecretText::new(Zeroizing::new(text.to_owned())))
    }

    /// The example of the reference libraries of Standard Webhooks.
    #[test]
    fn the_known_example_has_the_known_signature() {
        let key = key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = key.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn a_secret_may_be_any_text_but_half_of_a_key() {
        assert_eq!(&**key("0123456789abcdef").unwrap().0, b"0123456789abcdef");
        assert_eq!(&**key("whsec_MDEyMzQ1Njc4OWFiY2RlZg==").unwrap().0, b"0123456789abcdef");
        for wrong in ["whsec_not base64", "whsec_MDEyMzQ1Njc4OWFiY2Rl", "0123456789abcde"] {
            assert!(key(wrong).is_err(), "{wrong}");
        }
    }
}
