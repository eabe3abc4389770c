//! Whether memory runs short: asked before a call begins, so that calls are turned away before the kernel ends the process.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A reading is good for so long.
const FRESH: Duration = Duration::from_millis(100);

/// Of all memory so many hundredths are kept free where nothing else is configured, ...
const RESERVE_PERCENT: u64 = 5;

/// ... and not more than this.
const MOST_RESERVE: u64 = 64 << 20;

/// Watches the memory that the system has left. It reads only when it is asked, and not each time.
#[derive(Debug)]
pub struct Pressure {
    files: Files,
    reserve: u64,
    began: Instant,
    /// When it was last read, in milliseconds since `began`, and one more: 0 is never.
    read_ms: AtomicU64,
    high: AtomicBool,
}

impl Pressure {
    /// Keep `reserve` bytes free; none: the smaller of 5 % of the memory and 64 MiB; 0: never mind. `root` is where
    /// `proc` and `sys` are: `/`, but for tests.
    #[must_use]
    pub fn new(root: &Path, reserve: Option<u64>) -> Self {
        let files = Files::under(root);
        let share = || files.total().map_or(0, |total| (total / 100 * RESERVE_PERCENT).min(MOST_RESERVE));
        let reserve = reserve.unwrap_or_else(share);
        Self {
            files,
            reserve,
            began: Instant::now(),
            read_ms: AtomicU64::new(0),
            high: AtomicBool::new(false),
        }
    }

    /// Whether there is less memory left than has to stay free. Where the system does not say, there is enough.
    pub(crate) fn is_high(&self) -> bool {
        if self.reserve == 0 {
            return false;
        }
        let now_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1);
        let read_ms = self.read_ms.load(Ordering::Relaxed);
        let stale = read_ms == 0 || u128::from(now_ms.saturating_sub(read_ms)) >= FRESH.as_millis();
        // Of those who ask at the same time one reads.
        let mine =
            || self.read_ms.compare_exchange(read_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if stale && mine() {
            let high = self.files.available().is_some_and(|available| available < self.reserve);
            if self.high.swap(high, Ordering::Relaxed) != high {
                match high {
                    true => tracing::warn!(
                        reserve_bytes = self.reserve,
                        "memory runs short: calls are turned away"
                    ),
                    false => tracing::info!("there is enough memory again"),
                }
            }
        }
        self.high.load(Ordering::Relaxed)
    }
}

/// Where the system says how much memory there is.
#[derive(Debug)]
struct Files {
    meminfo: PathBuf,
    /// The control groups (version 2) around this process that have a limit.
    groups: Vec<PathBuf>,
}

impl Files {
    fn under(root: &Path) -> Self {
        let own = std::fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).map(Path::new);
        let groups = own.into_iter().flat_map(Path::ancestors);
        let groups = groups.map(|group| root.join("sys/fs/cgroup").join(group));
        let groups = groups.filter(|group| number(&group.join("memory.max")).is_some()).collect();
        Self { meminfo: root.join("proc/meminfo"), groups }
    }

    /// All memory that this process could ever have, in bytes.
    fn total(&self) -> Option<u64> {
        let limits = self.groups.iter().filter_map(|group| number(&group.join("memory.max")));
        limits.chain(self.of_machine("MemTotal:")).min()
    }

    /// What is left of it, in bytes: the least of what the machine and each control group have.
    fn available(&self) -> Option<u64> {
        let groups = self.groups.iter().filter_map(|group| left(group));
        groups.chain(self.of_machine("MemAvailable:")).min()
    }

    fn of_machine(&self, name: &str) -> Option<u64> {
        let text = std::fs::read_to_string(&self.meminfo).ok()?;
        field(&text, name)?.checked_mul(1024)
    }
}

/// What a control group has left. Pages of files that nobody has used of late are taken back before anything is killed, so
/// they count as free.
fn left(group: &Path) -> Option<u64> {
    let most = number(&group.join("memory.max"))?;
    let used = number(&group.join("memory.current"))?;
    let stat = std::fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    let reclaimable = field(&stat, "inactive_file ").unwrap_or(0);
    Some(most.saturating_sub(used.saturating_sub(reclaimable)))
}

/// The number in a file; none when there is another word, such as `max`.
fn number(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// The number behind a name at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A machine with 1 GiB, of which this much is left.
    fn machine(available: u64) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let meminfo =
            format!("MemTotal:  1048576 kB\nMemFree:  1 kB\nMemAvailable:  {} kB\n", available / 1024);
        write(root.path(), "proc/meminfo", &meminfo);
        root
    }

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    /// A group `a` with a limit of 400 MiB, with this process in `a/b`, which has none.
    fn group(root: &Path, used: u64, inactive_file: u64) {
        write(root, "proc/self/cgroup", "0::/a/b\n");
        write(root, "sys/fs/cgroup/a/b/memory.max", "max\n");
        write(root, "sys/fs/cgroup/a/memory.max", &format!("{}\n", 400 * MIB));
        write(root, "sys/fs/cgroup/a/memory.current", &format!("{used}\n"));
        let stat = format!("anon 1\ninactive_file {inactive_file}\nactive_file 7\n");
        write(root, "sys/fs/cgroup/a/memory.stat", &stat);
    }

    fn is_high(root: &Path, reserve: Option<u64>) -> bool {
        Pressure::new(root, reserve).is_high()
    }

    #[test]
    fn a_board_keeps_a_twentieth_free() {
        assert!(is_high(machine(51 * MIB).path(), None));
        assert!(!is_high(machine(52 * MIB).path(), None));
    }

    #[test]
    fn what_is_configured_wins_and_zero_switches_off() {
        assert!(is_high(machine(99 * MIB).path(), Some(100 * MIB)));
        assert!(!is_high(machine(0).path(), Some(0)));
    }

    #[test]
    fn a_large_machine_keeps_no_more_than_it_must() {
        let root = machine(0);
        write(root.path(), "proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 65535 kB\n");
        assert!(is_high(root.path(), None));
        write(root.path(), "proc/meminfo", "MemTotal: 33554432 kB\nMemAvailable: 65536 kB\n");
        assert!(!is_high(root.path(), None));
    }

    #[test]
    fn a_limit_above_the_own_group_binds_and_file_cache_is_free() {
        let root = machine(900 * MIB);
        group(root.path(), 390 * MIB, 9 * MIB);
        assert!(is_high(root.path(), None), "19 MiB of 400 are less than 20");
        group(root.path(), 390 * MIB, 11 * MIB);
        assert!(!is_high(root.path(), None), "21 MiB are left");
        assert!(is_high(root.path(), Some(22 * MIB)));
    }

    #[test]
    fn the_machine_binds_where_the_group_has_room() {
        let root = machine(10 * MIB);
        group(root.path(), MIB, 0);
        assert!(is_high(root.path(), None));
    }

    #[test]
    fn a_system_that_does_not_say_has_enough() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_high(root.path(), None) && !is_high(root.path(), Some(MIB)));
    }

    #[tokio::test]
    async fn a_reading_is_kept_for_a_moment() {
        let root = machine(0);
        let pressure = Pressure::new(root.path(), None);
        assert!(pressure.is_high());
        write(root.path(), "proc/meminfo", "MemTotal: 1048576 kB\nMemAvailable: 999999 kB\n");
        let until = Instant::now() + Duration::from_secs(10);
        while pressure.is_high() {
            assert!(Instant::now() < until, "it never looked again");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(pressure.began.elapsed() >= FRESH);
    }
}
