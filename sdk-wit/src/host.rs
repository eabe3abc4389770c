//! Bindings for the host: [`ScriptPre`] instantiates, the `Host` traits are what `host/src/services` implements.
//!
//! Only functions that may wait, for storage, for other servers or for other scripts, are asynchronous: the others then cost no future.

wasmtime::component::bindgen!({
    world: "script",
    path: "wit",
    imports: {
        "picloud:sdk/fs": async | trappable,
        "picloud:sdk/http": async | trappable,
        "picloud:sdk/kv": async | trappable,
        "picloud:sdk/scripts": async | trappable,
        "picloud:sdk/triggers.cancel": async | trappable,
        "picloud:sdk/triggers.list": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "wasi:clocks/wall-clock": wasmtime_wasi::p2::bindings::clocks::wall_clock,
        "wasi:random/random": wasmtime_wasi::p2::bindings::random::random,
    },
});
