//! Secrets of apps in memory: texts that no log and no record may show, and that are overwritten when nobody needs them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use zeroize::Zeroizing;

/// The shortest secret, in bytes: a shorter one could not be found in a text without finding it everywhere.
pub const MIN_SECRET_BYTES: usize = 8;

/// The longest secret, in bytes.
pub const MAX_SECRET_BYTES: usize = 16 << 10;

/// The text of a secret. Shared, and overwritten when the last one is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Arc<Zeroizing<String>>);

impl SecretText {
    /// Keep a text as a secret.
    #[must_use]
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(Arc::new(text))
    }

    /// The text itself: for those who use it, not for those who show it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// The secrets of one app, by name. None stands for one that cannot be read, because it was stored under another key.
#[derive(Debug, Default)]
pub struct AppSecrets(pub HashMap<Arc<str>, Option<SecretText>>);

/// What an app has been given for its scripts, by name: JSON text.
pub type AppConfig = HashMap<Arc<str>, Arc<str>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_debug_shows_a_secret() {
        let secret = SecretText::new(Zeroizing::new("hunter2-hunter2".to_owned()));
        let secrets = AppSecrets([("a".into(), Some(secret))].into());
        assert_eq!(format!("{secrets:?}"), "AppSecrets({\"a\": Some(SecretText)})");
    }
}
