//! The control plane of PiCloud: what is stored, and the REST API over it.
//!
//! In reading order: `name` (what things may be called), `store` (SQL and nothing else), `publish` (how a change
//! reaches the data plane), `api` (HTTP handlers over the store).

pub mod api;
pub mod name;
pub mod publish;
pub mod store;
