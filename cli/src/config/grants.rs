//! Grants of directories as flags and variables say them: `NAME=PATH`, and `NAME=PATH:rw` to let scripts write.

use picloud_host::grants::GrantConfig;
use picloud_manager::name::Name;
use toml::{Table, Value};

/// What `NAME=PATH` or `NAME=PATH:rw` sets: the name, and the keys of its section. `:ro` says that scripts may not write,
/// as nothing does. A path that ends so itself can be told in the file only.
pub(super) fn parse(text: &str) -> Result<(String, Value), String> {
    let (name, path) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not NAME=PATH or NAME=PATH:rw, such as data=/srv/data:rw"))?;
    let (path, writable) = match (path.strip_suffix(":rw"), path.strip_suffix(":ro")) {
        (Some(path), _) => (path, true),
        (None, Some(path)) => (path, false),
        (None, None) => (path, false),
    };
    let keys = [("path", Value::String(path.to_owned())), ("writable", Value::Boolean(writable))];
    let section: Table = keys.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Ok((name.trim().to_owned(), Value::Table(section)))
}

/// The grants of a variable, one a line or with commas between them.
pub(super) fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', '\n']).map(str::trim).filter(|grant| !grant.is_empty())
}

/// What can be said of a grant without looking for its directory.
pub(super) fn check(name: &str, grant: &GrantConfig) -> Result<(), String> {
    let valid = |name: &str| Name::parse(name).map(drop);
    valid(name).map_err(|error| format!("fs: `{name}`: {error}"))?;
    for app in grant.apps.iter().flatten() {
        valid(app).map_err(|error| format!("fs.{name}.apps: `{app}`: {error}"))?;
    }
    if grant.path.as_os_str().is_empty() {
        return Err(format!("fs.{name}.path is empty"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String, bool) {
        let (name, section) = parse(text).unwrap();
        let grant: GrantConfig = section.try_into().unwrap();
        check(&name, &grant).unwrap();
        assert_eq!(grant.apps, None);
        (name, grant.path.to_str().unwrap().to_owned(), grant.writable)
    }

    #[test]
    fn a_grant_is_a_name_a_path_and_whether_scripts_may_write() {
        for (text, name, path, writable) in [
            ("data=/srv/data", "data", "/srv/data", false),
            ("data=/srv/data:rw", "data", "/srv/data", true),
            ("data=/srv/data:ro", "data", "/srv/data", false),
            ("a-1=rel/a=b c", "a-1", "rel/a=b c", false),
            ("a=/x:y", "a", "/x:y", false),
            ("a=/x:rw:ro", "a", "/x:rw", false),
        ] {
            assert_eq!(parsed(text), (name.to_owned(), path.to_owned(), writable), "{text}");
        }
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        assert!(parse("data").unwrap_err().starts_with("`data` is not NAME=PATH"));
        for (text, why) in [
            ("=/srv", "fs: ``: a name starts with"),
            ("Data=/srv", "fs: `Data`: a name starts with"),
            ("../a=/srv", "fs: `../a`: a name starts with"),
            ("data=", "fs.data.path is empty"),
            ("data=:rw", "fs.data.path is empty"),
        ] {
            let (name, section) = parse(text).unwrap();
            let error = check(&name, &section.try_into().unwrap()).unwrap_err();
            assert!(error.starts_with(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_variable_holds_several() {
        assert_eq!(list(" a=/x, b=/y:rw\nc=/z,,\n").collect::<Vec<_>>(), ["a=/x", "b=/y:rw", "c=/z"]);
    }
}
