//! The data directory: made for its owner only, and used by one server at a time.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, OpenOptions, OpenOptionsExt as _};

/// An open data directory. Dropping it lets the next server in.
pub(super) struct DataDir {
    /// Everything below is resolved through this, but for SQLite, which knows only paths.
    dir: Dir,
    absolute: PathBuf,
    /// Locked as long as it is open.
    _lock: std::fs::File,
}

impl DataDir {
    /// Open the directory, making it if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let open = || {
            let absolute = std::path::absolute(path)?;
            if !absolute.exists() {
                use std::os::unix::fs::DirBuilderExt as _;
                std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&absolute)?;
            }
            let dir = Dir::open_ambient_dir(&absolute, ambient_authority())?;
            let lock =
                dir.open_with("lock", OpenOptions::new().write(true).create(true).mode(0o600))?.into_std();
            anyhow::Ok((dir, absolute, lock))
        };
        let (dir, absolute, lock) =
            open().with_context(|| format!("cannot use the data directory {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { dir, absolute, _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => {
                bail!("another server uses the data directory {}", path.display())
            }
            Err(std::fs::TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock the data directory {}", path.display()))
            }
        }
    }

    /// The path of a file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.absolute.join(name)
    }

    /// The folder for what can be made again.
    pub(super) fn cache(&self) -> Result<Dir> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        self.dir
            .create_dir_with("cache", &builder)
            .context("cannot make the folder `cache` in the data directory")?;
        Ok(self.dir.open_dir("cache")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_serves_one_server_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b");
        let first = DataDir::open(&path).unwrap();
        let error = DataDir::open(&path).map(drop).unwrap_err();
        assert!(error.to_string().starts_with("another server uses"), "{error}");
        drop(first);
        DataDir::open(&path).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let temporary = tempfile::NamedTempFile::new().unwrap();
        let error = DataDir::open(temporary.path()).map(drop).unwrap_err();
        assert!(error.to_string().starts_with("cannot use the data directory"), "{error}");
    }
}
