//! Tests of the whole product: the real sandbox, a real listener, real SQLite files. One binary, so that it links once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod apps;
mod async_calls;
mod docs;
mod events;
mod examples;
mod executions;
mod fs;
mod fuel;
mod golden;
mod hostile;
mod http;
mod isolation;
mod kv;
mod mqtt;
mod process;
mod quotas;
mod rest;
mod routes;
mod scripts;
mod secrets;
mod sessions;
mod tidy;
mod triggers;
