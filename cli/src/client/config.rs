//! Which server, and which token: flags, else `PICLOUD_*`, else the client file, else this machine without a token.

use std::time::Duration;

use super::file;
use super::server::{Server, Token};
use crate::args::Global;
use crate::env::Env;
use crate::exit::CliError;

/// How to reach the server.
#[derive(Debug, Clone)]
pub struct ClientSettings {
    /// Where it is.
    pub server: Server,
    /// The token that belongs to it.
    pub token: Option<Token>,
    /// How long an answer may take, if that was said.
    pub timeout: Option<Duration>,
}

impl ClientSettings {
    /// Find the settings.
    ///
    /// A token is used only with the server it was given for: the file's with the file's server, the variable's with
    /// the variable's server (with any, if only the token is in a variable).
    ///
    /// # Errors
    ///
    /// A usage error that names the flag, the variable or the file.
    pub fn resolve(flags: &Global, env: &Env) -> Result<Self, CliError> {
        let server = |source: &str, text: Option<&str>| named(source, text.map(Server::parse).transpose());
        let token = |source: &str, text: Option<&str>| named(source, text.map(Token::parse).transpose());
        let flag = (server("--server", flags.server.as_deref())?, token("--token", flags.token.as_deref())?);
        let variable = (
            server("PICLOUD_SERVER", env.text("PICLOUD_SERVER")?)?,
            token("PICLOUD_TOKEN", env.text("PICLOUD_TOKEN")?)?,
        );
        // A damaged file must not get in the way of those who do not need it.
        let file = match file::path(env) {
            Some(path)
                if flag.0.is_none() && variable.0.is_none() || flag.1.is_none() && variable.1.is_none() =>
            {
                file::read(&path).map_err(CliError::Usage)?.unwrap_or_default()
            }
            _ => file::ClientFile::default(),
        };
        let server = flag.0.or_else(|| variable.0.clone()).unwrap_or_else(|| file.server());
        let of_variable = variable.1.filter(|_| variable.0.is_none_or(|its| its == server));
        let of_file = file.token_for(&server);
        let token = flag.1.or(of_variable).or(of_file);
        Ok(Self { server, token, timeout: flags.timeout.map(Duration::from_secs) })
    }

    /// The same for where the server says that its scripts are. The token belongs there, too, unless others could read it on the
    /// way there who cannot on the way to the API, or this machine is meant where the server is another one.
    #[must_use]
    pub fn at(&self, server: Server) -> Self {
        let readable = self.server.is_https() && !server.is_https();
        let belongs = if server.is_local() { self.server.is_local() } else { !readable };
        Self { token: self.token.clone().filter(|_| belongs), server, timeout: self.timeout }
    }
}

fn named<T>(source: &str, result: Result<T, String>) -> Result<T, CliError> {
    result.map_err(|error| CliError::Usage(format!("{source}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `server token` as resolved, with `-` for no token.
    fn resolve(flags: [&str; 2], env: [&str; 2], file: Option<&str>) -> Result<String, String> {
        let home = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            let folder = home.path().join(".config/picloud");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("client.toml"), text).unwrap();
        }
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let global = Global { server: some(flags[0]), token: some(flags[1]), ..Global::default() };
        let env = Env::of([
            ("HOME", home.path().to_str().unwrap()),
            ("PICLOUD_SERVER", env[0]),
            ("PICLOUD_TOKEN", env[1]),
        ]);
        let settings = ClientSettings::resolve(&global, &env).map_err(|error| error.to_string())?;
        Ok(format!("{} {}", settings.server, settings.token.as_ref().map_or("-", Token::reveal)))
    }

    #[test]
    fn the_token_goes_to_scripts_where_it_is_as_safe_as_on_its_way_to_the_api() {
        for (api, scripts, shown) in [
            ("http://pi:9000", "http://pi", true),
            ("https://pi:9000", "https://pi", true),
            ("http://pi:9000", "https://pi", true),
            ("https://pi:9000", "http://pi", false),
            ("https://pi:9000", "http://127.0.0.1:8080", false),
            ("http://pi:9000", "http://127.0.0.1:8080", false),
            ("https://localhost:9000", "http://127.0.0.1:8080", true),
        ] {
            let token = Some(Token::parse("t").unwrap());
            let settings = ClientSettings { server: Server::parse(api).unwrap(), token, timeout: None };
            let at = settings.at(Server::parse(scripts).unwrap());
            assert_eq!((at.server.to_string().as_str(), at.token.is_some()), (scripts, shown), "{api}");
        }
    }

    const FILE: Option<&str> = Some("server = \"http://file\"\ntoken = \"tf\"");

    #[test]
    fn flags_win_over_variables_over_the_file_over_the_default() {
        let check = |flags, env, file, expect: &str| assert_eq!(resolve(flags, env, file).unwrap(), expect);
        check(["", ""], ["", ""], None, "http://127.0.0.1:8080 -");
        check(["", ""], ["", ""], FILE, "http://file tf");
        check(["", ""], ["http://env", "te"], FILE, "http://env te");
        check(["http://flag", "t"], ["http://env", "te"], FILE, "http://flag t");
        check(["", "t"], ["", ""], FILE, "http://file t");
        check(["", ""], ["", "te"], FILE, "http://file te");
        check(["", ""], ["", ""], Some("token = \"tf\""), "http://127.0.0.1:8080 tf");
    }

    #[test]
    fn a_token_stays_with_its_server() {
        let check = |flags, env, file, expect: &str| assert_eq!(resolve(flags, env, file).unwrap(), expect);
        check(["http://flag", ""], ["", ""], FILE, "http://flag -");
        check(["http://flag", ""], ["http://env", "te"], FILE, "http://flag -");
        check(["", ""], ["http://env", ""], FILE, "http://env -");
        check(["http://127.0.0.1:8080", ""], ["", ""], Some("token = \"tf\""), "http://127.0.0.1:8080 tf");
        check(["https://file", ""], ["", ""], FILE, "https://file -");
        check(["http://file:81", ""], ["", ""], FILE, "http://file:81 -");
        // The same server, written differently, and a token for whatever server is named beside it.
        check(["http://FILE:80/", ""], ["", ""], FILE, "http://file tf");
        check(["http://flag", ""], ["", "te"], FILE, "http://flag te");
    }

    #[test]
    fn mistakes_name_their_source() {
        assert!(resolve(["pi", ""], ["", ""], None).unwrap_err().starts_with("--server: "));
        assert!(resolve(["", "a b"], ["", ""], None).unwrap_err().starts_with("--token: "));
        assert!(resolve(["", ""], ["pi", ""], None).unwrap_err().starts_with("PICLOUD_SERVER: "));
        assert!(resolve(["", ""], ["", "a b"], None).unwrap_err().starts_with("PICLOUD_TOKEN: "));
        assert!(resolve(["", ""], ["", ""], Some("x")).unwrap_err().contains("client.toml: "));
    }

    #[test]
    fn a_damaged_file_is_not_read_when_it_is_not_needed() {
        assert_eq!(resolve(["http://a", "t"], ["", ""], Some("x")).unwrap(), "http://a t");
        assert_eq!(resolve(["", ""], ["http://a", "t"], Some("x")).unwrap(), "http://a t");
    }
}
