//! The guest: the interpreter for WebAssembly, as `host/build` made it.

/// The guest as a component that imports its memory. Empty in a build that was only checked.
pub(crate) const COMPONENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/guest.component.wasm"));

/// The memory of a guest that has loaded nothing.
pub(crate) const BLANK_IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/blank.image.wasm"));

/// The compiler that made the guest, such as `rustc 1.95.0 (59807616e 2026-04-14)`. Another one may make other code of
/// the same source, which costs a few hundredths more or less fuel.
pub const COMPILER: &str = env!("PICLOUD_GUEST_COMPILER");
