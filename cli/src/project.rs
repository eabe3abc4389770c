//! A project: a folder with a `picloud.toml`, which says which app its scripts belong to. Commands look for it from the
//! working directory upwards, as cargo looks for its file.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::env::Env;
use crate::exit::CliError;
use crate::output::text::read_bounded;

/// The name of the file that makes a folder a project.
pub const PROJECT_FILE: &str = "picloud.toml";

/// Where a project's scripts are when its file does not say.
pub const SCRIPTS: &str = "scripts";

/// No project file is longer.
const MAX_BYTES: usize = 64 << 10;

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// The folder that `picloud.toml` is in.
    pub root: PathBuf,
    /// The app that its scripts belong to, if it says so.
    pub app: Option<String>,
    /// The folder of its scripts.
    pub scripts: PathBuf,
}

/// What the file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    app: Option<String>,
    scripts: Option<PathBuf>,
}

impl Project {
    /// The project that the working directory is in; none if it is in none.
    ///
    /// # Errors
    ///
    /// Its file cannot be read, or is no project file.
    pub fn around(env: &Env) -> Result<Option<Self>, CliError> {
        env.directory().map_or(Ok(None), Self::find)
    }

    /// The project that a folder is in, which is an absolute path. A server's settings may have the same name, and are
    /// passed over.
    ///
    /// # Errors
    ///
    /// As [`Project::around`].
    pub fn find(folder: &Path) -> Result<Option<Self>, CliError> {
        for root in folder.ancestors() {
            let path = root.join(PROJECT_FILE);
            if path.is_file()
                && let Some(project) = Self::read(root, &path)?
            {
                return Ok(Some(project));
            }
        }
        Ok(None)
    }

    /// The folder of the scripts as it would be typed: from the working directory, if it is below it.
    #[must_use]
    pub fn scripts_as_typed(&self, env: &Env) -> PathBuf {
        let scripts = env.directory().and_then(|directory| self.scripts.strip_prefix(directory).ok());
        match scripts {
            Some(here) if here.as_os_str().is_empty() => PathBuf::from("."),
            scripts => scripts.unwrap_or(&self.scripts).to_owned(),
        }
    }

    fn read(root: &Path, path: &Path) -> Result<Option<Self>, CliError> {
        let wrong = |why: &dyn std::fmt::Display| CliError::Usage(format!("{}: {why}", path.display()));
        let mut file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
        let bytes = read_bounded(&mut file, MAX_BYTES).map_err(|why| wrong(&why))?;
        let text = String::from_utf8(bytes).map_err(|_| wrong(&"it is not UTF-8"))?;
        let table: toml::Table =
            text.parse().map_err(|error: toml::de::Error| wrong(&error.to_string().trim_end()))?;
        if !table.contains_key("app") && !table.contains_key("scripts") {
            return Ok(None);
        }
        let content: Content = toml::from_str(&text).map_err(|error| wrong(&error.to_string().trim_end()))?;
        let scripts = root.join(content.scripts.as_deref().unwrap_or(Path::new(SCRIPTS)));
        Ok(Some(Self { root: root.to_owned(), app: content.app, scripts }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> (tempfile::TempDir, Result<Option<Project>, String>) {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("scripts/deeper");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(folder.path().join(PROJECT_FILE), text).unwrap();
        let found = Project::find(&inner).map_err(|error| error.to_string());
        (folder, found)
    }

    #[test]
    fn a_project_is_found_from_within() {
        let (folder, found) = project("app = \"shop\"");
        let project = found.unwrap().unwrap();
        assert_eq!(project.app.as_deref(), Some("shop"));
        assert_eq!(project.root, folder.path());
        assert_eq!(project.scripts, folder.path().join("scripts"));
        let (folder, found) = super::tests::project("scripts = \"src/rhai\"");
        let project = found.unwrap().unwrap();
        assert_eq!((project.app, project.scripts), (None, folder.path().join("src/rhai")));
    }

    #[test]
    fn scripts_are_named_as_they_would_be_typed() {
        let project = Project { root: "/a".into(), app: None, scripts: "/a/b".into() };
        let typed = |directory: &str| project.scripts_as_typed(&Env::default().within(Path::new(directory)));
        assert_eq!(typed("/a"), Path::new("b"));
        assert_eq!(typed("/a/b"), Path::new("."));
        assert_eq!(typed("/a/c"), Path::new("/a/b"));
    }

    #[test]
    fn the_settings_of_a_server_are_no_project() {
        let (_folder, found) = project("address = \"127.0.0.1:9000\"");
        assert_eq!(found.unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_told_with_its_place() {
        for (text, why) in [
            ("app = ", "line 1"),
            ("app = 1", "invalid type"),
            ("app = \"a\"\ntoken = \"t\"", "unknown field `token`"),
        ] {
            let (_folder, found) = project(text);
            let error = found.unwrap_err();
            assert!(error.contains("picloud.toml: ") && error.contains(why), "{text}: {error}");
        }
    }
}
