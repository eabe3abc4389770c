//! The rule for names of apps and scripts, which are parts of addresses.

use std::fmt;
use std::sync::Arc;

/// The most characters that a name can have.
const MAX_LENGTH: usize = 63;

/// A valid name: a lower-case letter or digit, then at most 62 lower-case letters, digits, `-` and `_`.
///
/// Nothing in a name needs escaping, in a URL or anywhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

/// The text is no valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name starts with a lower-case letter or a digit, followed by at most 62 lower-case letters, digits, '-' and '_'"
)]
pub struct NameError;

impl Name {
    /// The name of the app that exists from the start.
    #[must_use]
    pub fn default_app() -> Self {
        Self("default".into())
    }

    /// Check a name.
    ///
    /// # Errors
    ///
    /// The text is no valid name.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let (first, rest) = text.as_bytes().split_first().ok_or(NameError)?;
        let valid = plain(*first)
            && rest.iter().all(|byte| plain(*byte) || matches!(byte, b'-' | b'_'))
            && text.len() <= MAX_LENGTH;
        if valid { Ok(Self(text.into())) } else { Err(NameError) }
    }

    /// The text of the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_letters_digits_dash_and_underscore_are_valid() {
        for text in ["a", "0", "hello", "order-total_2", "9-", &"x".repeat(63)] {
            assert_eq!(Name::parse(text).map(|name| name.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_would_need_escaping_or_is_too_long_is_refused() {
        for text in
            ["", "-a", "_", "A", "aB", "a.b", "a/b", "a b", "a\0", "ä", "aä", "a%20", "..", &"x".repeat(64)]
        {
            assert_eq!(Name::parse(text), Err(NameError), "{text:?}");
        }
    }

    #[test]
    fn the_default_app_has_a_valid_name() {
        assert_eq!(Name::parse(Name::default_app().as_str()), Ok(Name::default_app()));
    }
}
