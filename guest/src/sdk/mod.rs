//! The services of the host as Rhai values and modules: one file for each WIT interface.

mod config;
mod context;
pub(crate) mod event;
mod fs;
mod http;
mod kv;
mod log;
mod mqtt;
pub(crate) mod request;
mod scripts;
mod secrets;
pub(crate) mod test;
mod triggers;

use rhai::{Engine, EvalAltResult, Position};

use crate::modules;

/// Register every service but `test`, which is for tests only.
pub(crate) fn register(engine: &mut Engine) {
    config::register(engine);
    context::register(engine);
    fs::register(engine);
    http::register(engine);
    kv::register(engine);
    log::register(engine);
    mqtt::register(engine);
    request::register(engine);
    scripts::register(engine);
    secrets::register(engine);
    triggers::register(engine);
}

/// An error that the script can catch, and that is the script's own if it does not. The position is filled in by the
/// interpreter.
pub(crate) fn error(message: impl Into<String>) -> Box<EvalAltResult> {
    modules::error(message.into(), Position::NONE)
}

/// A name that is longer than any name stays so. The rest of it need not be handed over, since the host copies it at no
/// charge.
fn cut_name(name: &str) -> &str {
    const MOST: usize = 64;
    &name[..name.floor_char_boundary(MOST)]
}

/// Add a function to a module. Its errors get the position of the call, which the interpreter leaves out for functions of
/// modules.
macro_rules! add {
    ($module:expr, $name:literal, || $body:expr) => {
        $module.set_native_fn($name, |context: rhai::NativeCallContext<'_>| {
            $body.map_err(|mut error: Box<rhai::EvalAltResult>| {
                error.set_position(context.call_position());
                error
            })
        });
    };
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
