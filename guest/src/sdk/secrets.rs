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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::testing::assert_told;

    #[test]
    fn every_error_of_the_host_has_a_text_that_says_what_it_is_about() {
        for (reason, part) in [
            (Error::NotFound, "secret-not-found: the app has no secret \"mail\""),
            (Error::Unreadable, "secret-unreadable: \"mail\" was stored under another key"),
            (Error::TooMany(32), "at most 32 secrets"),
            (Error::NoCall, "top level"),
        ] {
            assert_told("secrets", *explain("mail", reason), part);
        }
    }

    #[test]
    fn a_long_name_is_shown_in_part() {
        let long = "n".repeat(10_000);
        let EvalAltResult::ErrorRuntime(text, _) = *explain(&long, Error::NotFound) else {
            panic!("no error")
        };
        let text = text.into_string().unwrap();
        assert!(text.len() < 150 && text.ends_with("n...\""), "{text}");
    }
}
