//! The data directory and the key file: who can use them, and whether a server does.

use std::fs::TryLockError;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::Check;
use crate::config::ServeConfig;
use crate::data_dir;
use crate::secret_key::KEY_FILE;

/// Look at the data directory, without making anything in it.
pub(super) fn checks(config: &ServeConfig) -> Vec<Check> {
    let folder = &config.data_dir;
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let advice = "it has to be a folder: name another with --data-dir";
            return vec![Check::fail("data directory", format!("{shown} is a file"), advice)];
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let found = format!("{shown} is not there yet; the first start makes it");
            return vec![Check::ok("data directory", found)];
        }
        Err(error) => {
            let advice = "run this as the user that the server runs as";
            return vec![Check::fail("data directory", format!("{shown}: {error}"), advice)];
        }
    }
    let key = config.secret_key_file.clone().unwrap_or_else(|| folder.join(KEY_FILE));
    vec![permissions(folder), owner(folder), lock(folder), key_file(&key)]
}

fn permissions(folder: &Path) -> Check {
    let name = "data directory";
    let open = match Dir::open_ambient_dir(folder, ambient_authority()) {
        Ok(dir) => data_dir::open_to_others(&dir),
        Err(error) => {
            let found = format!("{}: {error}", folder.display());
            return Check::fail(name, found, "run this as the user that the server runs as");
        }
    };
    if open.is_empty() {
        return Check::ok(name, format!("{}, for its owner only", folder.display()));
    }
    Check::warn(name, open.join("; "), format!("chmod 700 {}", folder.display()))
}

fn owner(folder: &Path) -> Check {
    let name = "owner";
    let user = rustix::process::geteuid().as_raw();
    match std::fs::metadata(folder).map(|found| found.uid()) {
        Ok(owner) if owner == user => Check::ok(name, "the user that this runs as"),
        Ok(owner) => Check::warn(
            name,
            format!("the data directory belongs to user {owner}, and this runs as {user}"),
            "run the server, and this, as the owner",
        ),
        Err(error) => Check::warn(name, error.to_string(), "look with `ls -ld`"),
    }
}

/// The lock is let go at once if it can be had.
fn lock(folder: &Path) -> Check {
    let name = "lock";
    let file = match std::fs::OpenOptions::new().write(true).open(folder.join("lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Check::ok(name, "no server has used the data directory yet");
        }
        Err(error) => {
            return Check::warn(name, error.to_string(), "run this as the user that the server runs as");
        }
    };
    match file.try_lock() {
        Ok(()) => Check::ok(name, "no server uses the data directory"),
        Err(TryLockError::WouldBlock) => Check::ok(name, "a server uses the data directory"),
        Err(TryLockError::Error(error)) => {
            Check::fail(name, error.to_string(), "put the data directory on a file system with locks")
        }
    }
}

fn key_file(path: &Path) -> Check {
    let name = "key of secrets";
    match std::fs::metadata(path) {
        Ok(found) if found.mode() & 0o077 != 0 => Check::warn(
            name,
            format!("others can use {}", path.display()),
            format!("chmod 600 {}", path.display()),
        ),
        Ok(found) if !found.is_file() => {
            Check::fail(name, format!("{} is no file", path.display()), "name another with --secret-key-file")
        }
        Ok(_) => Check::ok(name, format!("{}, for its owner only; keep a copy of it", path.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::ok(name, format!("{} is not there yet; the first start makes it", path.display()))
        }
        Err(error) => Check::fail(
            name,
            format!("{}: {error}", path.display()),
            "run this as the user that the server runs as",
        ),
    }
}
