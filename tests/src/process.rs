//! The binary `picloud` as a process: a place to run it in, servers that are killed when dropped, and client commands.
//!
//! Everything here panics when something is not as it should be: it is for tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use reqwest::{Body, Method, RequestBuilder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::sleep;

use crate::aot;
use crate::client::client;
use crate::reply::Reply;

/// How long a server may take until it is ready. Without a cache it compiles the sandbox first.
const START_LIMIT: Duration = Duration::from_secs(90);
/// How long a server may take to end once it was told to.
const STOP_LIMIT: Duration = Duration::from_secs(45);

/// A data directory and a home directory of their own. Servers come and go on it.
pub struct Site {
    folder: TempDir,
    starts: AtomicU32,
}

/// A running server.
pub struct Process {
    child: Child,
    client: reqwest::Client,
    /// Where it listens, without a slash at the end.
    pub url: String,
    /// From the start of the process until it said that it is ready.
    pub started_in: Duration,
    token: Option<String>,
    out: PathBuf,
    log: PathBuf,
}

/// How a process ended, and what it wrote.
#[derive(Debug)]
pub struct Ended {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub log: String,
}

impl Ended {
    /// The exit code; none when a signal ended it.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// Standard output as JSON.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }
}

/// The binary, which cargo puts beside the folder of the test binaries.
fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its binary");
    let file = test.parent().and_then(Path::parent).expect("it is in target/<profile>/deps").join("picloud");
    assert!(
        file.is_file(),
        "{} is not there: cargo does not build the binaries of other packages for a test; run \
         `cargo build --release` (with the profile of the test) first, as `make test` does",
        file.display()
    );
    file
}

impl Site {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        // Beside the test binary: the usual place for temporary files may be in memory, where nothing is durable.
        let folder =
            binary().parent().map(|target| tempfile::Builder::new().prefix("site-").tempdir_in(target));
        let folder = folder.expect("a binary is in a folder").expect("a temporary directory can be made");
        Self { folder, starts: AtomicU32::new(0) }
    }

    /// One in which commands without a server need not compile the sandbox's code, if it has been compiled before.
    #[must_use]
    pub fn with_compiled_code() -> Self {
        let site = Self::new();
        aot::fill_user_cache(site.home());
        site
    }

    /// The data directory.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The home directory, in which commands run.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.folder.path()
    }

    /// `picloud` in the environment of this site: nothing of the machine's settings reaches it.
    #[must_use]
    pub fn command(&self) -> Command {
        self.in_environment(Command::new(binary()))
    }

    /// A line for the shell in the environment of this site, where `picloud` is on the path.
    #[must_use]
    pub fn shell(&self, line: &str) -> Command {
        let mut command = self.in_environment(Command::new("sh"));
        let binary = binary();
        let folder = binary.parent().expect("a binary is in a folder").display();
        command.env("PATH", format!("{folder}:/usr/bin:/bin")).arg("-c").arg(line);
        command
    }

    fn in_environment(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    /// Run a client command to its end.
    pub async fn picloud(&self, args: &[&str]) -> Ended {
        let mut command = self.command();
        command.args(args);
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.expect("the task ends").expect("picloud can be started");
        let text = |bytes| String::from_utf8(bytes).expect("picloud writes UTF-8");
        Ended { status: output.status, out: text(output.stdout), log: text(output.stderr) }
    }

    /// Start a server on a free port of the loopback address, with more arguments, and wait until it is ready.
    pub async fn serve(&self, args: &[&str]) -> Process {
        self.try_serve(self.command(), args)
            .await
            .unwrap_or_else(|ended| panic!("the server does not start: {ended:?}"))
    }

    /// As [`Site::serve`], with an address space of so many GiB.
    pub async fn serve_within(&self, address_space_gib: u64, args: &[&str]) -> Process {
        let mut command = self.in_environment(Command::new("sh"));
        let limit = format!("ulimit -v {} && exec \"$0\" \"$@\"", address_space_gib << 20);
        command.arg("-c").arg(limit).arg(binary());
        // Small address spaces need other code.
        aot::fill_cache(&self.data());
        self.spawn(command, args).await.unwrap_or_else(|ended| panic!("the server does not start: {ended:?}"))
    }

    /// Start a server with a command that ends in the binary.
    ///
    /// # Errors
    ///
    /// It ended instead.
    pub async fn try_serve(&self, command: Command, args: &[&str]) -> Result<Process, Ended> {
        aot::with_cache(&self.data(), self.spawn(command, args)).await
    }

    async fn spawn(&self, mut command: Command, args: &[&str]) -> Result<Process, Ended> {
        let number = self.starts.fetch_add(1, Ordering::Relaxed);
        let file = |name: &str| self.folder.path().join(format!("{name}-{number}"));
        let (out, log) = (file("out"), file("log"));
        let create = |path: &Path| File::create(path).expect("a file can be made");
        command.args(["serve", "--address", "127.0.0.1:0", "--data-dir"]).arg(self.data()).args(args);
        command.stdout(create(&out)).stderr(create(&log));
        let begun = Instant::now();
        let child = command.spawn().expect("picloud can be started");
        let client = client().build().expect("a client can be made");
        let (url, started_in) = (String::new(), Duration::ZERO);
        let mut process = Process { child, client, url, started_in, token: None, out, log };
        process.wait_until_ready(begun).await?;
        Ok(process)
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

impl Process {
    async fn wait_until_ready(&mut self, begun: Instant) -> Result<(), Ended> {
        loop {
            if let Some(url) = self.ready_url() {
                self.url = url;
                self.started_in = begun.elapsed();
                return Ok(());
            }
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return Err(self.ended(status));
            }
            assert!(begun.elapsed() < START_LIMIT, "the server is not ready: {}", self.log());
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// What the server says about its address once it is ready.
    fn ready_url(&self) -> Option<String> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("PiCloud is ready"))?;
        let line: Value = serde_json::from_str(line).ok()?;
        Some(line["url"].as_str()?.to_owned())
    }

    /// The process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to standard error so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("the log can be read")
    }

    /// What it has written to standard output so far.
    #[must_use]
    pub fn out(&self) -> String {
        std::fs::read_to_string(&self.out).expect("the output can be read")
    }

    /// The token that this start has printed, which is used for requests from now on.
    pub async fn printed_token(&mut self) -> String {
        let begun = Instant::now();
        loop {
            let out = self.out();
            let token = out.lines().find(|line| line.starts_with("    "));
            // A line is whole when another one follows.
            if let Some(token) = token.filter(|_| out.ends_with("\n\n")) {
                self.token = Some(token.trim().to_owned());
                return token.trim().to_owned();
            }
            assert!(begun.elapsed() < START_LIMIT, "no token on standard output: {out:?}");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Use this token for requests.
    pub fn use_token(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    /// Close the connections that requests have left open.
    pub fn disconnect(&mut self) {
        self.client = client().build().expect("a client can be made");
    }

    /// A request to this server.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let method = Method::from_bytes(method.as_bytes()).expect("a method is a token");
        let request = self.client.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Get a path.
    pub async fn get(&self, path: &str) -> Reply {
        Reply::of(self.request("GET", path)).await
    }

    /// Upload a script to the app `default`, which must succeed.
    pub async fn deploy(&self, name: &str, source: impl Into<Body>) {
        let request = self.request("PUT", &format!("/api/v1/apps/default/scripts/{name}"));
        let reply = Reply::of(request.header("content-type", "text/plain").body(source)).await;
        assert!(reply.is_success(), "deploying {name} failed: {reply}");
    }

    /// Tell the process something.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process is there");
    }

    /// Wait until the process has ended by itself.
    pub async fn wait(mut self) -> Ended {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                return self.ended(status);
            }
            assert!(begun.elapsed() < STOP_LIMIT, "the server does not end: {}", self.log());
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Stop the server as an operator does; it must end in order.
    pub async fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        let ended = self.wait().await;
        assert_eq!(ended.code(), Some(0), "the server did not end in order: {ended:?}");
        ended
    }

    /// End the process like a power cut does, without a chance to do anything.
    pub async fn kill(self) {
        self.signal(Signal::KILL);
        self.wait().await;
    }

    fn ended(&self, status: ExitStatus) -> Ended {
        Ended { status, out: self.out(), log: self.log() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when the process is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
