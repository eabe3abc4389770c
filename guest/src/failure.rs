//! How Rhai's errors become failures: kind, message without position, position apart.

use picloud_sdk_wit::picloud::sdk::outcome::{Failure, FailureKind, Position};
use rhai::{Dynamic, EvalAltResult, Map, ParseError, ParseErrorType};

use crate::modules::{self, json};

/// A failure without position.
pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Failure {
    Failure { kind, message: message.into(), position: None, status: None }
}

/// The failure of a source that does not compile.
pub(crate) fn of_parse(error: &ParseError) -> Failure {
    let message = match &*error.0 {
        ParseErrorType::ExprTooDeep => "expressions or blocks are nested too deep".to_owned(),
        kind => kind.to_string(),
    };
    Failure { position: position(error.1), ..new(FailureKind::Compile, message) }
}

/// The failure of a script that ran into an error. Errors inside function calls are told as the innermost one: that is
/// where the fault lies.
pub(crate) fn of_eval(error: EvalAltResult) -> Failure {
    match error {
        EvalAltResult::ErrorInFunctionCall(_, _, inner, outer)
        | EvalAltResult::ErrorInModule(_, inner, outer) => {
            let mut failure = of_eval(*inner);
            failure.position = failure.position.or_else(|| position(outer));
            failure
        }
        EvalAltResult::ErrorRuntime(value, at) => Failure { position: position(at), ..of_thrown(&value) },
        EvalAltResult::ErrorStackOverflow(at) => Failure {
            position: position(at),
            ..new(FailureKind::Stack, "function calls are nested too deep")
        },
        // A name that is made up while the script runs, as in `Fn("eval")`: the source itself was fine.
        EvalAltResult::ErrorParsing(kind, at) => {
            Failure { kind: FailureKind::Runtime, ..of_parse(&ParseError(Box::new(kind), at)) }
        }
        mut other => {
            let at = other.take_position();
            Failure { position: position(at), ..new(FailureKind::Runtime, other.to_string()) }
        }
    }
}

/// `throw value`, or an error of one of our functions. A map with `status` chooses the status, its `message` is the message.
fn of_thrown(value: &Dynamic) -> Failure {
    if modules::is_error(value) {
        return new(FailureKind::Runtime, text(value));
    }
    let Some(map) = value.read_lock::<Map>() else {
        return new(FailureKind::Thrown, text(value));
    };
    let status = map
        .get("status")
        .and_then(|status| status.as_int().ok())
        .and_then(|status| u16::try_from(status).ok());
    let message = map.get("message").map_or_else(|| text(value), text);
    Failure { status, ..new(FailureKind::Thrown, message) }
}

fn text(value: &Dynamic) -> String {
    if value.is_string() || value.is_unit() {
        return value.to_string();
    }
    json::to_text(value).unwrap_or_else(|_| value.type_name().to_owned())
}

fn position(position: rhai::Position) -> Option<Position> {
    let line = u32::try_from(position.line()?).ok()?;
    // Column 0 is the start of the line, before the first character.
    let column = u32::try_from(position.position().unwrap_or(0).max(1)).ok()?;
    Some(Position { line, column })
}
