//! The key that secrets are encrypted with: 32 random bytes in a file of their own, made by the first start.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, MetadataExt as _, OpenOptions, OpenOptionsExt as _};
use picloud_manager::vault::{KEY_BYTES, Vault};
use zeroize::Zeroizing;

use crate::data_dir::DataDir;

/// The name of the file in the data directory, when no other place is given.
pub(crate) const KEY_FILE: &str = "secret.key";

/// What is said of every copy of the database.
pub(crate) const KEY_IS_NOT_IN_IT: &str = "secrets in it can be read only with the server's key, which is not in it: secret.key in its data directory";

/// A key that is being made has this behind its name. After a power cut it may be left, and is not looked at.
const UNFINISHED: &str = ".new";

/// Where the key is.
struct Place<'a> {
    dir: &'a Dir,
    name: &'a OsStr,
    /// For messages.
    path: &'a Path,
}

/// Read the key, or make one if there is none. `secrets` is how many there are in the database.
///
/// # Errors
///
/// The file cannot be read or made, or holds no key. It is missing at a place that was given, though there are secrets
/// that need it: the place may only not be mounted, and a new key would open none of them.
pub(crate) fn open(data: &DataDir, given: Option<&Path>, secrets: usize) -> Result<Vault> {
    let Some(path) = given else {
        let path = data.path(KEY_FILE);
        let place = Place { dir: data.dir(), name: OsStr::new(KEY_FILE), path: &path };
        return place.read_or_make();
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().with_context(|| format!("{} is no name of a file", path.display()))?;
    let dir = Dir::open_ambient_dir(parent, ambient_authority())
        .with_context(|| format!("cannot use the folder of the key file {}", path.display()))?;
    if secrets > 0 && !dir.try_exists(name)? {
        bail!(
            "there is no key file {}, but {secrets} secrets that need one; to begin with a new key, delete them or \
             make the file: 32 random bytes",
            path.display()
        );
    }
    Place { dir: &dir, name, path }.read_or_make()
}

impl Place<'_> {
    fn read_or_make(&self) -> Result<Vault> {
        let context = || format!("cannot use the key file {}", self.path.display());
        match self.read() {
            Ok(key) => Ok(Vault::new(&key)),
            Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(is_missing) => {
                let key = self.make().with_context(context)?;
                tracing::info!(path = %self.path.display(), "made a key for secrets: keep a copy of it");
                Ok(Vault::new(&key))
            }
            Err(error) => Err(error).with_context(context),
        }
    }

    fn read(&self) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
        // Without waiting: a pipe in its place must not stop the start.
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits())?;
        let file = self.dir.open_with(self.name, OpenOptions::new().read(true).custom_flags(nonblocking))?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            bail!("it is no file");
        }
        if metadata.mode() & 0o077 != 0 {
            tracing::warn!(path = %self.path.display(), "others can use the key file of secrets: chmod it to 600");
        }
        // One byte more, to see that there is none.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        match <[u8; KEY_BYTES]>::try_from(bytes.as_slice()) {
            Ok(key) => Ok(Zeroizing::new(key)),
            Err(_) if bytes.len() > KEY_BYTES => bail!("it has more than {KEY_BYTES} bytes, so it is no key"),
            Err(_) => bail!("it has {} bytes, but a key has {KEY_BYTES}", bytes.len()),
        }
    }

    /// The key is on the disk under its name, whole, before it is used for anything.
    fn make(&self) -> Result<Zeroizing<[u8; KEY_BYTES]>> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        getrandom::fill(&mut *key).context("the system has no random numbers")?;
        let unfinished = [self.name, OsStr::new(UNFINISHED)].join(OsStr::new(""));
        match self.dir.remove_file(&unfinished) {
            Err(error) if !is_missing(&error) => return Err(error.into()),
            _ => {}
        }
        let mut options = OpenOptions::new();
        let mut file = self.dir.open_with(&unfinished, options.write(true).create_new(true).mode(0o600))?;
        file.write_all(&*key)?;
        file.sync_all()?;
        self.dir.rename(&unfinished, self.dir, self.name)?;
        // The directory itself is open for paths only.
        self.dir.open(".")?.sync_all()?;
        Ok(key)
    }
}

fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn data(folder: &Path) -> DataDir {
        DataDir::open(&folder.join("data")).unwrap()
    }

    fn key_of(vault: &Vault) -> String {
        format!("{vault:?}")
    }

    #[test]
    fn the_first_start_makes_a_key_and_the_next_one_uses_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        let first = open(&data, None, 0).unwrap();
        let metadata = std::fs::metadata(data.path(KEY_FILE)).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o777), (32, 0o600));
        assert_eq!(key_of(&open(&data, None, 5).unwrap()), key_of(&first));
        std::fs::remove_file(data.path(KEY_FILE)).unwrap();
        std::fs::write(data.path("secret.key.new"), "left by a power cut").unwrap();
        assert_ne!(key_of(&open(&data, None, 5).unwrap()), key_of(&first));
        assert!(!data.path("secret.key.new").exists());
    }

    #[test]
    fn it_can_be_elsewhere_and_must_be_there_if_secrets_need_it() {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        let path = folder.path().join("key");
        let missing = open(&data, Some(&path), 2).unwrap_err().to_string();
        assert!(missing.contains("there is no key file") && missing.contains("2 secrets"), "{missing}");
        let made = open(&data, Some(&path), 0).unwrap();
        assert_eq!(key_of(&open(&data, Some(&path), 2).unwrap()), key_of(&made));
        assert!(!data.path(KEY_FILE).exists());
        let nowhere = open(&data, Some(&folder.path().join("no/key")), 0).unwrap_err();
        assert!(nowhere.to_string().starts_with("cannot use the folder of the key file"), "{nowhere}");
    }

    #[test]
    fn what_is_no_key_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let data = data(folder.path());
        let path = folder.path().join("key");
        for (content, reason) in
            [("", "has 0 bytes"), ("short", "has 5 bytes"), (&"x".repeat(33), "more than 32")]
        {
            std::fs::write(&path, content).unwrap();
            let error = format!("{:#}", open(&data, Some(&path), 0).unwrap_err());
            assert!(error.contains("cannot use the key file") && error.contains(reason), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), content);
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let error = format!("{:#}", open(&data, Some(&path), 0).unwrap_err());
        assert!(error.contains("it is no file"), "{error}");
    }
}
