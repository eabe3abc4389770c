//! The folder beside a file in which that is made. A power cut leaves the folder, never half of the file.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use rustix::fs::OFlags;

/// Everything that may be in the folder; nothing else is ever deleted.
const FILES: [&str; 8] = [
    "old.db",
    "old.db-wal",
    "old.db-shm",
    "old.db-journal",
    "new.db",
    "new.db-wal",
    "new.db-shm",
    "new.db-journal",
];

/// An empty folder, which is gone at the end.
pub(super) struct Workshop {
    folder: PathBuf,
    parent: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Workshop {
    /// Make the folder for a file, or take the one that somebody has left who lost power.
    pub(super) fn open(file: &Path) -> anyhow::Result<Self> {
        let file = std::path::absolute(file)?;
        let parent = file.parent().context("the new file has to be in a folder")?.to_owned();
        let folder = beside(&file, ".migrating");
        let with = || format!("cannot use the folder {}", folder.display());
        match std::fs::create_dir(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(with);
            }
            _ => {}
        }
        // What somebody else has made could lead elsewhere.
        let no_link = (OFlags::NOFOLLOW | OFlags::DIRECTORY).bits().cast_signed();
        let lock = OpenOptions::new().read(true).custom_flags(no_link).open(&folder).with_context(with)?;
        let owner = lock.metadata().with_context(with)?.uid();
        ensure!(
            owner == rustix::process::geteuid().as_raw(),
            "{} is another user's: remove it first",
            folder.display()
        );
        match lock.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => bail!("another command makes {}", file.display()),
            Err(std::fs::TryLockError::Error(error)) => return Err(error).with_context(with),
        }
        empty(&folder);
        Ok(Self { folder, parent, _lock: lock })
    }

    /// A file in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder in which the file is to be.
    pub(super) fn parent(&self) -> &Path {
        &self.parent
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        empty(&self.folder);
        // It stays if there is something of somebody else in it.
        let _ = std::fs::remove_dir(&self.folder);
    }
}

fn empty(folder: &Path) {
    for file in FILES {
        let _ = std::fs::remove_file(folder.join(file));
    }
}

/// The path with something at its end.
pub(super) fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_power_cut_has_left_is_taken_and_others_wait() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("new.db");
        let left = beside(&file, ".migrating");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("new.db"), "half").unwrap();
        let workshop = Workshop::open(&file).unwrap();
        assert!(!workshop.path("new.db").exists());
        let other = Workshop::open(&file).map(|_| ()).unwrap_err();
        assert!(other.to_string().contains("another command makes"), "{other}");
        std::fs::write(workshop.path("old.db"), "copy").unwrap();
        drop(workshop);
        assert!(!left.exists());
    }

    #[test]
    fn a_link_that_somebody_has_put_there_leads_nowhere() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = home.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).unwrap();
        std::fs::write(elsewhere.join("new.db"), "mine").unwrap();
        let file = home.path().join("new.db");
        std::os::unix::fs::symlink(&elsewhere, beside(&file, ".migrating")).unwrap();
        assert!(Workshop::open(&file).is_err());
        assert_eq!(std::fs::read(elsewhere.join("new.db")).unwrap(), b"mine");
    }

    #[test]
    fn what_is_not_ours_stays() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("new.db");
        let left = beside(&file, ".migrating");
        std::fs::create_dir(&left).unwrap();
        std::fs::write(left.join("letter.txt"), "dear").unwrap();
        drop(Workshop::open(&file).unwrap());
        assert!(left.join("letter.txt").exists());
        let nowhere = Workshop::open(&home.path().join("missing/new.db")).map(|_| ()).unwrap_err();
        assert!(format!("{nowhere:#}").contains("missing"), "{nowhere:#}");
    }
}
