//! What the machine has: address space, memory, processors, what the kernel can do, open files.

use picloud_host::budget::{self, Budget, Layout};
use rustix::fs::MemfdFlags;
use rustix::process::{Resource, getrlimit};

use super::Check;
use crate::output::text::bytes;

/// Under this even the smallest number of sandboxes leaves nothing to the rest.
const LEAST_MEMORY: u64 = 128 << 20;
/// Under this there are few sandboxes.
const LITTLE_MEMORY: u64 = 512 << 20;
/// Each connection is an open file, and the databases are some.
const FEW_FILES: u64 = 1024;

/// Look at the machine; `slot_memory` is the memory limit of one call, in bytes.
pub(super) fn checks(slot_memory: u64) -> Vec<Check> {
    let budget = Budget::probe(slot_memory);
    vec![
        address_space(&budget),
        page_size(budget.page_size),
        memory(&budget),
        Check::ok("processors", budget.cpus.to_string()),
        kernel(),
        page_scan(budget::pagemap_scan_is_available()),
        memory_files(),
        open_files(getrlimit(Resource::Nofile).current),
    ]
}

fn address_space(budget: &Budget) -> Check {
    let found = format!("{}, room for {} sandboxes", bytes(budget.address_space), budget.slots);
    match budget.layout {
        Layout::Wide => Check::ok("address space", found),
        Layout::Narrow => Check::warn(
            "address space",
            format!("{found}, whose code has to check its addresses"),
            "calls take longer this way: raise `ulimit -v` if it is set, or use a kernel with wider addresses",
        ),
    }
}

fn page_size(size: u64) -> Check {
    match size {
        4096 | 16_384 | 65_536 => Check::ok("page size", bytes(size)),
        _ => Check::warn("page size", bytes(size), "this size is not tested; please tell how it went"),
    }
}

fn memory(budget: &Budget) -> Check {
    let found = format!("{} for this process", bytes(budget.memory));
    let advice =
        "raise the limit of the control group (memory.max, MemoryMax=), or lower --limit memory-bytes";
    match budget.memory {
        ..LEAST_MEMORY => Check::fail("memory", found, advice),
        LEAST_MEMORY..LITTLE_MEMORY => {
            Check::warn("memory", format!("{found}: few calls run at once"), advice)
        }
        _ => Check::ok("memory", found),
    }
}

fn kernel() -> Check {
    let name = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    Check::ok("kernel", format!("{} {} {}", text(name.sysname()), text(name.release()), text(name.machine())))
}

fn page_scan(available: bool) -> Check {
    if available {
        return Check::ok("PAGEMAP_SCAN", "available");
    }
    Check::warn(
        "PAGEMAP_SCAN",
        "not available: each call costs page faults",
        "Linux 6.7 and newer have it; a container's seccomp profile may forbid it",
    )
}

/// Images are mapped from such files.
fn memory_files() -> Check {
    match rustix::fs::memfd_create("picloud-doctor", MemfdFlags::CLOEXEC) {
        Ok(_) => Check::ok("memfd_create", "available"),
        Err(error) => Check::warn(
            "memfd_create",
            format!("not available ({error}): images are copied, not mapped"),
            "a container's seccomp profile may forbid it",
        ),
    }
}

fn open_files(limit: Option<u64>) -> Check {
    match limit {
        None => Check::ok("open files", "no limit"),
        Some(limit) if limit < FEW_FILES => Check::warn(
            "open files",
            format!("at most {limit}, so there can be fewer connections"),
            "raise `ulimit -n` (LimitNOFILE= in a unit of systemd)",
        ),
        Some(limit) => Check::ok("open files", format!("at most {limit}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_small_machine_is_told_what_to_do() {
        let mut budget = Budget::probe(64 << 20);
        let state = |budget: &Budget| (memory(budget).state, address_space(budget).state);
        (budget.memory, budget.layout) = (4 << 30, Layout::Wide);
        assert_eq!(state(&budget), (State::Ok, State::Ok));
        (budget.memory, budget.layout) = (256 << 20, Layout::Narrow);
        assert_eq!(state(&budget), (State::Warn, State::Warn));
        budget.memory = 64 << 20;
        let check = memory(&budget);
        assert!(check.state == State::Fail && check.advice.unwrap().contains("MemoryMax"));
    }

    #[test]
    fn what_the_kernel_lacks_is_told() {
        assert_eq!(page_scan(false).state, State::Warn);
        assert_eq!(page_scan(true).state, State::Ok);
        assert_eq!(open_files(Some(256)).state, State::Warn);
        assert_eq!(open_files(Some(1024)).state, State::Ok);
        assert_eq!(page_size(8192).state, State::Warn);
    }
}
