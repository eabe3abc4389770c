//! A real MQTT broker, Mosquitto, on a free port of the loopback address, and its command-line clients.
//!
//! Everything here panics when something is not as it should be: it is for tests.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::ChildStdout;
use tokio::time::{sleep, timeout};

/// How long something may take that is to happen at once.
const PATIENCE: Duration = Duration::from_secs(20);

/// A broker. It keeps what it knows over [`Broker::stop`] and [`Broker::start`].
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    child: Option<Child>,
    folder: TempDir,
}

/// Somebody who hears what is published.
pub struct Subscriber {
    lines: Lines<BufReader<ChildStdout>>,
    /// Ends with this.
    _child: tokio::process::Child,
}

fn tool(name: &str) -> PathBuf {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| PathBuf::from(place).join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| {
        panic!(
            "{name} is not there: the tests of MQTT need Debian's packages mosquitto and mosquitto-clients"
        )
    })
}

impl Broker {
    /// Start one. `settings` are lines of mosquitto.conf.
    pub async fn new(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory can be made");
        // Nobody else takes the port between this and the start: the system hands out others first.
        let free = TcpListener::bind(("127.0.0.1", 0)).expect("there is a free port");
        let address = free.local_addr().expect("a listener has an address");
        drop(free);
        let path = folder.path().display();
        // As root it would become another user, who cannot write here, if it were not told to stay.
        let config = format!(
            "listener {} 127.0.0.1\npersistence true\npersistence_location {path}/\nautosave_interval 1\n\
             log_dest file {path}/log\nlog_type all\nmax_queued_messages 100000\nuser root\n{settings}\n",
            address.port()
        );
        std::fs::write(folder.path().join("conf"), config).expect("the settings can be written");
        let mut broker = Self { address, child: None, folder };
        broker.start().await;
        broker
    }

    /// One that lets everybody in.
    pub async fn open() -> Self {
        Self::new("allow_anonymous true").await
    }

    /// The folder with its files.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Where PiCloud finds it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mqtt://{}", self.address)
    }

    /// Start it again.
    pub async fn start(&mut self) {
        let mut command = Command::new(tool("mosquitto"));
        command.arg("-c").arg(self.folder.path().join("conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("the broker can be started"));
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(self.address).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "the broker does not listen: {}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Stop it in order.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = rustix::process::Pid::from_child(&child);
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            let _ = child.wait();
        }
    }

    /// What it says.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Publish a message with Mosquitto's client.
    pub async fn publish(&self, topic: &str, payload: &[u8], options: &[&str]) {
        let how = if payload.is_empty() { "-n" } else { "-s" };
        self.send(topic, payload, &[&[how], options].concat()).await;
    }

    /// Publish a message for each line.
    pub async fn publish_lines(&self, topic: &str, lines: &str, options: &[&str]) {
        self.send(topic, lines.as_bytes(), &[&["-l"], options].concat()).await;
    }

    async fn send(&self, topic: &str, payload: &[u8], options: &[&str]) {
        use tokio::io::AsyncWriteExt as _;
        let mut command = tokio::process::Command::new(tool("mosquitto_pub"));
        command.args(["-V", "5", "-h", "127.0.0.1", "-p", &self.address.port().to_string(), "-t", topic]);
        command.args(options).stdin(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the client can be started");
        let mut stdin = child.stdin.take().expect("it has one");
        stdin.write_all(payload).await.expect("the client reads");
        drop(stdin);
        let status = timeout(PATIENCE, child.wait()).await.expect("in time").expect("it ends");
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Hear what is published, from now on. Each message is one line in the form `format` of mosquitto_sub.
    pub async fn subscribe(&self, filter: &str, format: &str) -> Subscriber {
        let mut command = tokio::process::Command::new(tool("mosquitto_sub"));
        let port = self.address.port().to_string();
        command.args(["-V", "5", "-h", "127.0.0.1", "-p", &port, "-q", "1", "-t", filter, "-F", format]);
        // The client's own topic shows when the subscription is there.
        let ready = format!("ready/{}", uuid::Uuid::now_v7());
        command.args(["-t", &ready]).stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("the client can be started");
        let lines = BufReader::new(child.stdout.take().expect("it has one")).lines();
        let mut subscriber = Subscriber { lines, _child: child };
        let begun = Instant::now();
        loop {
            self.publish(&ready, b"ready", &[]).await;
            match timeout(Duration::from_millis(200), subscriber.lines.next_line()).await {
                Ok(line) => break drop(line.expect("the client can be read")),
                Err(_) => assert!(begun.elapsed() < PATIENCE, "no subscription: {}", self.log()),
            }
        }
        // What was repeated.
        while timeout(Duration::from_millis(100), subscriber.lines.next_line()).await.is_ok() {}
        subscriber
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Subscriber {
    /// The next message.
    pub async fn next(&mut self) -> String {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("no message came in time");
        line.expect("the client can be read").expect("the client has ended")
    }

    /// Whether nothing comes for a while.
    pub async fn is_silent(&mut self) -> bool {
        timeout(Duration::from_millis(300), self.lines.next_line()).await.is_err()
    }
}
