//! The wasmtime engine and the guest's compiled code, which every script shares.

use anyhow::{Context as _, Result};
use wasmtime::component::Component;
use wasmtime::{Config, Enabled, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::aot::AotCache;
use crate::budget::{self, Budget};
use crate::guest::COMPONENT;

/// Stack for the guest's code, in bytes. Rhai's own depth limits end before it does.
const WASM_STACK: usize = 1 << 20;

/// Stack of the fiber that a call runs on: the guest's and what host functions need on top.
const FIBER_STACK: usize = WASM_STACK + (1 << 20);

/// How much of a slot's memory stays mapped after a call, in bytes. Images are smaller; what is beyond is given back.
const KEEP_RESIDENT: usize = 1 << 20;

/// How many slots keep their pages for the next call. Each may hold up to `KEEP_RESIDENT`.
const WARM_SLOTS_PER_CPU: u64 = 8;

/// Core instances of one sandbox: image, allocator, guest.
const CORE_INSTANCES: u32 = 3;

/// Tables of one sandbox: the allocator's and the guest's.
const TABLES: u32 = 2;

/// Compile settings, the pool of slots, and the guest's code. Cheap to clone.
#[derive(Clone)]
pub(crate) struct GuestEngine {
    pub(crate) engine: wasmtime::Engine,
    pub(crate) component: Component,
}

impl GuestEngine {
    /// Make the engine and take the guest's code from the cache, or compile it (seconds) and put it there.
    pub(crate) fn new(budget: &Budget, cache: &AotCache) -> Result<Self> {
        anyhow::ensure!(
            !COMPONENT.is_empty(),
            "this build has no guest: the target wasm32-wasip1 was missing"
        );
        let engine = wasmtime::Engine::new(&config(budget))
            .map_err(anyhow::Error::from)
            .context("cannot make the WebAssembly engine")?;
        let component = cache.component(&engine, COMPONENT)?;
        Ok(Self { engine, component })
    }
}

fn config(budget: &Budget) -> Config {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        // The bits of a NaN would otherwise differ between processors, and fuel with them.
        .cranelift_nan_canonicalization(true)
        .cranelift_opt_level(OptLevel::Speed)
        .generate_address_map(false)
        .memory_init_cow(true)
        // Images are mapped, never copied, however sparse they are.
        .memory_guaranteed_dense_image_size(budget.slot_memory)
        .memory_reservation(budget.reservation())
        .memory_guard_size(budget.guard())
        .guard_before_linear_memory(false)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool(budget)));
    config
}

fn pool(budget: &Budget) -> PoolingAllocationConfig {
    let slots = budget.slots;
    let warm = u32::try_from((budget.cpus * WARM_SLOTS_PER_CPU).min(u64::from(slots))).unwrap_or(slots);
    // Keeping pages without PAGEMAP_SCAN copies all of them at every reset, which is slower than page faults.
    let scan = budget::pagemap_scan_is_available();
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(slots)
        .total_core_instances(slots * CORE_INSTANCES)
        .total_memories(slots)
        .total_tables(slots * TABLES)
        .total_stacks(slots)
        .max_core_instances_per_component(CORE_INSTANCES)
        .max_memories_per_component(1)
        .max_tables_per_component(TABLES)
        .max_memory_size(usize::try_from(budget.slot_memory).unwrap_or(usize::MAX))
        .max_unused_warm_slots(warm)
        .pagemap_scan(if scan { Enabled::Auto } else { Enabled::No })
        .linear_memory_keep_resident(if scan { KEEP_RESIDENT } else { 0 })
        .table_keep_resident(1 << 14)
        .async_stack_keep_resident(1 << 16);
    pool
}
