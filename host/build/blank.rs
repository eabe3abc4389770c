//! The blank image: a core module that is nothing but a memory with the guest's data segments.

use wasm_encoder::{ConstExpr, DataSection, ExportKind, ExportSection, MemorySection, Module};

use crate::split::Split;

/// Encode the memory that the guest starts from before any script is loaded.
pub(crate) fn encode(split: &Split) -> Vec<u8> {
    let mut memories = MemorySection::new();
    memories.memory(split.memory);
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    let mut data = DataSection::new();
    for (address, bytes) in &split.segments {
        data.active(0, &ConstExpr::i32_const(address.cast_signed()), bytes.iter().copied());
    }
    let mut module = Module::new();
    module.section(&memories).section(&exports).section(&data);
    module.finish()
}
