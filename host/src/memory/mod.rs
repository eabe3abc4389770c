//! The ports in memory: for tests and for running a script without a server. Nothing outlives the process.

mod kv;
mod scripts;

pub use kv::{MemoryBackend, MemoryKv};
pub use scripts::MemoryScripts;
