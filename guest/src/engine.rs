//! The Rhai engine as scripts get it: the language, its packages, its limits, our modules.

use std::any::TypeId;

use rhai::packages::{
    BasicArrayPackage, BasicBlobPackage, BasicMapPackage, BasicMathPackage, BitFieldPackage, CorePackage,
    LogicPackage, MoreStringPackage, Package as _,
};
use rhai::{Blob, Dynamic, Engine, EvalAltResult, FLOAT, INT, Module, OptimizationLevel};

use crate::{answer, modules, sdk};

/// How deep function calls may nest. The stack of the sandbox holds more; this bound comes first, with a clear error.
const MAX_CALL_DEPTH: usize = 96;

/// How deep expressions may nest, at the top level and in functions.
const MAX_EXPRESSION_DEPTH: usize = 64;

/// Function hashes go into the image and into what a call costs, so their seed is fixed. Nothing is defended by it: a
/// script chooses its own names, and maps are trees.
const HASH_SEED: [u64; 4] = [0x5069_436c_6f75_6401, 2, 3, 4];

/// Build the engine with everything registered.
pub(crate) fn build() -> Engine {
    // An error means that it is set already, which is as good.
    let _ = rhai::config::hashing::set_hashing_seed(Some(HASH_SEED));
    let mut engine = Engine::new_raw();
    CorePackage::new().register_into_engine(&mut engine);
    LogicPackage::new().register_into_engine(&mut engine);
    BasicMathPackage::new().register_into_engine(&mut engine);
    BasicArrayPackage::new().register_into_engine(&mut engine);
    BasicBlobPackage::new().register_into_engine(&mut engine);
    BasicMapPackage::new().register_into_engine(&mut engine);
    BitFieldPackage::new().register_into_engine(&mut engine);
    MoreStringPackage::new().register_into_engine(&mut engine);
    engine
        .set_max_call_levels(MAX_CALL_DEPTH)
        .set_max_expr_depths(MAX_EXPRESSION_DEPTH, MAX_EXPRESSION_DEPTH)
        .set_optimization_level(OptimizationLevel::Simple)
        // Size limits stay off: they make `push` quadratic, and the memory cap and the fuel bound everything.
        .set_max_modules(0)
        .disable_symbol("eval");
    iterate_bytes_as_integers(&mut engine);
    refuse_sleep(&mut engine);
    answer::register(&mut engine);
    sdk::register(&mut engine);
    modules::register(&mut engine);
    engine
}

/// In a loop over a blob, Rhai's own iterator gives bytes of a type that no operator is registered for.
fn iterate_bytes_as_integers(engine: &mut Engine) {
    let mut module = Module::new();
    module.set_iter(TypeId::of::<Blob>(), |blob| {
        Box::new(blob.cast::<Blob>().into_iter().map(|byte| Dynamic::from(INT::from(byte))))
    });
    // Modules that are registered later are asked first.
    engine.register_global_module(module.into());
}

/// Rhai's own `sleep` would panic: nothing in a sandbox can wait, and a call that did would hold its place.
fn refuse_sleep(engine: &mut Engine) {
    let refuse = || -> Result<(), Box<EvalAltResult>> { Err(sdk::error("a call cannot sleep")) };
    engine.register_fn("sleep", move |_: INT| refuse());
    engine.register_fn("sleep", move |_: FLOAT| refuse());
}
