//! Which scripts are tested, and which others they can call.

use std::path::{Path, PathBuf};

use picloud_host::limits::Limits;

use crate::commands::deploy::{read_source, scripts_in};
use crate::exit::CliError;

/// Scripts of one folder.
pub(super) struct Suite {
    pub(super) scripts: Vec<TestedScript>,
}

/// A script, and whether its tests are to be run.
pub(super) struct TestedScript {
    /// The name by which others call it.
    pub(super) name: String,
    /// Where it is, as the user would write it.
    pub(super) file: String,
    pub(super) source: String,
    wanted: bool,
}

impl TestedScript {
    /// Whether it is there for its tests alone.
    pub(super) fn is_for_tests(&self) -> bool {
        self.name.ends_with("_test")
    }
}

impl Suite {
    /// The script of a file with all that are beside it, or all scripts of a folder.
    ///
    /// # Errors
    ///
    /// There is none, or one of those to be tested cannot be read.
    pub(super) fn find(path: &Path, limits: &Limits) -> Result<Self, CliError> {
        let (folder, file) = if path.is_dir() {
            (path.to_owned(), None)
        } else {
            // So that it is told if the file is not there, whatever is beside it.
            read_source(path)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            (parent.map_or_else(|| PathBuf::from("."), Path::to_owned), Some(path))
        };
        let mut scripts = Vec::new();
        let mut paths = scripts_in(&folder).or_else(|error| file.map(|_| Vec::new()).ok_or(error))?;
        if let Some(file) = file {
            paths.retain(|path| path.file_name() != file.file_name());
            paths.push(file.to_owned());
        }
        for path in paths {
            let wanted = file.is_none_or(|file| *file == path);
            let source = match read_source(&path) {
                Ok(source) => source,
                Err(error) if wanted => return Err(error),
                // Whoever calls it is told that it is not there.
                Err(_) => continue,
            };
            if source.len() as u64 > limits.source_bytes {
                let bytes = limits.source_bytes;
                return Err(CliError::Failed(format!(
                    "{} has {} bytes, but may have {bytes} (limit source_bytes)",
                    path.display(),
                    source.len()
                )));
            }
            let Some(name) = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned) else {
                return Err(CliError::Usage(format!("{}: its name cannot be a script's", path.display())));
            };
            scripts.push(TestedScript { name, file: path.display().to_string(), source, wanted });
        }
        Ok(Self { scripts })
    }

    /// The scripts whose tests are to be run.
    pub(super) fn tested(&self) -> impl Iterator<Item = &TestedScript> {
        self.scripts.iter().filter(|script| script.wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, source) in files {
            std::fs::write(folder.path().join(name), source).unwrap();
        }
        folder
    }

    fn names(suite: &Suite) -> (Vec<&str>, Vec<&str>) {
        let all = suite.scripts.iter().map(|script| &*script.name).collect();
        (all, suite.tested().map(|script| &*script.name).collect())
    }

    #[test]
    fn a_folder_is_tested_as_a_whole_and_a_file_can_call_its_neighbours() {
        let folder = folder(&[("b.rhai", "1"), ("a_test.rhai", "2"), ("note.txt", "3")]);
        let limits = Limits::default();
        let suite = Suite::find(folder.path(), &limits).unwrap();
        assert_eq!(names(&suite), (vec!["a_test", "b"], vec!["a_test", "b"]));
        assert!(suite.scripts[0].is_for_tests() && !suite.scripts[1].is_for_tests());
        let suite = Suite::find(&folder.path().join("b.rhai"), &limits).unwrap();
        assert_eq!(names(&suite), (vec!["a_test", "b"], vec!["b"]));
        let suite = Suite::find(&folder.path().join("note.txt"), &limits).unwrap();
        assert_eq!(names(&suite).1, ["note"]);
    }

    #[test]
    fn what_is_not_there_is_told() {
        let folder = folder(&[("a.rhai", "1")]);
        let limits = Limits { source_bytes: 0, ..Limits::default() };
        for path in [folder.path().join("b.rhai"), folder.path().join("a.rhai"), folder.path().to_owned()] {
            assert!(Suite::find(&path, &limits).is_err(), "{}", path.display());
        }
        let empty = self::folder(&[]);
        assert!(matches!(Suite::find(empty.path(), &limits), Err(CliError::Usage(_))));
    }
}
