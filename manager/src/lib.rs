//! The control plane of PiCloud: what is stored, and the REST API over it.
//!
//! In reading order: `store` (SQL and nothing else), `api` (HTTP handlers over the store).

pub mod api;
pub mod store;
