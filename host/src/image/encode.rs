//! Encodes captured memory as a core module that is nothing but a memory with data.

use wasm_encoder::{ConstExpr, DataSection, ExportKind, ExportSection, MemorySection, MemoryType, Module};

/// Size of a page of WebAssembly memory, in bytes.
const WASM_PAGE: usize = 65536;

/// What is zero for so many bytes, from an address that is a multiple of it, is left out. The smallest page of the
/// processors that matter: a larger one would still be right, only less exact.
const GRAIN: usize = 4096;

/// Encode memory whose byte 0 lies at address `offset`, and which reaches to the end of the linear memory.
pub(crate) fn encode(offset: u32, memory: &[u8]) -> Vec<u8> {
    let pages = (offset as usize + memory.len()).div_ceil(WASM_PAGE);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: pages as u64,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    let mut data = DataSection::new();
    for (start, bytes) in runs(memory) {
        // An address below 4 GiB; as a constant of WebAssembly it is signed.
        let address = offset.wrapping_add(start as u32).cast_signed();
        data.active(0, &ConstExpr::i32_const(address), bytes.iter().copied());
    }
    let mut module = Module::new();
    module.section(&memories).section(&exports).section(&data);
    module.finish()
}

/// How many bytes of a memory are in its image.
pub(crate) fn resident_bytes(memory: &[u8]) -> u64 {
    runs(memory).map(|(_, bytes)| bytes.len() as u64).sum()
}

/// The stretches of grains that are not zero, each with where it starts.
fn runs(memory: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let is_zero = |start: usize| memory[start..memory.len().min(start + GRAIN)].iter().all(|byte| *byte == 0);
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < memory.len() && is_zero(at) {
            at += GRAIN;
        }
        if at >= memory.len() {
            return None;
        }
        let start = at;
        while at < memory.len() && !is_zero(at) {
            at += GRAIN;
        }
        Some((start, &memory[start..at.min(memory.len())]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_grains_are_left_out_and_neighbours_joined() {
        let mut memory = vec![0; 5 * GRAIN + 7];
        memory[GRAIN] = 1;
        memory[3 * GRAIN - 1] = 1;
        memory[5 * GRAIN + 6] = 1;
        let found: Vec<_> = runs(&memory).map(|(start, bytes)| (start, bytes.len())).collect();
        assert_eq!(found, [(GRAIN, 2 * GRAIN), (5 * GRAIN, 7)]);
        assert_eq!(resident_bytes(&memory), 2 * GRAIN as u64 + 7);
    }

    #[test]
    fn nothing_but_zeros_has_no_runs() {
        assert_eq!(runs(&[0; 3 * GRAIN]).count(), 0);
        assert_eq!(runs(&[]).count(), 0);
    }
}
