//! The disk of the data directory: how much is free, whether SQLite can live on it, and how long it takes to keep
//! something.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Check;
use crate::output::text::bytes;

/// Under this the databases soon have no room.
const LEAST_FREE: u64 = 64 << 20;
/// What telemetry may take with its defaults, and as much for the rest.
const LITTLE_FREE: u64 = 512 << 20;
/// As SQLite writes: a page, then its header.
const PAGE: usize = 4096;
/// How often the disk is asked to keep a page.
const TRIES: usize = 16;
/// A commit that takes longer is felt.
const SLOW: Duration = Duration::from_millis(50);

/// Look at the disk that the data directory is on, or will be.
pub(super) fn checks(data_dir: &Path) -> Vec<Check> {
    let Some(folder) = existing(data_dir) else { return Vec::new() };
    vec![free(&folder), file_system(&folder), durability(&folder)]
}

/// The folder itself, or the nearest above it that is there.
fn existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find(|folder| folder.is_dir()).map(Path::to_owned)
}

fn free(folder: &Path) -> Check {
    let name = "free space";
    match rustix::fs::statvfs(folder) {
        Ok(found) => free_bytes(found.f_bavail.saturating_mul(found.f_frsize)),
        Err(error) => Check::warn(name, format!("cannot be told: {error}"), "look with `df`"),
    }
}

fn free_bytes(free: u64) -> Check {
    let advice = "make room, or put the data directory on another disk";
    match free {
        ..LEAST_FREE => Check::fail("free space", bytes(free), advice),
        LEAST_FREE..LITTLE_FREE => Check::warn("free space", bytes(free), advice),
        _ => Check::ok("free space", bytes(free)),
    }
}

fn file_system(folder: &Path) -> Check {
    match rustix::fs::statfs(folder) {
        #[allow(clippy::unnecessary_cast, reason = "its type differs between architectures")]
        Ok(found) => file_system_of(found.f_type as u64 & 0xffff_ffff),
        Err(error) => Check::warn(
            "file system",
            format!("cannot be told: {error}"),
            "it should be on a disk of this machine",
        ),
    }
}

/// The kernel's numbers (`statfs(2)`), as far as they say something.
fn file_system_of(kind: u64) -> Check {
    let name = "file system";
    let remote =
        "SQLite needs a disk of this machine: its locks and its shared memory do not work over a network";
    match kind {
        0xef53 => Check::ok(name, "ext4, or an older ext"),
        0x9123_683e => Check::ok(name, "btrfs"),
        0x5846_5342 => Check::ok(name, "XFS"),
        0xf2f5_2010 => Check::ok(name, "F2FS"),
        0x2fc1_2fc1 => Check::ok(name, "ZFS"),
        0x794c_7630 => Check::warn(
            name,
            "overlayfs",
            "in a container, what is in it is lost with the container: mount a volume",
        ),
        0x0102_1994 | 0x8584_58f6 => {
            Check::warn(name, "in memory", "everything is lost when the power goes: use a disk")
        }
        0x6969 => Check::fail(name, "NFS", remote),
        0xff53_4d42 | 0xfe53_4d42 | 0x517b => Check::fail(name, "SMB", remote),
        0x0102_1997 => Check::fail(name, "9p", remote),
        0x6573_5546 => Check::warn(
            name,
            "FUSE",
            "make sure that it is no network behind it, and that it keeps what is synced",
        ),
        0x4d44 | 0x2011_bab0 => Check::fail(
            name,
            "FAT",
            "it knows no owners, so that everybody could read the keys: use ext4, say",
        ),
        other => Check::ok(name, format!("of a kind that is not known here ({other:#x})")),
    }
}

/// What a commit waits for.
fn durability(folder: &Path) -> Check {
    match measure(folder) {
        Ok(times) => keeping(times),
        Err(error) => Check::fail(
            "fsync",
            format!("cannot write to {}: {error}", folder.display()),
            "run this as the user that the server runs as, or correct the permissions",
        ),
    }
}

/// How long the disk took to keep a page, each time. The file has no name, or loses it at once.
fn measure(folder: &Path) -> std::io::Result<Vec<Duration>> {
    let mut file = tempfile::tempfile_in(folder)?;
    let page = [0x55; PAGE];
    let mut times = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        file.write_all(&page)?;
        let begun = Instant::now();
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

fn keeping(mut times: Vec<Duration>) -> Check {
    times.sort();
    let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
    let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1000.0);
    let found = format!("{} in the middle, {} at most, of {} times", ms(median), ms(most), times.len());
    if median > SLOW {
        return Check::warn(
            "fsync",
            found,
            "each call that writes waits for this: an SSD takes a tenth of it; SD cards differ much",
        );
    }
    Check::ok("fsync", found)
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn what_sqlite_cannot_live_on_fails() {
        for (kind, state) in [
            (0xef53, State::Ok),
            (0x6969, State::Fail),
            (0xff53_4d42, State::Fail),
            (0x4d44, State::Fail),
            (0x0102_1994, State::Warn),
            (0x1234, State::Ok),
        ] {
            assert_eq!(file_system_of(kind).state, state, "{kind:#x}");
        }
    }

    #[test]
    fn a_full_disk_fails_and_a_slow_one_is_told() {
        assert_eq!(free_bytes(1 << 20).state, State::Fail);
        assert_eq!(free_bytes(100 << 20).state, State::Warn);
        assert_eq!(free_bytes(10 << 30).state, State::Ok);
        assert_eq!(keeping(vec![Duration::from_millis(80); 3]).state, State::Warn);
        let mostly_fast =
            vec![Duration::from_micros(900), Duration::from_micros(800), Duration::from_secs(1)];
        let check = keeping(mostly_fast);
        assert_eq!(check.state, State::Ok);
        assert_eq!(check.found, "0.90 ms in the middle, 1000.00 ms at most, of 3 times");
    }

    #[test]
    fn measuring_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let times = measure(folder.path()).unwrap();
        assert_eq!(times.len(), TRIES);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(durability(Path::new("/proc")).state, State::Fail);
    }

    #[test]
    fn a_data_directory_that_is_still_to_be_made_counts_as_the_folder_above() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(existing(&folder.path().join("a/b")).unwrap(), folder.path());
    }
}
