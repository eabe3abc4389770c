//! The services of the host as Rhai values and modules: one file for each WIT interface.

mod context;
pub(crate) mod event;
mod kv;
mod log;
pub(crate) mod request;

use rhai::Engine;

/// Register every service.
pub(crate) fn register(engine: &mut Engine) {
    context::register(engine);
    kv::register(engine);
    log::register(engine);
    request::register(engine);
}
