//! Where `picloud run` and `picloud test` keep the sandbox's compiled code: a folder of the user, if nobody else can write to it, since
//! what is in it is run.

use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _};
use picloud_host::aot::AotCache;

use crate::env::Env;
use crate::output::Terminal;

/// The cache in the user's folder. Without one that is the user's alone nothing is kept, and it is said why.
pub(crate) fn open(env: &Env, terminal: &mut Terminal) -> AotCache {
    let Some(path) = path(env) else { return AotCache::none() };
    match private_folder(&path) {
        Ok(folder) => AotCache::in_dir(folder),
        Err(why) => {
            terminal
                .note(&format!("compiling the sandbox's code without the cache {}: {why}", path.display()));
            AotCache::none()
        }
    }
}

/// `$XDG_CACHE_HOME/picloud` or `~/.cache/picloud`; none without a home directory.
fn path(env: &Env) -> Option<PathBuf> {
    let cache = match env.get("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(cache) => cache,
        None => PathBuf::from(env.get("HOME")?).join(".cache"),
    };
    Some(cache.join("picloud"))
}

/// The folder, made if it is not there. What is looked at is the open folder, so that no other one can take its place.
fn private_folder(path: &Path) -> Result<Dir, String> {
    let open = || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        let folder = Dir::open_ambient_dir(path, ambient_authority())?;
        let metadata = folder.dir_metadata()?;
        std::io::Result::Ok((folder, metadata))
    };
    let (folder, metadata) = open().map_err(|error| error.to_string())?;
    is_private(metadata.uid(), metadata.mode(), rustix::process::geteuid().as_raw())?;
    Ok(folder)
}

/// Whether `user` is the only one who can write to what has this owner and mode.
fn is_private(owner: u32, mode: u32, user: u32) -> Result<(), &'static str> {
    if owner != user {
        return Err("it belongs to another user");
    }
    if mode & 0o022 != 0 {
        return Err("others can write to it; remove it, and it is made again for you alone");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_folder_is_where_xdg_says() {
        let of = |env: &[(&str, &str)]| path(&Env::of(env.iter().copied()));
        assert_eq!(of(&[("HOME", "/h")]), Some("/h/.cache/picloud".into()));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), Some("/x/picloud".into()));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_CACHE_HOME", "here")]), Some("/h/.cache/picloud".into()));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_folder_that_is_made_is_for_its_owner_only() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a/picloud");
        private_folder(&path).unwrap();
        for folder in [path.as_path(), path.parent().unwrap()] {
            assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
        }
    }

    #[test]
    fn a_folder_that_others_can_write_to_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        for (mode, used) in [(0o755, true), (0o700, true), (0o775, false), (0o702, false), (0o1777, false)] {
            std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(private_folder(folder.path()).is_ok(), used, "{mode:o}");
        }
    }

    #[test]
    fn a_folder_of_another_user_is_not_used() {
        assert_eq!(is_private(1000, 0o40700, 1000), Ok(()));
        assert_eq!(is_private(1001, 0o40700, 1000), Err("it belongs to another user"));
        assert!(is_private(1000, 0o40700, 0).is_err());
    }

    #[test]
    fn what_is_no_folder_is_told() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(private_folder(file.path()).is_err());
    }
}
