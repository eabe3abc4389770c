//! The module `fs`: files in directories that the operator has granted to the app.

use picloud_sdk_wit::picloud::sdk::fs::{self, Error, Kind, Metadata};
use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, Module};

use crate::arguments::{self, list_limit};
use crate::sdk::{add, error};

type Result<T> = std::result::Result<T, Box<EvalAltResult>>;

/// The most entries of one `fs::list`.
const MAX_LIST: u32 = 1000;

/// The longest path, in bytes.
const MAX_PATH: usize = 4096;

/// Register the module.
pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    add!(module, "read", |path: &str| read(path));
    add!(module, "read_blob", |path: &str| fs::read(cut(path)).map_err(|why| explain(path, why)));
    add!(module, "read_blob", |path: &str, offset: i64, length: i64| read_range(path, offset, length));
    add!(module, "write", |path: &str, data: Dynamic| {
        with_bytes(&data, |bytes| fs::write(cut(path), bytes).map_err(|why| explain(path, why)))
    });
    add!(module, "append", |path: &str, data: Dynamic| {
        with_bytes(&data, |bytes| fs::append(cut(path), bytes).map_err(|why| explain(path, why)))
    });
    add!(module, "list", |path: &str| list_all(path));
    add!(module, "list", |path: &str, limit: i64| list(path, limit, None).map(|(entries, _)| entries));
    add!(module, "list", |path: &str, limit: i64, after: &str| {
        list(path, limit, Some(after)).map(|(entries, _)| entries)
    });
    add!(module, "stat", |path: &str| {
        stat(path).map(|found| found.map_or(Dynamic::UNIT, |found| from_metadata(&found).into()))
    });
    add!(module, "exists", |path: &str| stat(path).map(|found| found.is_some()));
    add!(module, "remove", |path: &str| fs::remove(cut(path)).map_err(|why| explain(path, why)));
    add!(module, "make_dir", |path: &str| {
        fs::make_directory(cut(path)).map_err(|why| explain(path, why))
    });
    engine.register_static_module("fs", module.into());
}

/// As much of a path as the host needs.
fn cut(path: &str) -> &str {
    arguments::cut(path, MAX_PATH)
}

fn read(path: &str) -> Result<String> {
    let bytes = fs::read(cut(path)).map_err(|why| explain(path, why))?;
    String::from_utf8(bytes)
        .map_err(|_| error(format!("fs: {} is not UTF-8; read_blob reads it", shown(path))))
}

fn read_range(path: &str, offset: i64, length: i64) -> Result<Vec<u8>> {
    let offset = u64::try_from(offset).map_err(|_| error("fs: an offset must be at least 0"))?;
    let length =
        u32::try_from(length).map_err(|_| error(format!("fs: a length must be 0 to {} bytes", u32::MAX)))?;
    fs::read_range(cut(path), offset, length).map_err(|why| explain(path, why))
}

/// Give the bytes of a string or a blob to a function, without a copy of them.
fn with_bytes(data: &Dynamic, write: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
    if let Some(blob) = data.read_lock::<rhai::Blob>() {
        return write(&blob);
    }
    match data.read_lock::<rhai::ImmutableString>() {
        Some(text) => write(text.as_bytes()),
        None => Err(error(format!(
            "fs: a string or a blob can be written, not {}; json::stringify makes a string of it",
            data.type_name()
        ))),
    }
}

/// The entries of a directory, and whether there are more.
fn list(path: &str, limit: i64, after: Option<&str>) -> Result<(Array, bool)> {
    let limit = list_limit("fs", limit, MAX_LIST)?;
    let page = fs::list(cut(path), after.map(cut), limit).map_err(|why| explain(path, why))?;
    let entry = |entry: fs::Entry| {
        let mut map = from_metadata(&entry.metadata);
        map.insert("name".into(), entry.name.into());
        map.into()
    };
    Ok((page.entries.into_iter().map(entry).collect(), page.more))
}

/// All entries. Part of them would pass for all, so there are none if they are too many.
fn list_all(path: &str) -> Result<Array> {
    match list(path, i64::from(MAX_LIST), None)? {
        (entries, false) => Ok(entries),
        (_, true) => Err(error(format!(
            "fs: {} has more than {MAX_LIST} entries; fs::list(path, limit, after) lists some of them",
            shown(path)
        ))),
    }
}

fn stat(path: &str) -> Result<Option<Metadata>> {
    fs::stat(cut(path)).map_err(|why| explain(path, why))
}

/// `#{ kind, size, modified_ms }`.
fn from_metadata(found: &Metadata) -> Map {
    let kind = match found.kind {
        Kind::File => "file",
        Kind::Directory => "directory",
        Kind::Other => "other",
    };
    let integer = |number: u64| Dynamic::from(i64::try_from(number).unwrap_or(i64::MAX));
    Map::from([
        ("kind".into(), kind.into()),
        ("size".into(), integer(found.size)),
        ("modified_ms".into(), integer(found.modified_ms)),
    ])
}

/// A path in a message: enough of it to know which one is meant.
fn shown(path: &str) -> String {
    const MOST: usize = 200;
    let start = &path[..path.floor_char_boundary(MOST)];
    let dots = if start.len() < path.len() { "…" } else { "" };
    format!("`{start}{dots}`")
}

/// The text that a script catches.
fn explain(path: &str, reason: Error) -> Box<EvalAltResult> {
    let path = shown(path);
    error(match reason {
        Error::GrantUnknown(name) => format!("fs: the app has no grant `{name}`"),
        Error::PathInvalid => format!(
            "fs: {path} is not a path: the name of a grant, then names between `/`, none of them empty, `.`, `..`, \
             over 255 bytes, or `.picloud-...`"
        ),
        Error::NotFound => format!("fs: {path} does not exist"),
        Error::NotAFile => format!("fs: {path} is not a file"),
        Error::NotADirectory => {
            format!("fs: {path} is not a directory, or leads through something that is none")
        }
        Error::ReadOnly => format!("fs: {path} can only be read"),
        Error::NotEmpty => format!("fs: {path} is not empty"),
        Error::TooLarge(limit) => format!("fs: {path}: at most {limit} bytes can be read or written at once"),
        Error::TooManyOperations(limit) => format!("fs: a call may do at most {limit} operations"),
        Error::TooManyBytes(limit) => format!("fs: a call may read at most {limit} bytes, and write as many"),
        Error::TooManyEntries(limit) => format!("fs: {path} has more than {limit} entries"),
        Error::Denied => format!("fs: {path} is not accessible, or leads out of its grant"),
        Error::Failed(why) => format!("fs: {path}: {why}"),
        Error::NoCall => {
            "fs: the top level runs at upload, where there are no files; use fs in a handler".to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::testing::{self, assert_told};

    #[track_caller]
    fn message(script: &str) -> String {
        testing::message(register, script)
    }

    #[test]
    fn only_text_and_bytes_can_be_written() {
        for (value, kind) in [("#{ a: 1 }", "map"), ("[1]", "array"), ("1", "i64"), ("()", "()")] {
            let expected = format!(
                "fs: a string or a blob can be written, not {kind}; json::stringify makes a string of it"
            );
            assert_eq!(message(&format!(r#"fs::write("data/a", {value})"#)), expected);
            assert_eq!(message(&format!(r#"fs::append("data/a", {value})"#)), expected);
        }
    }

    #[test]
    fn strings_and_blobs_are_written_as_their_bytes_also_when_shared() {
        for (script, expected) in [
            (r#""ö""#, "ö".as_bytes()),
            ("blob(2, 7)", &[7, 7]),
            (r#"let t = "a"; let f = || t; t"#, b"a"),
            ("let b = blob(1); let f = || b; b", &[0]),
        ] {
            let value = Engine::new().eval::<Dynamic>(script).unwrap();
            let mut seen = None;
            with_bytes(&value, |bytes| {
                seen = Some(bytes.to_vec());
                Ok(())
            })
            .unwrap();
            assert_eq!(seen.as_deref(), Some(expected), "{script}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for (script, expected) in [
            (r#"fs::read_blob("a/b", -1, 1)"#, "fs: an offset must be at least 0"),
            (r#"fs::read_blob("a/b", 0, -1)"#, "fs: a length must be 0 to 4294967295 bytes"),
            (r#"fs::list("a", 0)"#, "fs: the limit of list must be 1 to 1000"),
            (r#"fs::list("a", 1001, "b")"#, "fs: the limit of list must be 1 to 1000"),
        ] {
            assert_eq!(message(script), expected);
        }
    }

    #[test]
    fn a_long_path_is_cut_between_characters_and_stays_too_long() {
        assert_eq!((cut("data/a"), shown("data/a").as_str()), ("data/a", "`data/a`"));
        for character in ["a", "é", "€", "😀"] {
            let long = character.repeat(10_000);
            assert!((4097..=4104).contains(&cut(&long).len()), "{character}");
            assert!(shown(&long).len() <= 205 && shown(&long).ends_with("…`"), "{character}");
        }
    }

    #[test]
    fn metadata_is_a_map() {
        let found = Metadata { kind: Kind::Directory, size: u64::MAX, modified_ms: 7 };
        let map = from_metadata(&found);
        assert_eq!(map["kind"].clone().into_string().unwrap(), "directory");
        assert_eq!((map["size"].as_int(), map["modified_ms"].as_int()), (Ok(i64::MAX), Ok(7)));
    }

    #[test]
    fn every_error_of_the_host_has_a_text_that_says_what_it_is_about() {
        for (reason, part) in [
            (Error::GrantUnknown("data".to_owned()), "no grant `data`"),
            (Error::PathInvalid, "`data/a` is not a path"),
            (Error::NotFound, "`data/a` does not exist"),
            (Error::NotAFile, "`data/a` is not a file"),
            (Error::NotADirectory, "`data/a` is not a directory"),
            (Error::ReadOnly, "`data/a` can only be read"),
            (Error::NotEmpty, "`data/a` is not empty"),
            (Error::TooLarge(7), "at most 7 bytes"),
            (Error::TooManyOperations(8), "at most 8 operations"),
            (Error::TooManyBytes(9), "at most 9 bytes"),
            (Error::TooManyEntries(10), "more than 10 entries"),
            (Error::Denied, "`data/a` is not accessible"),
            (Error::Failed("no storage space".to_owned()), "`data/a`: no storage space"),
            (Error::NoCall, "top level"),
        ] {
            assert_told("fs", *explain("data/a", reason), part);
        }
    }
}
