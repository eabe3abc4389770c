//! The module `log`, and `print` and `debug`, which write log lines too.

use picloud_sdk_wit::picloud::sdk::log::{self, Level};
use rhai::{Dynamic, Engine, Module};

use crate::modules::json;

/// Register the module and the two functions of the language.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    // No `log::debug`: Rhai's parser reserves the word for its own function, which is set below.
    for (name, level) in [("info", Level::Info), ("warn", Level::Warn), ("error", Level::Error)] {
        module.set_native_fn(name, move |message: Dynamic| {
            write(level, &text(&message));
            Ok(())
        });
        module.set_native_fn(name, move |message: Dynamic, data: Dynamic| {
            write(level, &format!("{} {}", text(&message), text(&data)));
            Ok(())
        });
    }
    engine.register_static_module("log", module.into());
    engine.on_print(|message| write(Level::Info, message));
    engine.on_debug(|message, _, position| {
        write(
            Level::Debug,
            &if position.is_none() { message.to_owned() } else { format!("{position}: {message}") },
        );
    });
}

/// The host cuts lines at 8 KiB. Text that it would cut all the same need not be handed over, since the host copies it at
/// no charge.
const MOST: usize = (8 << 10) + 8;

fn write(level: Level, message: &str) {
    log::write(level, &message[..message.floor_char_boundary(MOST)]);
}

/// Texts as they are, everything else as JSON, and what has no JSON by its type.
fn text(value: &Dynamic) -> String {
    if value.is_string() {
        return value.to_string();
    }
    json::to_text(value).unwrap_or_else(|_| value.type_name().to_owned())
}
