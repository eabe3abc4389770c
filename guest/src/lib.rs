//! Rhai in WebAssembly: what runs inside the sandbox.
//!
//! In reading order: `script` (load one, call it), `engine` (what the language offers), `sdk` (services of the host, one
//! file for each WIT interface), `arguments` (how those read what scripts hand them), `modules` (functions that need no
//! host), `answer` and `failure` (how a call ends), `memory` (the allocator and the capture of the image).

mod answer;
mod arguments;
mod engine;
mod failure;
mod memory;
mod modules;
mod script;
mod sdk;

use std::cell::RefCell;

use picloud_sdk_wit::picloud::sdk::{diagnostics, outcome};

use crate::script::Script;

thread_local! {
    /// The loaded script. Set by `load`, part of the image, and so already there when a call starts.
    static SCRIPT: RefCell<Option<Script>> = const { RefCell::new(None) };
}

/// The guest's side of the world `script`.
struct Guest;

impl picloud_sdk_wit::Guest for Guest {
    fn load(source: String) -> Result<outcome::Loaded, outcome::Failure> {
        std::panic::set_hook(Box::new(|panic| diagnostics::panicked(&panic.to_string())));
        let script = memory::leaving_no_garbage(|| Script::load(source))?;
        let loaded = script.loaded();
        SCRIPT.set(Some(script));
        memory::make_room();
        memory::capture();
        Ok(loaded)
    }

    fn handle() -> Result<outcome::Response, outcome::Failure> {
        with_script(Script::handle)
    }

    fn on_event() -> Result<(), outcome::Failure> {
        with_script(Script::on_event)
    }

    fn run_test(function: String) -> Result<(), outcome::Failure> {
        SCRIPT.with_borrow_mut(|script| {
            script.as_mut().expect("the host calls only what has been loaded").run_test(&function)
        })
    }
}

fn with_script<T>(call: impl FnOnce(&Script) -> T) -> T {
    SCRIPT.with_borrow(|script| call(script.as_ref().expect("the host calls only what has been loaded")))
}

picloud_sdk_wit::export!(Guest with_types_in picloud_sdk_wit);
