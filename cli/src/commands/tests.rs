//! The commands, most of them against a server that plays the API: exit codes, what is printed where, what is sent.

mod apps;
mod canary;
mod coverage;
mod deploy;
mod http_policy;
mod invoke;
mod keys;
mod lists;
mod logs;
mod project;
mod routes;
mod run;
pub(crate) mod server;
mod session;
mod top;
mod users;

use std::io::Write;
use std::sync::{Arc, Mutex};

use crate::env::Env;
use crate::exit::Exit;
use crate::output::Terminal;

/// How a command line ended.
pub(crate) struct Ran {
    exit: Exit,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn expect(self, exit: Exit) -> Self {
        assert_eq!(self.exit, exit, "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// The one document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}", self.out))
    }

    /// What the one document on standard error says about the error.
    #[track_caller]
    fn error(&self) -> serde_json::Value {
        let document: serde_json::Value =
            serde_json::from_str(&self.err).unwrap_or_else(|e| panic!("{e}: {}", self.err));
        document["error"].clone()
    }
}

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Buffer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// Run `picloud` with these words, in an environment that names the server and a token for it.
async fn picloud(server: &str, words: &[&str]) -> Ran {
    picloud_in(&[("PICLOUD_SERVER", server), ("PICLOUD_TOKEN", "pct_secret")], words).await
}

/// Run `picloud` with these words, in this environment.
pub(crate) async fn picloud_in(env: &[(&str, &str)], words: &[&str]) -> Ran {
    ran(&Env::of(env.iter().copied()), words).await
}

/// Run `picloud` with these words in a folder.
async fn picloud_within(folder: &std::path::Path, server: &str, words: &[&str]) -> Ran {
    let env = Env::of([("PICLOUD_SERVER", server), ("PICLOUD_TOKEN", "pct_secret")]);
    ran(&env.within(folder), words).await
}

async fn ran(env: &Env, words: &[&str]) -> Ran {
    ran_with(b"[1]", env, words).await
}

/// Run `picloud` with these words and this on standard input.
async fn ran_with(input: &'static [u8], env: &Env, words: &[&str]) -> Ran {
    let (out, err) = (Buffer::default(), Buffer::default());
    let mut terminal = Terminal::new(Box::new(input), Box::new(out.clone()), Box::new(err.clone()));
    let words = std::iter::once("picloud").chain(words.iter().copied()).map(Into::into);
    let exit = match crate::parse(words, &mut terminal) {
        Ok(args) => crate::execute(args, env, &mut terminal).await,
        Err(exit) => exit,
    };
    Ran { exit, out: out.text(), err: err.text() }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_one_clear_sentence() {
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let ran = picloud(&server, &["scripts"]).await.expect(Exit::Unreachable);
    let expect = format!(
        "error: no server answers at {server} (connection refused): start one with `picloud serve`, or name another \
         with --server\n"
    );
    assert_eq!(ran.err, expect);
    let ran = picloud(&server, &["scripts", "-o", "json"]).await.expect(Exit::Unreachable);
    assert_eq!(ran.error()["code"], "unreachable");
    assert_eq!(ran.out, "");
}

#[tokio::test]
async fn wrong_usage_is_2_also_as_json() {
    let ran = picloud("http://a", &["rollback"]).await.expect(Exit::Usage);
    assert!(ran.err.contains("<NAME>") && ran.out.is_empty(), "{}", ran.err);
    let ran = picloud("http://a", &["rollback", "-o", "json"]).await.expect(Exit::Usage);
    assert_eq!(ran.error()["code"], "usage");
    let ran = picloud("pi:8080", &["scripts"]).await.expect(Exit::Usage);
    assert!(ran.err.starts_with("error: PICLOUD_SERVER: "), "{}", ran.err);
    picloud("http://a", &["executions", "--since", "yesterday"]).await.expect(Exit::Usage);
}

#[tokio::test]
async fn help_and_version_are_no_failure() {
    let ran = picloud("http://a", &["--help"]).await.expect(Exit::Ok);
    assert!(ran.out.contains("Exit codes:") && ran.err.is_empty());
    assert!(!ran.out.contains('\u{1b}'));
    picloud("http://a", &["--version"]).await.expect(Exit::Ok);
    let ran = picloud("http://a", &["invoke", "--help"]).await.expect(Exit::Ok);
    assert!(ran.out.contains("Examples:"));
}

#[test]
fn the_reader_of_the_output_may_leave() {
    let broken = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
    assert_eq!(crate::exit::CliError::from(broken).exit(), Exit::Ok);
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    assert_eq!(crate::exit::CliError::from(full).exit(), Exit::Failed);
}
