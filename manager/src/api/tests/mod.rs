//! Tests of the API: requests to the router, over a real database file and a loader that is told what to find.

mod access;
mod apps;
mod archive;
mod canary;
mod contract;
mod executions;
mod fixture;
mod http_policy;
mod kv;
mod logs;
mod metrics;
mod reading;
mod routing;
mod sessions;
mod settings;
mod tokens;
mod upload;
mod users;
mod versions;
