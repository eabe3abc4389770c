//! `wasi:clocks/wall-clock`: the time of day, from the port, so that tests can move it.

use wasmtime_wasi::p2::bindings::clocks::wall_clock::{Datetime, Host};

use crate::sandbox::CallState;

impl Host for CallState {
    fn now(&mut self) -> wasmtime::Result<Datetime> {
        self.outside = true;
        let ms = self.clock.now_ms();
        let nanoseconds = u32::try_from(ms % 1000).unwrap_or_default() * 1_000_000;
        Ok(Datetime { seconds: ms / 1000, nanoseconds })
    }

    /// A millisecond.
    fn resolution(&mut self) -> wasmtime::Result<Datetime> {
        Ok(Datetime { seconds: 0, nanoseconds: 1_000_000 })
    }
}
