//! The services of the host as Rhai values and modules: one file for each WIT interface.

mod context;
pub(crate) mod event;
mod kv;
mod log;
pub(crate) mod request;

use rhai::{Engine, EvalAltResult, Position};

use crate::modules;

/// Register every service.
pub(crate) fn register(engine: &mut Engine) {
    context::register(engine);
    kv::register(engine);
    log::register(engine);
    request::register(engine);
}

/// An error that the script can catch, and that is the script's own if it does not. The position is filled in by the
/// interpreter.
pub(crate) fn error(message: impl Into<String>) -> Box<EvalAltResult> {
    modules::error(message.into(), Position::NONE)
}
