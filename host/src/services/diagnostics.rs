//! The interface `diagnostics`: what the interpreter reports about itself.

use picloud_sdk_wit::picloud::sdk::diagnostics::Host;

use crate::sandbox::CallState;

/// A longer message is not kept: the guest could have been made to write anything.
const MAX_BYTES: usize = 4096;

impl Host for CallState {
    fn panicked(&mut self, mut message: String) -> wasmtime::Result<()> {
        message.truncate(message.floor_char_boundary(MAX_BYTES));
        message.shrink_to_fit();
        self.panic = Some(message);
        Ok(())
    }
}
