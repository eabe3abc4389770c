//! What the tests of the whole product share: a server inside the test's process, and answers that are easy to check.

mod aot;
pub mod app;
pub mod reply;

pub use app::{Builder, TestApp};
pub use reply::Reply;
