//! How the arguments of services are read before the host gets them: texts no longer than it looks at, options that it
//! knows.
//!
//! The texts of errors begin with the name of the module, which is the first argument of each function here.

use rhai::{Dynamic, EvalAltResult, ImmutableString, Map};

use crate::sdk::error;

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The longest name that is handed over, in bytes: no script, queue or setting has a longer one.
pub(crate) const MAX_NAME: usize = 64;

/// The start of a text. One that is longer than `most` bytes stays so, for the host to refuse; the rest of it need not be
/// handed over, since the host copies it at no charge.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    // More than the longest character, so that what is left is too long wherever the cut falls.
    const MORE: usize = 8;
    &text[..text.floor_char_boundary(most + MORE)]
}

/// How many items a function `list` is to give at most.
///
/// # Errors
///
/// It is not 1 to `most`.
pub(crate) fn list_limit(module: &str, limit: i64, most: u32) -> Result<u32> {
    let limit = u32::try_from(limit).ok().filter(|limit| (1..=most).contains(limit));
    limit.ok_or_else(|| error(format!("{module}: the limit of list must be 1 to {most}")))
}

/// Check that options have known names only: a misspelt one would be ignored where it matters.
///
/// # Errors
///
/// Names the first that is not known, and all that are.
pub(crate) fn check_names(module: &str, options: &Map, known: &[&str]) -> Result<()> {
    match options.keys().find(|name| !known.contains(&name.as_str())) {
        Some(unknown) => {
            Err(error(format!("{module}: there is no option `{unknown}`, only {}", listed(known))))
        }
        None => Ok(()),
    }
}

/// `a`, `b` and `c`.
fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// An option that must be a string.
///
/// # Errors
///
/// It is not.
pub(crate) fn text(module: &str, name: &str, value: Dynamic) -> Result<ImmutableString> {
    value
        .into_immutable_string()
        .map_err(|kind| error(format!("{module}: `{name}` must be a string, not {kind}")))
}

/// An option that must be an integer.
///
/// # Errors
///
/// It is not.
pub(crate) fn integer(module: &str, name: &str, value: &Dynamic) -> Result<i64> {
    value.as_int().map_err(|kind| error(format!("{module}: `{name}` must be an integer, not {kind}")))
}

/// An option that must be true or false.
///
/// # Errors
///
/// It is neither.
pub(crate) fn flag(module: &str, name: &str, value: &Dynamic) -> Result<bool> {
    value.as_bool().map_err(|kind| error(format!("{module}: `{name}` must be true or false, not {kind}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_stays_too_long() {
        assert_eq!(cut("home/kitchen", 256), "home/kitchen");
        for character in ["a", "é", "€", "😀"] {
            let long = character.repeat(10_000);
            for most in [MAX_NAME, 256, 1024, 4096, 8192] {
                assert!((most + 1..=most + 8).contains(&cut(&long, most).len()), "{character} {most}");
            }
        }
    }

    #[test]
    fn a_misspelt_option_is_named_with_all_that_there_are() {
        let options: Map = [("qos".into(), 1.into()), ("quality".into(), 1.into())].into();
        assert!(check_names("mqtt", &options, &["qos", "quality"]).is_ok());
        for (known, only) in [
            (&["qos"][..], "only `qos`"),
            (&["qos", "retain"], "only `qos` and `retain`"),
            (&["body", "qos", "retain"], "only `body`, `qos` and `retain`"),
        ] {
            let refused = check_names("mqtt", &options, known).unwrap_err().to_string();
            let expected = format!("mqtt: there is no option `quality`, {only}");
            assert!(refused.ends_with(&expected), "{refused}");
        }
    }

    #[test]
    fn a_limit_of_a_list_has_bounds() {
        assert_eq!((list_limit("kv", 1, 1000).unwrap(), list_limit("kv", 1000, 1000).unwrap()), (1, 1000));
        for limit in [i64::MIN, -1, 0, 1001, 1 << 32] {
            let refused = list_limit("kv", limit, 1000).unwrap_err().to_string();
            assert!(refused.ends_with("kv: the limit of list must be 1 to 1000"), "{refused}");
        }
    }
}
