//! The environment as a value, so that tests can have one of their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::exit::CliError;

/// Environment variables.
#[derive(Debug, Clone, Default)]
pub struct Env(BTreeMap<OsString, OsString>);

impl Env {
    /// The environment of this process.
    #[must_use]
    pub fn process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// An environment with these variables and no others.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        Self(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// The value of a variable; one that is set to nothing counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.0.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
    }

    /// The value of a variable that holds text.
    ///
    /// # Errors
    ///
    /// It is not UTF-8.
    pub fn text(&self, name: &str) -> Result<Option<&str>, CliError> {
        self.get(name)
            .map(|value| value.to_str().ok_or_else(|| CliError::Usage(format!("{name} is not UTF-8"))))
            .transpose()
    }
}
