//! `wasi:random/random`: the system's random numbers.

use wasmtime_wasi::p2::bindings::random::random::Host;

use crate::sandbox::CallState;

/// Bytes at once; the guest's functions ask for less.
const MAX_BYTES: u64 = 64 << 10;

impl Host for CallState {
    fn get_random_bytes(&mut self, len: u64) -> wasmtime::Result<Vec<u8>> {
        self.outside = true;
        if len > MAX_BYTES {
            return Err(wasmtime::Error::msg(format!("{len} random bytes at once are too many")));
        }
        let mut bytes = vec![0; usize::try_from(len).unwrap_or_default()];
        getrandom::fill(&mut bytes).map_err(|error| wasmtime::Error::msg(error.to_string()))?;
        Ok(bytes)
    }

    fn get_random_u64(&mut self) -> wasmtime::Result<u64> {
        self.outside = true;
        getrandom::u64().map_err(|error| wasmtime::Error::msg(error.to_string()))
    }
}
