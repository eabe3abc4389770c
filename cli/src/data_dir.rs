//! The data directory: made for its owner only, and used by one process at a time. It holds values, and hashes of tokens.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, DirBuilder, DirBuilderExt as _, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use rustix::fs::Mode;

/// The database that nothing works without.
pub(crate) const DATABASE: &str = "picloud.db";

/// Whatever this process makes from now on is for its owner only. A data directory that was there before may be open to
/// others, and SQLite makes its files as the mask allows.
pub(crate) fn keep_new_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// An open data directory. Dropping it lets the next server in.
pub(crate) struct DataDir {
    /// Everything below is resolved through this, but for SQLite, which knows only paths.
    dir: Dir,
    absolute: PathBuf,
    /// Locked as long as it is open.
    _lock: std::fs::File,
}

impl DataDir {
    /// Open the directory, making it if it is not there.
    pub(crate) fn open(path: &Path) -> Result<Self> {
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
        for open in open_to_others(&dir) {
            tracing::warn!(data_dir = %absolute.display(), "{open}");
        }
        take(&lock, path)?;
        Ok(Self { dir, absolute, _lock: lock })
    }

    /// The path of a file in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.absolute.join(name)
    }

    /// The text of a small file, which is made with this text if it is not there.
    pub(crate) fn text(&self, name: &str, make: impl FnOnce() -> String) -> Result<String> {
        let with = || format!("cannot use the file `{name}` in the data directory");
        match self.dir.read_to_string(name) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = make();
                self.dir.write(name, &text).with_context(with)?;
                Ok(text)
            }
            found => found.with_context(with),
        }
    }

    /// The directory itself.
    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// The folder for what can be made again.
    pub(crate) fn cache(&self) -> Result<Dir> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700);
        self.dir
            .create_dir_with("cache", &builder)
            .context("cannot make the folder `cache` in the data directory")?;
        Ok(self.dir.open_dir("cache")?)
    }
}

/// Keep servers away from a folder that may be a data directory, for as long as the file is open. Nothing is made in it; none
/// if no server was ever there.
pub(crate) fn keep_servers_away(folder: &Path) -> Result<Option<std::fs::File>> {
    match std::fs::File::open(folder.join("lock")) {
        Ok(lock) => take(&lock, folder).map(|()| Some(lock)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("cannot lock the data directory {}", folder.display()))
        }
    }
}

fn take(lock: &std::fs::File, folder: &Path) -> Result<()> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => {
            bail!("another server uses the data directory {}", folder.display())
        }
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock the data directory {}", folder.display()))
        }
    }
}

/// What others than the owner can do here that they should not. It may be meant so, hence nothing is changed.
pub(crate) fn open_to_others(dir: &Dir) -> Vec<String> {
    // The owner will be told by what fails next.
    let mode = |metadata: std::io::Result<cap_std::fs::Metadata>| metadata.map_or(0, |found| found.mode());
    let folder = mode(dir.dir_metadata());
    let mut open = Vec::new();
    if folder & 0o022 != 0 {
        open.push(
            "others can write to the data directory, and so run code as the server: chmod it to 700"
                .to_owned(),
        );
    }
    if folder & 0o011 != 0 {
        let readable =
            [DATABASE, "telemetry.db"].into_iter().filter(|name| mode(dir.metadata(name)) & 0o044 != 0);
        open.extend(readable.map(|name| format!("others can read {name}: chmod the data directory to 700")));
    }
    open
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

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

    #[test]
    fn what_is_open_to_others_is_told() {
        let temporary = tempfile::tempdir().unwrap();
        let chmod = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let told = |folder: u32, database: u32| {
            std::fs::write(temporary.path().join(DATABASE), "").unwrap();
            chmod(&temporary.path().join(DATABASE), database);
            chmod(temporary.path(), folder);
            open_to_others(&Dir::open_ambient_dir(temporary.path(), ambient_authority()).unwrap())
        };
        assert!(told(0o700, 0o644).is_empty());
        assert!(told(0o755, 0o600).is_empty());
        assert!(told(0o755, 0o644)[0].contains("can read picloud.db"));
        assert!(told(0o775, 0o600)[0].contains("can write to the data directory"));
    }
}
