//! The data plane of PiCloud: it runs script versions in sandboxes and answers HTTP with them.
//!
//! In reading order: what a call is, what bounds it, what can go wrong; what the data plane needs from others; how a
//! script becomes an image and an image becomes a running sandbox; how requests get there.

pub mod active;
pub mod call;
pub mod limits;
pub mod loader;
pub mod ports;
pub mod problem;
