//! What the tests of the whole product share: a server inside the test's process, the binary as a process of its own, a
//! broker, and answers that are easy to check.

mod aot;
pub mod app;
pub mod bare;
pub mod broker;
pub mod client;
pub mod process;
pub mod reply;

pub use app::{Builder, TestApp};
pub use bare::BareExecutor;
pub use broker::{Broker, Subscriber};
pub use client::client;
pub use process::{Ended, Process, Site};
pub use reply::Reply;
