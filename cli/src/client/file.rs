//! The client file: server and token of this machine, written by the first local start of a server.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::server::{Server, Token};
use crate::env::Env;

/// No client file is longer.
const MAX_BYTES: u64 = 64 << 10;

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    server: Option<String>,
    token: Option<String>,
}

/// What the file says, understood.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientFile {
    pub(super) server: Option<Server>,
    pub(super) token: Option<Token>,
}

/// What [`write_client_file`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WrittenFile {
    /// The file is there now.
    Written(PathBuf),
    /// There is one with a token that may be all there is of it. It is left alone.
    Kept(PathBuf),
    /// There is no home directory to write to.
    Nowhere,
}

/// Write the client file, so that commands on this machine find the server and its token. Only its owner may read it.
/// A file that holds a token is kept when it is for another server, or when there is no token to replace it with.
///
/// # Errors
///
/// `server` is no server's URL, `token` is no token, or the file cannot be written.
pub fn write_client_file(env: &Env, server: &str, token: Option<&str>) -> anyhow::Result<WrittenFile> {
    let Some(path) = path(env) else { return Ok(WrittenFile::Nowhere) };
    let server = Server::parse(server).map_err(anyhow::Error::msg)?;
    let token = token.map(Token::parse).transpose().map_err(anyhow::Error::msg)?;
    if let Ok(Some(ClientFile { server: old, token: Some(_) })) = read(&path)
        && (token.is_none() || old.unwrap_or_default() != server)
    {
        return Ok(WrittenFile::Kept(path));
    }
    write(&path, &server, token.as_ref()).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(WrittenFile::Written(path))
}

/// A token of the client file, and the server that it is for.
pub struct SavedToken {
    /// The server's URL.
    pub server: String,
    /// The token's text: a secret.
    pub token: String,
}

/// The token that the client file has; none when there is no file, or none that can be understood.
#[must_use]
pub fn saved_token(env: &Env) -> Option<SavedToken> {
    let file = read(&path(env)?).ok()??;
    let server = file.server.unwrap_or_default().to_string();
    Some(SavedToken { server, token: file.token?.reveal().to_owned() })
}

/// Where the file is; none without a home directory.
pub(super) fn path(env: &Env) -> Option<PathBuf> {
    let config = match env.get("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(config) => config,
        None => PathBuf::from(env.get("HOME")?).join(".config"),
    };
    Some(config.join("picloud").join("client.toml"))
}

/// What the file says; none when it is not there.
pub(super) fn read(path: &Path) -> Result<Option<ClientFile>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&error)),
    };
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    // The parser's message would show the line, and the line may hold the token.
    let content: Content = toml::from_str(&text).map_err(|error| wrong(&error.message()))?;
    Ok(Some(ClientFile {
        server: content.server.as_deref().map(Server::parse).transpose().map_err(|error| wrong(&error))?,
        token: content.token.as_deref().map(Token::parse).transpose().map_err(|error| wrong(&error))?,
    }))
}

/// Write beside and rename, so that no reader sees half a file, and no mode but 0600 is ever on it.
fn write(path: &Path, server: &Server, token: Option<&Token>) -> anyhow::Result<()> {
    let folder = path.parent().context("no folder")?;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let content =
        Content { server: Some(server.to_string()), token: token.map(|token| token.reveal().to_owned()) };
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(file, "# Written by `picloud serve`, read by the other commands. The token is a secret.")?;
    file.write_all(toml::to_string(&content)?.as_bytes())?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Env) {
        let home = tempfile::tempdir().unwrap();
        let env = Env::of([("HOME", home.path().to_str().unwrap())]);
        (home, env)
    }

    #[test]
    fn the_file_is_where_xdg_says() {
        let of = |env: &[(&str, &str)]| path(&Env::of(env.iter().copied()));
        assert_eq!(of(&[("HOME", "/h")]), Some("/h/.config/picloud/client.toml".into()));
        assert_eq!(of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/x")]), Some("/x/picloud/client.toml".into()));
        assert_eq!(
            of(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "relative")]),
            Some("/h/.config/picloud/client.toml".into())
        );
        assert_eq!(of(&[]), None);
        assert_eq!(write_client_file(&Env::default(), "http://a", None).unwrap(), WrittenFile::Nowhere);
    }

    #[test]
    fn what_is_written_is_read_and_private() {
        let (_home, env) = home();
        let written = write_client_file(&env, "http://127.0.0.1:8080/", Some("pct_1")).unwrap();
        let WrittenFile::Written(path) = written else { panic!("{written:?}") };
        let file = read(&path).unwrap().unwrap();
        assert_eq!(file.server.unwrap().to_string(), "http://127.0.0.1:8080");
        assert_eq!(file.token.unwrap().reveal(), "pct_1");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode(&path), 0o600);
            assert_eq!(mode(path.parent().unwrap()), 0o700);
        }
    }

    #[test]
    fn a_new_token_replaces_the_old_one_of_the_same_server_only() {
        let (_home, env) = home();
        write_client_file(&env, "http://pi:8080", Some("pct_1")).unwrap();
        assert!(matches!(
            write_client_file(&env, "http://pi:8080", Some("pct_2")).unwrap(),
            WrittenFile::Written(_)
        ));
        assert!(matches!(write_client_file(&env, "http://pi:8080", None).unwrap(), WrittenFile::Kept(_)));
        let kept = write_client_file(&env, "http://127.0.0.1:8080", Some("pct_3")).unwrap();
        let WrittenFile::Kept(path) = kept else { panic!("{kept:?}") };
        assert_eq!(read(&path).unwrap().unwrap().token.unwrap().reveal(), "pct_2");
    }

    #[test]
    fn a_damaged_file_is_named_without_its_token() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("client.toml");
        for text in
            ["token = pct_secret", "tokn = \"pct_secret\"", "token = \"pct_secret\"\nserver = \"nowhere\""]
        {
            std::fs::write(&path, text).unwrap();
            let error = read(&path).unwrap_err();
            assert!(error.contains("client.toml: ") && !error.contains("pct_secret"), "{error}");
        }
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        assert!(read(&path).is_err());
        assert!(read(&folder.path().join("none")).unwrap().is_none());
    }
}
