//! A server under test as a process: started with its output in a file, ready when it answers, gone when dropped.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::args::Args;
use crate::cases;
use crate::client::Client;

/// How long a server may take until it answers. The first start compiles the sandbox.
const START_LIMIT: Duration = Duration::from_secs(60);
/// How long a server may take to stop by itself before it is killed.
const STOP_LIMIT: Duration = Duration::from_secs(15);

/// A running process that listens on a loopback port.
pub(crate) struct Server {
    child: Child,
    url: String,
}

impl Server {
    /// Start the native server with every case's script.
    pub(crate) async fn start_baseline(args: &Args, work: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(&args.baseline);
        command.arg(format!("127.0.0.1:{port}"));
        for case in cases::ALL {
            let file = work.join(format!("{}.rhai", case.name));
            std::fs::write(&file, case.source)?;
            command.arg(file);
        }
        Self::start(command, port, "/default/hello", &work.join("baseline.log")).await
    }

    /// Start a command that will listen on `port`, and wait until a GET of `path` is answered with 200.
    async fn start(mut command: Command, port: u16, path: &str, log: &Path) -> anyhow::Result<Self> {
        let output = File::create(log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        let mut server = Self { child, url: format!("http://127.0.0.1:{port}") };
        server.wait(port, path).await.with_context(|| {
            let output = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<_> = output.lines().collect();
            format!("it wrote:\n{}", lines[lines.len().saturating_sub(20)..].join("\n"))
        })?;
        Ok(server)
    }

    async fn wait(&mut self, port: u16, path: &str) -> anyhow::Result<()> {
        let client = Client::new(self.url.clone());
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended at once: {status}");
            }
            ensure!(begun.elapsed() < START_LIMIT, "no answer from it after {} s", START_LIMIT.as_secs());
            // A refused connection is much cheaper than a failed request, and waiting is part of what gets timed.
            if tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok()
                && client.status(path).await.is_ok_and(|status| status == 200)
            {
                return Ok(());
            }
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Ask the process to end, as an operator would, and wait for it.
    async fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            ensure!(
                begun.elapsed() < STOP_LIMIT,
                "the server did not stop within {} s",
                STOP_LIMIT.as_secs()
            );
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// A line of the process's memory statistics, in bytes: `VmRSS` is resident now, `VmHWM` was the most ever.
    pub(crate) fn memory(&self, line: &str) -> anyhow::Result<u64> {
        let file = format!("/proc/{}/status", self.child.id());
        let text = std::fs::read_to_string(&file).with_context(|| file.clone())?;
        let value =
            text.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix(" kB"));
        let kibibytes: u64 = value.with_context(|| format!("no {line} in {file}"))?.parse()?;
        Ok(kibibytes * 1024)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when the process is already gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// PiCloud: a process of ours with a data directory, or somebody else's by its URL.
pub(crate) enum Picloud {
    Ours { server: Server, start: Start },
    Running { url: String },
}

/// What it takes to start PiCloud again on the same data.
#[derive(Clone)]
pub(crate) struct Start {
    program: PathBuf,
    port: u16,
    work: PathBuf,
}

impl Picloud {
    /// Start it on an empty data directory, or take the one that the arguments name.
    pub(crate) async fn start(args: &Args, work: &Path) -> anyhow::Result<Self> {
        if let Some(url) = &args.picloud_url {
            return Ok(Self::Running { url: url.clone() });
        }
        let start = Start { program: args.picloud.clone(), port: free_port()?, work: work.to_owned() };
        let server = start.run("/livez").await?;
        Ok(Self::Ours { server, start })
    }

    pub(crate) fn url(&self) -> &str {
        match self {
            Self::Ours { server, .. } => server.url(),
            Self::Running { url } => url,
        }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.url().to_owned())
    }

    /// Stop it and start it again on the same data; answers how long it took from the start to the first answer at
    /// `path`. None, and nothing happens, when it is not ours.
    pub(crate) async fn restart(self, path: &str) -> anyhow::Result<(Self, Option<Duration>)> {
        let Self::Ours { server, start } = self else {
            return Ok((self, None));
        };
        server.stop().await?;
        let begun = Instant::now();
        let server = start.run(path).await?;
        Ok((Self::Ours { server, start }, Some(begun.elapsed())))
    }

    /// As [`Server::memory`]; none when the process is not ours.
    pub(crate) fn memory(&self, line: &str) -> anyhow::Result<Option<u64>> {
        match self {
            Self::Ours { server, .. } => server.memory(line).map(Some),
            Self::Running { .. } => Ok(None),
        }
    }
}

impl Start {
    async fn run(&self, path: &str) -> anyhow::Result<Server> {
        let mut command = Command::new(&self.program);
        command
            .args(["serve", "--dev", "--address", &format!("127.0.0.1:{}", self.port), "--data-dir"])
            .arg(self.work.join("data"))
            // It writes its address down for the command line, which must not find this server later.
            .env("HOME", &self.work)
            .env_remove("XDG_CONFIG_HOME");
        Server::start(command, self.port, path, &self.work.join("picloud.log")).await
    }
}

/// A port that nobody listens on. Somebody could take it before the server does; then the start fails and says so.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
