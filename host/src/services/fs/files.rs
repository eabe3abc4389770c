//! What is done with files, on threads that may wait. Every path goes through the directory handle of its grant, which
//! does not let it out.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _, Result as IoResult, Seek as _, SeekFrom, Write as _};

use cap_std::fs::{
    Dir, File, Metadata as Found, MetadataExt as _, OpenOptions, OpenOptionsExt as _, Permissions,
    PermissionsExt as _,
};
use picloud_sdk_wit::picloud::sdk::fs::{Entry, Error, Kind, Metadata, Page};
use rustix::fs::OFlags;
use rustix::io::Errno;
use uuid::Uuid;

use super::path::{self, UNFINISHED};
use crate::services::bound;

type Result<T> = std::result::Result<T, Error>;

/// Most entries of a directory that are looked at to find the next page of its names.
const MAX_ENTRIES: u32 = 100_000;

/// The whole file, if that is not more than `limit` bytes. The size that a file claims to have is not asked for: those
/// that the kernel makes up claim anything, and others grow.
pub(super) fn read(dir: &Dir, path: &str, limit: u64) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    let file = open(dir, path, OpenOptions::new().read(true))?;
    file.take(limit.saturating_add(1)).read_to_end(&mut data).map_err(explain)?;
    if data.len() as u64 > limit {
        return Err(Error::TooLarge(bound(limit)));
    }
    Ok(data)
}

pub(super) fn read_range(dir: &Dir, path: &str, offset: u64, length: u32) -> Result<Vec<u8>> {
    let mut data = Vec::new();
    let mut file = open(dir, path, OpenOptions::new().read(true))?;
    file.seek(SeekFrom::Start(offset)).map_err(explain)?;
    file.take(length.into()).read_to_end(&mut data).map_err(explain)?;
    Ok(data)
}

/// Write a file beside the one that it replaces.
pub(super) fn write(dir: &Dir, path: &str, data: &[u8]) -> Result<()> {
    let (folder, name) = path::parent(path);
    let folder = open_folder(dir, folder)?;
    let mode = mode_of_replaced(&folder, name)?;
    let unfinished = format!("{UNFINISHED}{}.tmp", Uuid::now_v7());
    let written = create(&folder, &unfinished, data, mode)
        .and_then(|()| folder.rename(&unfinished, &folder, name).map_err(explain));
    if written.is_err() {
        let _ = folder.remove_file(&unfinished);
    }
    written?;
    sync_folder(&folder)
}

fn create(folder: &Dir, name: &str, data: &[u8], mode: Option<u32>) -> Result<()> {
    let mut file =
        folder.open_with(name, OpenOptions::new().write(true).create_new(true)).map_err(explain)?;
    file.write_all(data).map_err(explain)?;
    if let Some(mode) = mode {
        file.set_permissions(Permissions::from_mode(mode)).map_err(explain)?;
    }
    synced(file.sync_all())
}

/// Who may read and write the file that is to be replaced; none if there is none. What may not be written to may not be
/// replaced either, although the system looks at the directory alone for that.
fn mode_of_replaced(folder: &Dir, name: &str) -> Result<Option<u32>> {
    if name.is_empty() {
        return Err(Error::NotAFile);
    }
    match folder.symlink_metadata(name) {
        Ok(found) if found.is_file() => {
            let file = open(folder, name, OpenOptions::new().write(true))?;
            Ok(Some(file.metadata().map_err(explain)?.mode() & 0o777))
        }
        Ok(_) => Err(Error::NotAFile),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(explain(error)),
    }
}

/// One write to a file that is open for appending: the system does not mix it with those of others.
pub(super) fn append(dir: &Dir, path: &str, data: &[u8]) -> Result<()> {
    let mut file = open(dir, path, OpenOptions::new().append(true).create(true))?;
    file.write_all(data).map_err(explain)?;
    synced(file.sync_data())
}

/// The entries of a directory after a name. Holds no more names than the page has, however many there are.
pub(super) fn list(dir: &Dir, path: &str, after: Option<&str>, limit: usize) -> Result<Page> {
    let folder = open_folder(dir, path)?;
    // Only the directory of the grant is open for long, and if it was removed, it looks like an empty one.
    if path.is_empty() && folder.dir_metadata().map_err(explain)?.nlink() == 0 {
        return Err(Error::NotFound);
    }
    let mut names = BTreeSet::new();
    for (seen, entry) in (0..).zip(folder.entries().map_err(explain)?) {
        if seen == MAX_ENTRIES {
            return Err(Error::TooManyEntries(MAX_ENTRIES));
        }
        let Ok(name) = entry.map_err(explain)?.file_name().into_string() else { continue };
        if name.starts_with(UNFINISHED) || after.is_some_and(|after| name.as_str() <= after) {
            continue;
        }
        names.insert(name);
        if names.len() > limit + 1 {
            names.pop_last();
        }
    }
    let more = names.len() > limit;
    if more {
        names.pop_last();
    }
    let metadata = |name: &str| {
        let whole = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        // A link that leads nowhere, or out of the grant, is an entry all the same.
        dir.metadata(whole).or_else(|_| folder.symlink_metadata(name)).ok()
    };
    let entry = |name: String| metadata(&name).map(|found| Entry { name, metadata: to_wit(&found) });
    // What is gone meanwhile is left out.
    Ok(Page { entries: names.into_iter().filter_map(entry).collect(), more })
}

/// What there is at a path.
pub(super) fn stat(dir: &Dir, path: &str) -> Result<Option<Metadata>> {
    let found = if path.is_empty() { dir.dir_metadata() } else { dir.metadata(path) };
    match found {
        Ok(found) if path.is_empty() && found.nlink() == 0 => Ok(None),
        Ok(found) => Ok(Some(to_wit(&found))),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(explain(error)),
    }
}

/// Whether it was there.
pub(super) fn remove(dir: &Dir, path: &str) -> Result<bool> {
    if path.is_empty() {
        return Err(Error::Denied);
    }
    let (folder, name) = path::parent(path);
    let folder = match open_folder(dir, folder) {
        Err(Error::NotFound) => return Ok(false),
        folder => folder?,
    };
    let removed = match folder.remove_file(name) {
        Err(error) if error.kind() == ErrorKind::IsADirectory => folder.remove_dir(name),
        removed => removed,
    };
    match removed {
        Ok(()) => sync_folder(&folder).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(explain(error)),
    }
}

/// Whether it is new.
pub(super) fn make_directory(dir: &Dir, path: &str) -> Result<bool> {
    if path.is_empty() {
        return Ok(false);
    }
    let (folder, name) = path::parent(path);
    let folder = open_folder(dir, folder)?;
    match folder.create_dir(name) {
        Ok(()) => sync_folder(&folder).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_folder(dir, path).map(|_| false),
        Err(error) => Err(explain(error)),
    }
}

/// Open a regular file, and nothing else: opening a device may do something, and opening a pipe waits for its other end.
fn open(dir: &Dir, path: &str, options: &mut OpenOptions) -> Result<File> {
    if path.is_empty() || dir.metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(Error::NotAFile);
    }
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = dir.open_with(path, options.custom_flags(flags.bits().cast_signed())).map_err(explain)?;
    // It may be another one by now; but then opening it has not waited.
    if file.metadata().map_err(explain)?.is_file() { Ok(file) } else { Err(Error::NotAFile) }
}

fn open_folder(dir: &Dir, path: &str) -> Result<Dir> {
    dir.open_dir(if path.is_empty() { "." } else { path }).map_err(explain)
}

/// Put a change of a directory on the disk.
fn sync_folder(folder: &Dir) -> Result<()> {
    match folder.open(".") {
        Ok(handle) => synced(handle.sync_all()),
        // Who may change it need not be allowed to read it.
        Err(_) => Ok(()),
    }
}

/// What is not on a disk, as `/sys`, cannot be put there: `EINVAL`.
fn synced(result: IoResult<()>) -> Result<()> {
    match result {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::INVAL) => Ok(()),
        result => result.map_err(explain),
    }
}

fn to_wit(found: &Found) -> Metadata {
    let kind = match found.file_type() {
        kind if kind.is_file() => Kind::File,
        kind if kind.is_dir() => Kind::Directory,
        _ => Kind::Other,
    };
    let ms = found.mtime().saturating_mul(1000).saturating_add(found.mtime_nsec() / 1_000_000);
    Metadata {
        kind,
        size: if matches!(kind, Kind::File) { found.size() } else { 0 },
        modified_ms: u64::try_from(ms).unwrap_or(0),
    }
}

/// What an error of the system means to a script. Of those that it can do nothing about it gets the kind; none of them
/// names a path of the host.
fn explain(error: std::io::Error) -> Error {
    match Errno::from_io_error(&error) {
        Some(Errno::NOENT) => Error::NotFound,
        Some(Errno::NOTDIR) => Error::NotADirectory,
        Some(Errno::ISDIR | Errno::NXIO | Errno::NODEV) => Error::NotAFile,
        Some(Errno::NAMETOOLONG) => Error::PathInvalid,
        Some(Errno::ROFS) => Error::ReadOnly,
        Some(Errno::NOTEMPTY | Errno::EXIST) => Error::NotEmpty,
        Some(Errno::ACCESS | Errno::PERM | Errno::LOOP | Errno::XDEV) => Error::Denied,
        // The directory handle itself has found that a link leads out.
        None if error.kind() == ErrorKind::PermissionDenied => Error::Denied,
        _ => {
            tracing::debug!(%error, "an operation on files failed");
            Error::Failed(error.kind().to_string())
        }
    }
}
