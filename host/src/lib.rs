//! The data plane of PiCloud: it runs script versions in sandboxes and answers HTTP with them.
//!
//! In reading order: what a call is (`call`), what bounds it (`limits`), what can go wrong (`problem`); what the data
//! plane needs from others (`ports`, in memory: `memory`; `sequencer` makes transactions over a plain store) and offers
//! them (`loader`, `active`); how a script becomes an image and an image a running sandbox (`budget`, `guest`, `engine`,
//! `aot`, `image`, `sandbox`, `ticker`, `turns`, `services`, `executor`); how requests get there (`gate`, `ingress`).

pub mod active;
pub mod aot;
pub mod budget;
pub mod call;
mod engine;
pub mod executor;
pub mod gate;
pub mod guest;
mod image;
pub mod ingress;
#[cfg(any(test, feature = "testing"))]
pub mod kv_conformance;
pub mod limits;
pub mod loader;
pub mod memory;
pub mod ports;
pub mod problem;
mod sandbox;
pub mod sequencer;
mod services;
mod ticker;
mod turns;
