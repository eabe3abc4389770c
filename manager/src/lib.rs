//! The control plane of PiCloud: what is stored, and the REST API over it.
//!
//! In reading order: `name` (what things may be called), `scope` (what principals may do), `identity` (who is known), `password` (how those of users are hashed), `vault` (how secrets are encrypted), `store` (SQL and nothing else), `canary` (how a new
//! version does beside the active one), `publish` (how a change reaches the data plane), `rollback` (ends what does worse), `removal` (what becomes of deleted apps), `schedule` (events that the clock makes), `telemetry` (records of executions on their way to
//! the store), `api` (HTTP handlers over the store), `prometheus` (the page `/metrics`).

pub mod api;
pub mod canary;
pub mod identity;
pub mod name;
pub mod password;
pub mod prometheus;
pub mod publish;
pub mod removal;
pub mod rollback;
pub mod schedule;
pub mod scope;
pub mod store;
pub mod telemetry;
pub mod vault;
