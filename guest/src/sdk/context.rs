//! The constant `ctx`: who is running, for whom, and why.

use picloud_sdk_wit::picloud::sdk::context::{self, Context as Data};
use rhai::{Dynamic, Engine, Map, Module};

/// The Rhai type `Context`. Holds nothing: the image is shared by all calls, so each getter asks the host.
#[derive(Clone, Copy)]
struct Context;

/// Register the constant and its getters.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_var("ctx", Context);
    engine.register_global_module(module.into());
    engine.register_type_with_name::<Context>("Context");
    getter(engine, "app", |data| data.app.into());
    getter(engine, "script", |data| data.script.into());
    getter(engine, "version", |data| i64::from(data.version).into());
    getter(engine, "execution_id", |data| data.execution_id.into());
    getter(engine, "root_execution_id", |data| data.root_execution_id.into());
    getter(engine, "trigger_depth", |data| i64::from(data.trigger_depth).into());
    getter(engine, "deadline_ms", |data| i64::try_from(data.deadline_ms).unwrap_or(i64::MAX).into());
    getter(engine, "principal", |data| principal(data.principal));
}

fn getter(engine: &mut Engine, name: &str, get: impl Fn(Data) -> Dynamic + 'static) {
    engine.register_get(name, move |_: &mut Context| get(context::get()));
}

/// `#{ kind, name }`, or `()` for an anonymous call.
pub(crate) fn principal(principal: Option<context::Principal>) -> Dynamic {
    principal.map_or(Dynamic::UNIT, |principal| {
        Map::from([("kind".into(), principal.kind.into()), ("name".into(), principal.name.into())]).into()
    })
}
