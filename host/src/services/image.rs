//! The interface `image`: a loaded script hands over its memory.

use picloud_sdk_wit::picloud::sdk::image::Host;

use crate::sandbox::{CallState, Capture, Mode};

/// Size of a page of WebAssembly memory, in bytes.
const WASM_PAGE: usize = 65536;

/// The part of the memory that is handed over starts after the stack, which the linker aligns to this.
const ALIGNMENT: u32 = 16;

impl Host for CallState {
    fn capture(&mut self, offset: u32, memory: Vec<u8>) -> wasmtime::Result<()> {
        let Mode::Load(capture @ Capture::Allowed) = &mut self.mode else {
            return Err(wasmtime::Error::msg("memory was handed over outside a load, or twice"));
        };
        let size = (offset as usize).saturating_add(memory.len());
        // `peak` is the size of the memory now: it never shrinks.
        if !offset.is_multiple_of(ALIGNMENT)
            || !size.is_multiple_of(WASM_PAGE)
            || size as u64 != self.memory.peak
        {
            return Err(wasmtime::Error::msg("what was handed over is not the memory"));
        }
        *capture = Capture::Done { offset, memory };
        Ok(())
    }
}
