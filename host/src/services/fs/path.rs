//! Paths as scripts write them: the name of a grant, and names below it.

use picloud_sdk_wit::picloud::sdk::fs::Error;

/// Longest path, in bytes: what Linux takes at once (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// Longest name in a path, in bytes: what the usual file systems take (`NAME_MAX`).
const MAX_NAME: usize = 255;

/// What names of files begin with that are not finished yet. No script sees or makes one.
pub(super) const UNFINISHED: &str = ".picloud-";

/// Split a path into the grant and what is below it, which is empty for the directory of the grant itself.
///
/// The directory handle refuses to leave the grant by itself. This is stricter, so that a path means one thing only, and
/// a mistake is told rather than understood in some way.
pub(super) fn split(path: &str) -> Result<(&str, &str), Error> {
    if path.len() > MAX_PATH {
        return Err(Error::PathInvalid);
    }
    let (grant, below) = match path.split_once('/') {
        Some((grant, below)) => (grant, Some(below)),
        None => (path, None),
    };
    if grant.is_empty() || !below.is_none_or(|below| below.split('/').all(is_name)) {
        return Err(Error::PathInvalid);
    }
    Ok((grant, below.unwrap_or_default()))
}

/// Split what is below a grant into the directory and the name in it.
pub(super) fn parent(below: &str) -> (&str, &str) {
    below.rsplit_once('/').unwrap_or(("", below))
}

fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= MAX_NAME
        && !name.contains('\0')
        && !name.starts_with(UNFINISHED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_grant_and_names() {
        for (path, expected) in [
            ("data", ("data", "")),
            ("data/a", ("data", "a")),
            ("data/a b/ö/...", ("data", "a b/ö/...")),
            ("data/%2e%2e/a\\..\\b", ("data", "%2e%2e/a\\..\\b")),
            ("..", ("..", "")),
        ] {
            assert_eq!(split(path).unwrap(), expected, "{path}");
        }
        assert_eq!((parent("a/b/c"), parent("a")), (("a/b", "c"), ("", "a")));
    }

    #[test]
    fn whatever_could_mean_something_else_is_refused() {
        let long = format!("data/{}", "n".repeat(256));
        let deep = format!("data{}", "/n".repeat(2047));
        for path in [
            "",
            "/",
            "/etc/passwd",
            "data/",
            "data//a",
            "data/a/",
            "data/.",
            "data/./a",
            "data/..",
            "data/../data/a",
            "data/a/..",
            "data/a\0b",
            "data/.picloud-1.tmp",
            "data/.picloud-x/a",
            &long,
            &deep,
        ] {
            assert!(matches!(split(path), Err(Error::PathInvalid)), "{path:?}");
        }
        assert!(split(&long[..long.len() - 1]).is_ok() && split(&deep[..deep.len() - 2]).is_ok());
    }
}
