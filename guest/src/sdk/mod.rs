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

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of the services share.

    use rhai::{Dynamic, Engine, EvalAltResult};

    /// What a script catches of an error that comes before the host is asked. `register` adds the service.
    #[track_caller]
    pub(crate) fn message(register: fn(&mut Engine), script: &str) -> String {
        let mut engine = Engine::new();
        register(&mut engine);
        match *engine.eval::<Dynamic>(script).expect_err(script) {
            EvalAltResult::ErrorRuntime(value, position) => {
                assert!(!position.is_none(), "an error has a position: {script}");
                value.into_string().unwrap()
            }
            other => panic!("{other}"),
        }
    }

    /// The text of an error of a service begins with the service's name, and holds `part`.
    #[track_caller]
    pub(crate) fn assert_told(service: &str, error: EvalAltResult, part: &str) {
        let EvalAltResult::ErrorRuntime(value, _) = error else { panic!("{error}") };
        let text = value.into_string().unwrap();
        assert!(text.starts_with(&format!("{service}: ")) && text.contains(part), "{text}");
    }
}
