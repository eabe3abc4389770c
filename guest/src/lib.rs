//! Rhai in WebAssembly.
