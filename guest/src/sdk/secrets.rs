//! The module `secrets`: texts that only the app's scripts can read.

use picloud_sdk_wit::picloud::sdk::secrets::{self, Error};
use rhai::{Engine, EvalAltResult, Module};

use crate::arguments::{MAX_NAME, cut};
use crate::sdk::{add, error};

/// Register the module.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    add!(module, "get", |name: &str| {
        secrets::get(cut(name, MAX_NAME)).map_err(|reason| explain(name, reason))
    });
    add!(module, "has", |name: &str| {
        secrets::has(cut(name, MAX_NAME)).map_err(|reason| explain(name, reason))
    });
    engine.register_static_module("secrets", module.into());
}

/// The text that a script catches.
fn explain(name: &str, reason: Error) -> Box<EvalAltResult> {
    let shown = cut(name, MAX_NAME);
    let name = if shown.len() < name.len() { format!("{shown}...") } else { shown.to_owned() };
    error(match reason {
        Error::NotFound => format!("secrets: secret-not-found: the app has no secret {name:?}"),
        Error::Unreadable => format!(
            "secrets: secret-unreadable: {name:?} was stored under another key than the server has now; set it again"
        ),
        Error::TooMany(limit) => format!("secrets: a call may read at most {limit} secrets"),
        Error::NoCall => {
            "secrets: the top level runs at upload, where there are no secrets; use secrets in a handler"
                .to_owned()
        }
    })
}
