//! The module `config`: values that whoever runs the app has set.

use picloud_sdk_wit::picloud::sdk::config::{self, Error};
use rhai::{Dynamic, Engine, EvalAltResult, Module};

use crate::arguments::{MAX_NAME, cut};
use crate::modules::json;
use crate::sdk::{add, error};

/// Register the module.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    add!(module, "get", |name: &str| get(name, Dynamic::UNIT));
    add!(module, "get", |name: &str, default: Dynamic| get(name, default));
    engine.register_static_module("config", module.into());
}

fn get(name: &str, default: Dynamic) -> Result<Dynamic, Box<EvalAltResult>> {
    match config::get(cut(name, MAX_NAME)) {
        Ok(None) => Ok(default),
        Ok(Some(text)) => json::from_text(&text)
            .map_err(|reason| error(format!("config: the value cannot be read: {reason}"))),
        Err(reason) => Err(explain(reason)),
    }
}

/// The text that a script catches.
fn explain(reason: Error) -> Box<EvalAltResult> {
    error(match reason {
        Error::NoCall => {
            "config: the top level runs at upload, where there are no values; use config in a handler"
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::testing::assert_told;

    #[test]
    fn every_error_of_the_host_has_a_text() {
        assert_told("config", *explain(Error::NoCall), "top level");
    }
}
