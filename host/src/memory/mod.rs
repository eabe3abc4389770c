//! The ports in memory: for tests and for running a script without a server. Nothing outlives the process.

mod kv;

pub use kv::{MemoryBackend, MemoryKv};
