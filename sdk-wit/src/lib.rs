//! The WIT package `picloud:sdk` and its bindings: for the guest (feature `guest`) and for the host (feature `host`).
//!
//! The files under `wit/` are the source; no binding is generated anywhere else.

#![allow(missing_docs, reason = "generated code; the documentation is in the WIT files")]

#[cfg(feature = "guest")]
mod guest;
#[cfg(feature = "host")]
mod host;

#[cfg(feature = "guest")]
pub use guest::*;
#[cfg(feature = "host")]
pub use host::*;
