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
    session: Option<SessionContent>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SessionContent {
    server: String,
    token: String,
}

/// What the file says, understood.
#[derive(Debug, Clone, Default)]
pub(super) struct ClientFile {
    pub(super) server: Option<Server>,
    pub(super) token: Option<Token>,
    /// Who has logged in, and where. It is beside the token, which may be all there is of it.
    pub(super) session: Option<(Server, Token)>,
}

impl ClientFile {
    /// The server that is meant when none is named.
    pub(super) fn server(&self) -> Server {
        let server = self.session.as_ref().map(|(server, _)| server).or(self.server.as_ref());
        server.cloned().unwrap_or_default()
    }

    /// What to show a server: the session there, else the token for it.
    pub(super) fn token_for(&self, server: &Server) -> Option<Token> {
        let session = self.session.as_ref().filter(|(its, _)| its == server).map(|(_, token)| token);
        let is_for_it =
            self.server.as_ref().map_or_else(|| Server::default() == *server, |its| its == server);
        session.or(self.token.as_ref().filter(|_| is_for_it)).cloned()
    }
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
    let old = read(&path).ok().flatten().unwrap_or_default();
    if old.token.is_some() && (token.is_none() || old.server.unwrap_or_default() != server) {
        return Ok(WrittenFile::Kept(path));
    }
    write(&path, &ClientFile { server: Some(server), token, session: old.session })?;
    Ok(WrittenFile::Written(path))
}

/// Keep a session at a server in the client file, in the place of another one, and beside the token that is there. Returns
/// where the file is.
///
/// # Errors
///
/// There is no home directory, the session's token is none, or the file cannot be read or written.
pub fn remember_session(env: &Env, server: &Server, token: &str) -> anyhow::Result<PathBuf> {
    let path = path(env).context("there is no home directory")?;
    let token = Token::parse(token).map_err(anyhow::Error::msg)?;
    let file = read(&path).map_err(anyhow::Error::msg)?.unwrap_or_default();
    write(&path, &ClientFile { session: Some((server.clone(), token)), ..file })?;
    Ok(path)
}

/// Remove a session from the client file, if it is the one that is there.
///
/// # Errors
///
/// The file cannot be read or written.
pub fn forget_session(env: &Env, token: &Token) -> anyhow::Result<()> {
    let Some(path) = path(env) else { return Ok(()) };
    match read(&path).map_err(anyhow::Error::msg)? {
        Some(file) if file.session.as_ref().is_some_and(|(_, its)| its == token) => {
            write(&path, &ClientFile { session: None, ..file })
        }
        _ => Ok(()),
    }
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
    let understood = || {
        let session = |session: &SessionContent| {
            Ok::<_, String>((Server::parse(&session.server)?, Token::parse(&session.token)?))
        };
        Ok(ClientFile {
            server: content.server.as_deref().map(Server::parse).transpose()?,
            token: content.token.as_deref().map(Token::parse).transpose()?,
            session: content.session.as_ref().map(session).transpose()?,
        })
    };
    understood().map(Some).map_err(|error: String| wrong(&error))
}

/// Write beside and rename, so that no reader sees half a file, and no mode but 0600 is ever on it.
fn write(path: &Path, file: &ClientFile) -> anyhow::Result<()> {
    write_whole(path, file).with_context(|| format!("cannot write {}", path.display()))
}

fn write_whole(path: &Path, file: &ClientFile) -> anyhow::Result<()> {
    let folder = path.parent().context("no folder")?;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)?;
    let reveal = |token: &Token| token.reveal().to_owned();
    let session = |(server, token): &(Server, Token)| SessionContent {
        server: server.to_string(),
        token: reveal(token),
    };
    let content = Content {
        server: file.server.as_ref().map(Server::to_string),
        token: file.token.as_ref().map(reveal),
        session: file.session.as_ref().map(session),
    };
    // Temporary files are made with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(
        file,
        "# Written by `picloud serve` and `picloud login`, read by the other commands. The token is a secret."
    )?;
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
    fn a_session_is_beside_the_token_and_goes_alone() {
        let (_home, env) = home();
        write_client_file(&env, "http://127.0.0.1:8080", Some("pct_1")).unwrap();
        let far = Server::parse("https://pi.example.org").unwrap();
        let path = remember_session(&env, &far, "session_1").unwrap();
        let shown = |server: &Server| {
            let file = read(&path).unwrap().unwrap();
            file.token_for(server).map(|token| token.reveal().to_owned())
        };
        assert_eq!(shown(&far).as_deref(), Some("session_1"));
        assert_eq!(shown(&Server::default()).as_deref(), Some("pct_1"));
        assert_eq!(shown(&Server::parse("https://other.example.org").unwrap()), None);
        assert_eq!(
            read(&path).unwrap().unwrap().server(),
            far,
            "it is the server that was last logged in at"
        );
        write_client_file(&env, "http://127.0.0.1:8080", Some("pct_2")).unwrap();
        remember_session(&env, &Server::default(), "session_2").unwrap();
        assert_eq!(shown(&Server::default()).as_deref(), Some("session_2"));
        forget_session(&env, &Token::parse("session_1").unwrap()).unwrap();
        assert_eq!(shown(&Server::default()).as_deref(), Some("session_2"));
        forget_session(&env, &Token::parse("session_2").unwrap()).unwrap();
        assert_eq!(shown(&Server::default()).as_deref(), Some("pct_2"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
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
