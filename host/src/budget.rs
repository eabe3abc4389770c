//! How many sandboxes fit into this machine: probed once at start, from address space, memory and processors.
//!
//! wasmtime's fastest code needs 4 GiB of address space for each memory, so that an out-of-bounds address always hits a
//! guard page and needs no check. Kernels with 39-bit user addresses (Raspberry Pi OS) or a limit (`ulimit -v`) have no
//! room for many of those; then slots are as small as the memory limit, and the code checks its addresses.

use std::fmt;

use rustix::mm::{MapFlags, ProtFlags};

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// What a slot needs when addresses are not checked: 32-bit addresses plus the guard.
const WIDE_SLOT: u64 = 4 * GIB + WIDE_GUARD;
/// Behind a wide slot: accesses with a constant offset up to this size need no check either.
const WIDE_GUARD: u64 = 32 * MIB;
/// Behind a narrow slot.
const NARROW_GUARD: u64 = 64 << 10;
/// Below this many wide slots, narrow ones are used instead: waiting for a slot costs more than checks.
const ENOUGH_WIDE_SLOTS: u64 = 16;
/// No machine that this is for has a use for more.
const MAX_SLOTS: u64 = 256;
/// Even the smallest machine gets these.
const MIN_SLOTS: u64 = 4;
/// The first reservation that is tried: half of 47-bit user addresses.
const LARGEST_PROBE: u64 = 1 << 46;
/// How exactly address space is measured.
const SMALLEST_PROBE: u64 = 64 * MIB;

/// How slots are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// 4 GiB each; addresses are not checked.
    Wide,
    /// As large as the memory limit; addresses are checked.
    Narrow,
}

/// What the machine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Address space that can be reserved, in bytes.
    pub address_space: u64,
    /// Memory that this process may use, in bytes: of the machine or of its control group, whichever is less.
    pub memory: u64,
    /// Size of a page in bytes.
    pub page_size: u64,
    /// Processors that this process may use.
    pub cpus: u64,
    /// How slots are laid out.
    pub layout: Layout,
    /// How many sandboxes can exist at the same time.
    pub slots: u32,
    /// The largest memory of one sandbox, in bytes.
    pub slot_memory: u64,
}

impl Budget {
    /// Look at the machine. `slot_memory` is the memory limit of one call.
    #[must_use]
    pub fn probe(slot_memory: u64) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        Self::fit(address_space(), memory(), rustix::param::page_size() as u64, cpus, slot_memory)
    }

    /// Fit slots into what there is. Half of the address space and half of the memory are left to everything else.
    fn fit(address_space: u64, memory: u64, page_size: u64, cpus: u64, slot_memory: u64) -> Self {
        let wanted = (memory / 2 / slot_memory).clamp(MIN_SLOTS, MAX_SLOTS);
        let wide = address_space / 2 / WIDE_SLOT;
        let (layout, fitting) = if wide >= ENOUGH_WIDE_SLOTS.min(wanted) {
            (Layout::Wide, wide)
        } else {
            (Layout::Narrow, address_space / 2 / (slot_memory + NARROW_GUARD))
        };
        // One for each kind.
        let slots = u32::try_from(wanted.min(fitting).max(3)).unwrap_or(3);
        Self { address_space, memory, page_size, cpus, layout, slots, slot_memory }
    }

    /// How many sandboxes are kept for loading scripts: an upload must not have to wait for calls, nor calls for it.
    #[must_use]
    pub fn load_slots(&self) -> usize {
        (self.slots as usize).div_ceil(8)
    }

    /// How many sandboxes are kept for scripts that other scripts call: whoever calls one keeps its own meanwhile, so these
    /// must not be taken by calls that have only begun.
    #[must_use]
    pub fn nested_slots(&self) -> usize {
        ((self.slots as usize - self.load_slots()) / 4).max(1)
    }

    /// How many sandboxes calls may use at the same time.
    #[must_use]
    pub fn call_slots(&self) -> usize {
        (self.slots as usize).saturating_sub(self.load_slots() + self.nested_slots())
    }

    /// Address space for one memory without its guard, in bytes.
    pub(crate) fn reservation(&self) -> u64 {
        match self.layout {
            Layout::Wide => 4 * GIB,
            Layout::Narrow => self.slot_memory,
        }
    }

    /// Size of the guard behind each memory, in bytes.
    pub(crate) fn guard(&self) -> u64 {
        match self.layout {
            Layout::Wide => WIDE_GUARD,
            Layout::Narrow => NARROW_GUARD,
        }
    }
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} sandboxes of {} MiB ({} slots), address space {} GiB, memory {} MiB, pages of {} KiB, {} processors",
            self.slots,
            self.slot_memory / MIB,
            match self.layout {
                Layout::Wide => "wide",
                Layout::Narrow => "narrow",
            },
            self.address_space / GIB,
            self.memory / MIB,
            self.page_size >> 10,
            self.cpus,
        )
    }
}

/// Whether the kernel can tell which pages a call has changed (`PAGEMAP_SCAN`). Only then is it worth it to keep the pages
/// of a sandbox for the next call.
#[must_use]
pub fn pagemap_scan_is_available() -> bool {
    wasmtime::PoolingAllocationConfig::is_pagemap_scan_available()
}

/// How much address space can be reserved in one piece now, in bytes, to within `SMALLEST_PROBE`.
///
/// Asking the kernel covers what no single number tells: the width of addresses, `ulimit -v`, and what is in use.
fn address_space() -> u64 {
    let mut found = 0;
    let mut step = LARGEST_PROBE;
    while step >= SMALLEST_PROBE {
        if can_reserve(found + step) {
            found += step;
        }
        step /= 2;
    }
    found
}

#[allow(unsafe_code, reason = "reserving address space is the only way to learn how much there is")]
fn can_reserve(size: u64) -> bool {
    let Ok(size) = usize::try_from(size) else { return false };
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing, and nobody uses it.
    let mapping = unsafe {
        rustix::mm::mmap_anonymous(
            std::ptr::null_mut(),
            size,
            ProtFlags::empty(),
            MapFlags::PRIVATE | MapFlags::NORESERVE,
        )
    };
    let Ok(address) = mapping else { return false };
    // SAFETY: exactly the mapping made above, which nobody else knows.
    let _ = unsafe { rustix::mm::munmap(address, size) };
    true
}

/// The machine's memory or the control group's limit, whichever is less, in bytes.
fn memory() -> u64 {
    let total = read("/proc/meminfo").and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    });
    let total = total.map_or(GIB, |kib| kib * 1024);
    control_group_limit().map_or(total, |limit| limit.min(total))
}

/// `memory.max` of this process's control group (version 2) and of those above it.
fn control_group_limit() -> Option<u64> {
    let groups = read("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let limit = |group: &str| read(&format!("/sys/fs/cgroup{group}/memory.max"))?.trim().parse::<u64>().ok();
    let ancestors = std::path::Path::new(own).ancestors().filter_map(|path| path.to_str());
    ancestors.filter_map(|group| limit(group.trim_end_matches('/'))).min()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: u64 = 64 * MIB;

    #[test]
    fn a_large_machine_gets_wide_slots() {
        let budget = Budget::fit(1 << 46, 24 * GIB, 4096, 2, SLOT);
        assert_eq!((budget.layout, budget.slots), (Layout::Wide, 192));
    }

    #[test]
    fn thirty_nine_bits_of_address_still_hold_wide_slots() {
        let budget = Budget::fit(512 * GIB, 8 * GIB, 16384, 4, SLOT);
        assert_eq!((budget.layout, budget.slots), (Layout::Wide, 63));
    }

    #[test]
    fn a_tight_limit_gets_narrow_slots() {
        let budget = Budget::fit(64 * GIB, 24 * GIB, 4096, 2, SLOT);
        assert_eq!((budget.layout, budget.slots), (Layout::Narrow, 192));
    }

    #[test]
    fn a_small_board_gets_few() {
        assert_eq!(Budget::fit(512 * GIB, GIB, 4096, 4, SLOT).slots, 8);
        assert_eq!(Budget::fit(512 * GIB, GIB / 4, 4096, 1, SLOT).slots, 4);
    }

    #[test]
    fn this_machine_has_room_for_a_call_and_a_load_at_least() {
        let budget = Budget::probe(SLOT);
        assert!(budget.call_slots() >= 1 && budget.nested_slots() >= 1 && budget.load_slots() >= 1);
    }

    #[test]
    fn calls_and_loads_share_the_slots() {
        for memory in [GIB / 4, GIB, 24 * GIB] {
            let budget = Budget::fit(512 * GIB, memory, 4096, 4, SLOT);
            let all = budget.call_slots() + budget.nested_slots() + budget.load_slots();
            assert_eq!(all, budget.slots as usize);
        }
        assert_eq!(Budget::fit(0, 0, 4096, 1, SLOT).call_slots(), 1);
    }
}
