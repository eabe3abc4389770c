//! The Rhai modules that need no service of the host, only a clock and random bytes: `json`, `regex`, `time` and so on.
//!
//! They are part of every script's image, so there are few functions and no large tables.

mod base64;
mod crypto;
mod hex;
pub mod json;
mod random;
mod regex;
pub(crate) mod time;
pub(crate) mod url;
mod uuid;

use rhai::{Blob, Dynamic, Engine, EvalAltResult, ImmutableString, Module, NativeCallContext, Position};

/// Puts the functions of one module into it.
type Fill = fn(&mut Module);

/// Make the modules available to scripts: `json::parse(text)`.
pub fn register(engine: &mut Engine) {
    engine.register_type_with_name::<regex::Pattern>("Regex");
    let modules: [(&str, Fill); 9] = [
        ("base64", base64::fill),
        ("crypto", crypto::fill),
        ("hex", hex::fill),
        ("json", json::fill),
        ("random", random::fill),
        ("regex", regex::fill),
        ("time", time::fill),
        ("url", url::fill),
        ("uuid", uuid::fill),
    ];
    for (name, fill) in modules {
        let mut module = Module::new();
        fill(&mut module);
        engine.register_static_module(name, module.into());
    }
}

/// An error that the script can catch; what it catches is the message.
///
/// [`is_error`] tells its value from what scripts throw themselves.
#[must_use]
pub fn error(message: String, position: Position) -> Box<EvalAltResult> {
    let mut value = Dynamic::from(message);
    value.set_tag(1);
    Box::new(EvalAltResult::ErrorRuntime(value, position))
}

/// Whether a thrown value was made by [`error`], even if the script caught it and threw it again.
#[must_use]
pub fn is_error(thrown: &Dynamic) -> bool {
    thrown.tag() == 1
}

/// Add a function to a module. The body gives a `Result` whose error is the message for the user.
macro_rules! add {
    ($module:expr, $name:literal, |$($arg:ident: $ty:ty),*| $body:expr) => {
        $crate::modules::add!(@ rhai::FuncRegistration::new($name).with_volatility(false), $module, |$($arg: $ty),*| $body)
    };
    // As above, for a function that gives something else each time.
    (volatile $module:expr, $name:literal, |$($arg:ident: $ty:ty),*| $body:expr) => {
        $crate::modules::add!(@ rhai::FuncRegistration::new($name).with_volatility(true), $module, |$($arg: $ty),*| $body)
    };
    // As above, for a function that can be called as a method of its first argument.
    (method $module:expr, $name:literal, |$($arg:ident: $ty:ty),*| $body:expr) => {
        $crate::modules::add!(@ rhai::FuncRegistration::new($name).with_volatility(false).in_global_namespace(), $module, |$($arg: $ty),*| $body)
    };
    (@ $registration:expr, $module:expr, |$($arg:ident: $ty:ty),*| $body:expr) => {
        // Pure: the first argument, even when it is taken by reference to spare a copy, is never changed.
        $registration.with_purity(true).set_into_module(
            $module,
            |context: rhai::NativeCallContext<'_>, $($arg: $ty),*| $crate::modules::answer(&context, $body),
        )
    };
}
pub(crate) use add;

/// What a function gives back to the script.
fn answer<T: Into<Dynamic>>(
    context: &NativeCallContext<'_>,
    result: Result<T, String>,
) -> Result<Dynamic, Box<EvalAltResult>> {
    result.map(Into::into).map_err(|message| error(message, context.call_position()))
}

/// Use the bytes of an argument that is a string (as UTF-8) or a blob, without copying them.
fn with_bytes<T>(argument: &Dynamic, use_bytes: impl FnOnce(&[u8]) -> T) -> Result<T, String> {
    if let Some(text) = argument.read_lock::<ImmutableString>() {
        Ok(use_bytes(text.as_bytes()))
    } else if let Some(blob) = argument.read_lock::<Blob>() {
        Ok(use_bytes(&blob))
    } else {
        Err(format!("expected a string or a blob, not {}", kind(argument)))
    }
}

/// What a value is, in words for a message.
fn kind(value: &Dynamic) -> String {
    match value.type_name() {
        "()" => "()".to_owned(),
        "bool" => "a boolean".to_owned(),
        "i64" => "an integer".to_owned(),
        "f64" => "a floating-point number".to_owned(),
        "char" => "a character".to_owned(),
        "string" => "a string".to_owned(),
        "array" => "an array".to_owned(),
        "blob" => "a blob".to_owned(),
        "map" => "a map".to_owned(),
        "Fn" => "a function pointer".to_owned(),
        // `alloc::rc::Rc<guest::sdk::request::Request>` is a Request to everybody else.
        other => {
            format!("a value of type {}", other.rsplit("::").next().unwrap_or(other).trim_end_matches('>'))
        }
    }
}

/// The beginning of a text, for a message.
fn excerpt(text: &str) -> String {
    const CHARS: usize = 40;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("\"{}...\"", &text[..end]),
        None => format!("\"{text}\""),
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of the modules share.

    use rhai::{Dynamic, Engine, EvalAltResult};

    use super::register;

    pub(crate) fn engine() -> Engine {
        let mut engine = Engine::new();
        register(&mut engine);
        engine
    }

    /// The value of a script.
    #[track_caller]
    pub(crate) fn eval(script: &str) -> Dynamic {
        engine().eval(script).unwrap_or_else(|error| panic!("{error} in {script}"))
    }

    /// The script's value is `true`.
    #[track_caller]
    pub(crate) fn check(script: &str) {
        assert!(eval(script).as_bool().unwrap_or(false), "{script}");
    }

    /// The script fails with an error that it could have caught, and this is what it would catch.
    #[track_caller]
    pub(crate) fn message(script: &str) -> String {
        match *engine().eval::<Dynamic>(script).expect_err(script) {
            EvalAltResult::ErrorRuntime(value, position) => {
                assert!(super::is_error(&value), "{script}");
                assert!(!position.is_none(), "an error has a position: {script}");
                value.into_string().unwrap()
            }
            other => panic!("{other}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rhai::{Dynamic, EvalAltResult};

    use super::testing::{check, engine, message};

    #[test]
    fn errors_can_be_caught_and_keep_their_mark() {
        check(r#"let m = ""; try { hex::decode("0") } catch (e) { m = e } m.contains("even")"#);
        let error =
            engine().eval::<Dynamic>(r#"try { hex::decode("0") } catch (e) { throw e }"#).unwrap_err();
        let EvalAltResult::ErrorRuntime(value, _) = *error else { panic!("{error}") };
        assert!(super::is_error(&value));
    }

    #[test]
    fn arguments_of_the_wrong_type_are_named() {
        assert_eq!(message("hex::encode(#{})"), "expected a string or a blob, not a map");
        assert_eq!(
            message(r#"crypto::equal("a", regex::compile("a"))"#),
            "expected a string or a blob, not a value of type Pattern"
        );
        let error = engine().eval::<Dynamic>("json::parse(1)").unwrap_err();
        assert!(matches!(*error, EvalAltResult::ErrorFunctionNotFound(..)), "{error}");
    }

    #[test]
    fn a_constant_is_as_good_as_a_variable() {
        check(
            r#"const A = "x"; let b = "x"; crypto::sha256(A) == crypto::sha256(b) && hex::encode(A) == "78""#,
        );
    }
}
