//! The environment and the working directory as a value, so that tests can have one of their own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::exit::CliError;

/// Environment variables and the working directory.
#[derive(Debug, Clone, Default)]
pub struct Env {
    variables: BTreeMap<OsString, OsString>,
    directory: Option<PathBuf>,
}

impl Env {
    /// The environment of this process.
    #[must_use]
    pub fn process() -> Self {
        Self { variables: std::env::vars_os().collect(), directory: std::env::current_dir().ok() }
    }

    /// An environment with these variables and no others, and without a working directory.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, directory: None }
    }

    /// The same with a working directory.
    #[must_use]
    pub fn within(mut self, directory: &Path) -> Self {
        self.directory = Some(directory.to_owned());
        self
    }

    /// The working directory, where projects are looked for; an absolute path.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    /// The value of a variable; one that is set to nothing counts as not set.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&OsStr> {
        self.variables.get(OsStr::new(name)).map(OsString::as_os_str).filter(|value| !value.is_empty())
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
