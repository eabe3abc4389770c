//! The sandbox's compiled code, shared by the data directories of all tests, so that it is compiled once and a server
//! starts in milliseconds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::sync::Mutex;

/// Whether this process has made sure that the shared folder is not out of date.
static WARM: Mutex<bool> = Mutex::const_new(false);

/// Start something that uses the cache of a data directory, with the cache filled. The first start of a process may
/// have to compile, so the others, in this process and in others, wait for it.
pub(crate) async fn with_cache<T>(data_dir: &Path, start: impl Future<Output = T>) -> T {
    let cache = data_dir.join("cache");
    let mut warm = WARM.lock().await;
    if *warm {
        drop(warm);
        copy_missing(&shared(), &cache).expect("the cache of compiled code can be filled");
        return start.await;
    }
    fs::create_dir_all(shared()).expect("the folder for compiled code can be made");
    let lock = fs::File::create(shared().with_extension("lock")).expect("the lock of the folder can be made");
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await;
    let _lock = lock.expect("the task ends").expect("the folder for compiled code can be locked");
    copy_missing(&shared(), &cache).expect("the cache of compiled code can be filled");
    let started = start.await;
    if !names(&cache).iter().all(|name| shared().join(name).exists()) {
        // What is there belongs to an older guest.
        for old in names(&shared()) {
            fs::remove_file(shared().join(old)).expect("old compiled code can be removed");
        }
        copy_missing(&cache, &shared()).expect("the compiled code can be kept");
    }
    *warm = true;
    started
}

/// Fill the cache of a data directory with what there is, for a server that may need other code than the rest: what it
/// compiles is not shared.
pub(crate) fn fill_cache(data_dir: &Path) {
    copy_missing(&shared(), &data_dir.join("cache")).expect("the cache of compiled code can be filled");
}

/// Fill the cache that commands without a server have in this home directory.
pub(crate) fn fill_user_cache(home: &Path) {
    copy_missing(&shared(), &home.join(".cache/picloud")).expect("the cache of compiled code can be filled");
}

/// In the target directory, beside the test binaries.
fn shared() -> PathBuf {
    let binary = std::env::current_exe().expect("a test knows its binary");
    binary.parent().expect("a binary is in a folder").join("picloud-test-aot")
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| !name.to_string_lossy().ends_with(".tmp"))
        .collect()
}

/// Copies, not links: a test may damage the file.
fn copy_missing(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for name in names(from) {
        if !to.join(&name).exists() {
            let temporary = to.join(&name).with_added_extension("tmp");
            fs::copy(from.join(&name), &temporary)?;
            fs::rename(temporary, to.join(&name))?;
        }
    }
    Ok(())
}
