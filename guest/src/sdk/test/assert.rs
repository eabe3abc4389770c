//! `assert`, `assert_eq` and `assert_throws`.

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, ImmutableString, Map, NativeCallContext};

use super::Result;
use crate::sdk::error;

/// The longest value that a message shows as a whole, in characters.
const MOST_SHOWN: usize = 300;

/// Register the functions.
pub(super) fn register(engine: &mut Engine) {
    engine
        .register_fn("assert", |holds: bool| check(holds, || "assertion failed".to_owned()))
        .register_fn("assert", |holds: bool, message: Dynamic| {
            check(holds, || format!("assertion failed: {message}"))
        })
        .register_fn("assert_eq", |left: Dynamic, right: Dynamic| {
            check(equal(&left, &right), || differ(&left, &right))
        })
        .register_fn("assert_eq", |left: Dynamic, right: Dynamic, message: Dynamic| {
            check(equal(&left, &right), || format!("{message}: {}", differ(&left, &right)))
        })
        .register_fn("assert_throws", thrown);
}

fn check(holds: bool, message: impl FnOnce() -> String) -> Result<()> {
    if holds { Ok(()) } else { Err(error(message())) }
}

fn differ(left: &Dynamic, right: &Dynamic) -> String {
    let (left, right) = (show(left), show(right));
    format!("assertion failed: left and right differ\n left: {left}\nright: {right}")
}

fn show(value: &Dynamic) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// As `==` in a script, and element by element. Values of the types of PiCloud equal nothing.
fn equal(left: &Dynamic, right: &Dynamic) -> bool {
    if let (Some(left), Some(right)) = (left.read_lock::<Map>(), right.read_lock::<Map>()) {
        return left.len() == right.len()
            && left
                .iter()
                .zip(right.iter())
                .all(|(left, right)| left.0 == right.0 && equal(left.1, right.1));
    }
    if let (Some(left), Some(right)) = (left.read_lock::<rhai::Array>(), right.read_lock::<rhai::Array>()) {
        return left.len() == right.len()
            && left.iter().zip(right.iter()).all(|(left, right)| equal(left, right));
    }
    if let (Some(left), Some(right)) = (left.read_lock::<rhai::Blob>(), right.read_lock::<rhai::Blob>()) {
        return *left == *right;
    }
    if let (Some(left), Some(right)) =
        (left.read_lock::<ImmutableString>(), right.read_lock::<ImmutableString>())
    {
        return *left == *right;
    }
    let number = |value: &Dynamic| value.as_float().or_else(|_| value.as_int().map(|int| int as f64));
    match (left.as_int(), right.as_int()) {
        (Ok(left), Ok(right)) => return left == right,
        _ => {
            if let (Ok(left), Ok(right)) = (number(left), number(right)) {
                return left == right;
            }
        }
    }
    match (left.as_bool(), right.as_bool(), left.as_char(), right.as_char()) {
        (Ok(left), Ok(right), ..) => left == right,
        (.., Ok(left), Ok(right)) => left == right,
        _ => left.is_unit() && right.is_unit(),
    }
}

/// What a `catch` would get of what the function throws.
fn thrown(context: NativeCallContext<'_>, function: FnPtr) -> Result<Dynamic> {
    match function.call_within_context::<Dynamic>(&context, ()) {
        Ok(_) => Err(error("assertion failed: nothing was thrown")),
        Err(thrown) if !thrown.unwrap_inner().is_catchable() => Err(thrown),
        Err(thrown) => Ok(match *thrown {
            EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => caught(*inner),
            thrown => caught(thrown),
        }),
    }
}

fn caught(thrown: EvalAltResult) -> Dynamic {
    match thrown {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, _) => caught(*inner),
        EvalAltResult::ErrorRuntime(value, _) => value,
        mut other => {
            other.clear_position();
            other.to_string().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(source: &str) -> String {
        let mut engine = Engine::new();
        register(&mut engine);
        match engine.run(source) {
            Ok(()) => "none".to_owned(),
            Err(error) => match caught(*error).into_string() {
                Ok(text) => text,
                Err(kind) => kind.to_owned(),
            },
        }
    }

    #[test]
    fn what_is_equal_passes_and_what_is_not_is_shown() {
        for equal in [
            "1, 1",
            "1, 1.0",
            "\"a\", \"a\"",
            "[1, #{a: [()]}], [1, #{a: [()]}]",
            "(), ()",
            "'a', 'a'",
            "blob(2, 1), blob(2, 1)",
            "true, true",
        ] {
            assert_eq!(message(&format!("assert_eq({equal})")), "none", "{equal}");
        }
        for different in
            ["1, 2", "1, \"1\"", "[1], [1, 2]", "#{a: 1}, #{b: 1}", "(), 0", "'a', \"a\"", "true, 1"]
        {
            assert!(
                message(&format!("assert_eq({different})")).contains("left and right differ"),
                "{different}"
            );
        }
        assert_eq!(
            message("assert_eq([1, \"x\"], (), \"why\")"),
            "why: assertion failed: left and right differ\n left: [1, \"x\"]\nright: ()"
        );
        assert_eq!(message("assert(1 > 2)"), "assertion failed");
        assert_eq!(message("assert(1 > 2, `no ${3}`)"), "assertion failed: no 3");
        assert_eq!(message("assert(2 > 1, \"no\")"), "none");
    }

    #[test]
    fn what_is_thrown_is_given_back() {
        assert_eq!(message("assert_eq(assert_throws(|| throw #{status: 404}), #{status: 404})"), "none");
        assert_eq!(message("fn f() { throw \"x\" } assert_eq(assert_throws(|| f()), \"x\")"), "none");
        assert_eq!(message("assert(assert_throws(|| [1][5]).contains(\"out of bounds\"))"), "none");
        assert_eq!(message("assert_throws(|| 1)"), "assertion failed: nothing was thrown");
    }
}
