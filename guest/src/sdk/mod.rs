//! The services of the host as Rhai values and modules: one file for each WIT interface.

mod context;
pub(crate) mod event;
mod fs;
mod http;
mod kv;
mod log;
mod mqtt;
pub(crate) mod request;
mod triggers;

use rhai::{Engine, EvalAltResult, Position};

use crate::modules;

/// Register every service.
pub(crate) fn register(engine: &mut Engine) {
    context::register(engine);
    fs::register(engine);
    http::register(engine);
    kv::register(engine);
    log::register(engine);
    mqtt::register(engine);
    request::register(engine);
    triggers::register(engine);
}

/// An error that the script can catch, and that is the script's own if it does not. The position is filled in by the
/// interpreter.
pub(crate) fn error(message: impl Into<String>) -> Box<EvalAltResult> {
    modules::error(message.into(), Position::NONE)
}

/// Add a function to a module. Its errors get the position of the call, which the interpreter leaves out for functions of
/// modules.
macro_rules! add {
    ($module:expr, $name:literal, |$($arg:ident: $ty:ty),*| $body:expr) => {
        $module.set_native_fn($name, |context: rhai::NativeCallContext<'_>, $($arg: $ty),*| {
            $body.map_err(|mut error: Box<rhai::EvalAltResult>| {
                error.set_position(context.call_position());
                error
            })
        });
    };
}
pub(crate) use add;
