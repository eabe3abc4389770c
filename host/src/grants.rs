//! Grants: directories of the host that apps may use under a name. The service `fs` serves them, the operator makes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use serde::Deserialize;
use tokio::sync::Semaphore;

/// How many operations of one grant run at the same time; more wait. A disk that hangs must not take every thread for
/// blocking work with it.
const AT_ONCE: usize = 8;

/// What the operator says about a grant: a section `[fs.NAME]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantConfig {
    /// The directory. A relative path counts from the working directory.
    pub path: PathBuf,
    /// Whether scripts may change what is in it.
    #[serde(default)]
    pub writable: bool,
    /// The names of the apps that may use it; none: all.
    #[serde(default)]
    pub apps: Option<Vec<String>>,
}

/// Every grant, by name. Empty unless the operator says otherwise.
#[derive(Debug, Default)]
pub struct Grants(BTreeMap<String, Arc<Grant>>);

/// One grant.
#[derive(Debug)]
pub struct Grant {
    /// Everything is resolved through this, so that no path leads out of it.
    pub(crate) dir: Dir,
    /// Whether scripts may change what is in it.
    pub writable: bool,
    apps: Option<Vec<String>>,
    /// A permit for each operation.
    pub(crate) running: Arc<Semaphore>,
}

impl Grants {
    /// Open the directories. They stay open: one that is replaced later is not seen.
    ///
    /// # Errors
    ///
    /// Names the first grant whose path is no directory or cannot be opened.
    pub fn open(grants: &BTreeMap<String, GrantConfig>) -> Result<Self> {
        let open = |(name, config): (&String, &GrantConfig)| {
            let grant = Grant::open(config)
                .with_context(|| format!("cannot grant {} as fs.{name}", config.path.display()))?;
            Ok((name.clone(), Arc::new(grant)))
        };
        grants.iter().map(open).collect::<Result<_>>().map(Self)
    }

    /// The grant that an app knows by this name.
    pub(crate) fn find(&self, app: &str, name: &str) -> Option<&Arc<Grant>> {
        self.0.get(name).filter(|grant| grant.is_for(app))
    }

    /// What an app may use, in the order of the names.
    pub fn of_app(&self, app: &str) -> impl Iterator<Item = (&str, &Grant)> {
        let grants = self.0.iter().map(|(name, grant)| (name.as_str(), &**grant));
        grants.filter(move |(_, grant)| grant.is_for(app))
    }
}

impl Grant {
    fn open(config: &GrantConfig) -> Result<Self> {
        let path: &Path = &config.path;
        anyhow::ensure!(std::fs::metadata(path)?.is_dir(), "it is not a directory");
        // What can be opened but not be read would disappoint every script.
        std::fs::read_dir(path)?;
        Ok(Self {
            dir: Dir::open_ambient_dir(path, ambient_authority())?,
            writable: config.writable,
            apps: config.apps.clone(),
            running: Arc::new(Semaphore::new(AT_ONCE)),
        })
    }

    fn is_for(&self, app: &str) -> bool {
        self.apps.as_ref().is_none_or(|apps| apps.iter().any(|name| name == app))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: &Path, apps: Option<&[&str]>) -> GrantConfig {
        let apps = apps.map(|apps| apps.iter().map(|app| (*app).to_owned()).collect());
        GrantConfig { path: path.to_owned(), writable: false, apps }
    }

    #[test]
    fn an_app_sees_its_grants_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let grants = Grants::open(&BTreeMap::from([
            ("all".to_owned(), config(folder.path(), None)),
            ("mine".to_owned(), config(folder.path(), Some(&["shop", "blog"]))),
            ("none".to_owned(), config(folder.path(), Some(&[]))),
        ]))
        .unwrap();
        let names = |app| grants.of_app(app).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names("blog"), ["all", "mine"]);
        assert_eq!(names("default"), ["all"]);
        assert!(grants.find("shop", "mine").is_some() && grants.find("default", "mine").is_none());
        assert!(grants.find("shop", "none").is_none() && grants.find("shop", "").is_none());
    }

    #[test]
    fn what_is_no_directory_is_refused_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "x").unwrap();
        for (path, why) in [(file, "it is not a directory"), (folder.path().join("none"), "No such file")] {
            let error = Grants::open(&BTreeMap::from([("data".to_owned(), config(&path, None))]));
            let error = format!("{:#}", error.unwrap_err());
            assert!(error.starts_with(&format!("cannot grant {} as fs.data: ", path.display())), "{error}");
            assert!(error.contains(why), "{error}");
        }
    }
}
