//! The server's configuration: flags win over `PICLOUD_*`, these over the TOML file, the file over the defaults.

mod grants;
mod layers;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use ipnet::IpNet;
use picloud_host::grants::GrantConfig;
use picloud_host::limits::Limits;
use picloud_host::mqtt::Broker;
use picloud_host::quota::Quotas;
use serde::{Deserialize, Deserializer};

use crate::args::ServeArgs;
use crate::client::server::Server;
use crate::env::Env;
use crate::exit::CliError;

/// Everything that `picloud serve` can be told. Checked: every value is in its range.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServeConfig {
    /// Where to listen. Port 0 lets the system choose.
    #[serde(deserialize_with = "address")]
    pub address: SocketAddr,
    /// Where the control plane is, apart from scripts; none: at `address`, too. Port 0 lets the system choose.
    #[serde(deserialize_with = "another_address")]
    pub admin_address: Option<SocketAddr>,
    /// Where others reach scripts; none: where they reach the API, or at `address` if the API has one of its own.
    #[serde(deserialize_with = "public_url")]
    pub public_url: Option<Server>,
    /// Where everything is kept. A relative path counts from the working directory.
    pub data_dir: PathBuf,
    /// Where the key is that secrets are encrypted with; none: in the data directory. A relative path counts from the
    /// working directory.
    pub secret_key_file: Option<PathBuf>,
    /// No token is needed; `address` is a loopback address.
    pub dev: bool,
    /// Proxies before the server whose `X-Forwarded-For` is believed.
    #[serde(deserialize_with = "networks")]
    pub trusted_proxies: Vec<IpNet>,
    /// The limits of every call.
    pub limits: Limits,
    /// What every app may have of what all share, as far as that is set here.
    pub quotas: Quotas,
    /// Directories that scripts may use, by the name that they have there.
    pub fs: BTreeMap<String, GrantConfig>,
    /// The MQTT broker to connect to.
    #[serde(deserialize_with = "broker")]
    pub mqtt: Option<Broker>,
    /// Calls that run at the same time; none: as many as the address space and the memory allow.
    pub max_concurrent_calls: Option<NonZeroUsize>,
    /// Calls that wait for their turn. 0: none waits, what cannot run at once is turned away.
    pub max_waiting_calls: usize,
    /// Events of one app that run at the same time.
    pub max_concurrent_events: u16,
    /// Bytes of memory that calls must leave free; none: the smaller of 5 % of the memory and 64 MiB. 0: never mind.
    pub memory_reserve_bytes: Option<u64>,
    /// Where `proc` and `sys` are, which tell how much memory there is: `/`, but for tests.
    #[serde(skip)]
    pub system_root: PathBuf,
    /// Bytes of memory for images of scripts.
    pub image_cache_bytes: u64,
    /// Bytes of memory for the bodies of requests under way; none: a sixteenth of the memory, but room for four of the
    /// largest at least.
    pub body_memory_bytes: Option<u64>,
    /// How much is kept about executions.
    pub telemetry: TelemetryConfig,
    /// Seconds that calls under way may take to finish when the server stops. 0: they are cut off.
    pub drain_seconds: u64,
    /// How the server logs.
    pub log: LogConfig,
}

/// How much is kept about executions: the section `[telemetry]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TelemetryConfig {
    /// Records older than this many days are deleted.
    pub max_age_days: u64,
    /// When the database is larger than this many bytes, the oldest records are deleted.
    pub max_bytes: u64,
    /// Records over this many a second are counted and not kept.
    pub max_rows_per_second: u64,
}

/// How the server logs: the section `[log]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What a line looks like.
    pub format: LogFormat,
    /// A level, or directives such as `picloud_host=debug,info`. Checked: the subscriber's filter accepts it.
    pub level: String,
}

/// What a line of the server's log looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `Pretty` on a terminal, `Json` otherwise.
    #[default]
    Auto,
    /// For people.
    Pretty,
    /// One JSON document a line.
    Json,
}

impl Default for ServeConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            admin_address: None,
            public_url: None,
            data_dir: PathBuf::from("./data"),
            secret_key_file: None,
            dev: false,
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            quotas: Quotas::default(),
            fs: BTreeMap::new(),
            mqtt: None,
            max_concurrent_calls: None,
            max_waiting_calls: 1024,
            max_concurrent_events: 16,
            memory_reserve_bytes: None,
            system_root: PathBuf::from("/"),
            image_cache_bytes: 64 << 20,
            body_memory_bytes: None,
            telemetry: TelemetryConfig::default(),
            drain_seconds: 30,
            log: LogConfig::default(),
        }
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { max_age_days: 7, max_bytes: 256 << 20, max_rows_per_second: 2000 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Auto, level: "info".to_owned() }
    }
}

impl ServeConfig {
    /// Merge flags, variables, file and defaults, and check the result.
    ///
    /// # Errors
    ///
    /// A usage error that names the flag, the variable or the line of the file; both keys when it is two settings that do
    /// not go together.
    pub fn resolve(args: &ServeArgs, env: &Env) -> Result<Self, CliError> {
        let mut table = match layers::file_path(args, env) {
            Some(path) => layers::read_file(&path)?,
            None => toml::Table::new(),
        };
        layers::overlay(&mut table, layers::from_env(env)?);
        layers::overlay(&mut table, layers::from_flags(args)?);
        let mut config: Self = table.try_into().map_err(|error| {
            // Each value has been checked already, with the name of where it is from.
            CliError::Usage(format!("the configuration is wrong: {}", error.message()))
        })?;
        // Paths need not be UTF-8, TOML strings have to be.
        if let Some(folder) = args.data_dir.clone().or_else(|| env.get("PICLOUD_DATA_DIR").map(PathBuf::from))
        {
            config.data_dir = folder;
        }
        let key_file = args.secret_key_file.clone();
        if let Some(file) = key_file.or_else(|| env.get("PICLOUD_SECRET_KEY_FILE").map(PathBuf::from)) {
            config.secret_key_file = Some(file);
        }
        config.check().map_err(CliError::Usage)?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        self.check_values()?;
        let far = [Some(self.address), self.admin_address].into_iter().flatten();
        if let Some(far) = far.filter(|_| self.dev).find(|address| !address.ip().is_loopback()) {
            return Err(format!(
                "--dev asks for no token, so it only listens on this machine: {far} is not a loopback address \
                 (127.0.0.1 is)"
            ));
        }
        if self.admin_address == Some(self.address) && self.address.port() != 0 {
            return Err(format!("address and admin_address are both {}", self.address));
        }
        match self.body_memory_bytes {
            Some(memory) if memory < self.limits.request_body_bytes => Err(format!(
                "body_memory_bytes is {memory}, but one body may have {} (limits.request_body_bytes)",
                self.limits.request_body_bytes
            )),
            _ => Ok(()),
        }
    }

    /// What can be said of a value without looking at the others.
    fn check_values(&self) -> Result<(), String> {
        self.limits.check()?;
        self.quotas.check()?;
        self.fs.iter().try_for_each(|(name, grant)| grants::check(name, grant))?;
        if self.data_dir.as_os_str().is_empty() {
            return Err("data_dir is empty".to_owned());
        }
        if self.secret_key_file.as_ref().is_some_and(|file| file.as_os_str().is_empty()) {
            return Err("secret_key_file is empty".to_owned());
        }
        let concurrent = self.max_concurrent_calls.map_or(1, |calls| calls.get() as u64);
        range("max_concurrent_calls", concurrent, 1, 100_000)?;
        range("max_waiting_calls", self.max_waiting_calls as u64, 0, 1_000_000)?;
        range("max_concurrent_events", u64::from(self.max_concurrent_events), 1, 1024)?;
        range("memory_reserve_bytes", self.memory_reserve_bytes.unwrap_or(0), 0, 1 << 40)?;
        range("image_cache_bytes", self.image_cache_bytes, 1 << 20, 1 << 40)?;
        range("body_memory_bytes", self.body_memory_bytes.unwrap_or(1), 1, 1 << 40)?;
        range("telemetry.max_age_days", self.telemetry.max_age_days, 1, 36_500)?;
        range("telemetry.max_bytes", self.telemetry.max_bytes, 1 << 20, 1 << 50)?;
        range("telemetry.max_rows_per_second", self.telemetry.max_rows_per_second, 1, 1_000_000)?;
        range("drain_seconds", self.drain_seconds, 0, 3600)?;
        self.log.check()
    }
}

impl LogConfig {
    /// The filter takes any word as the name of a module, so a mistyped level would silence everything.
    fn check(&self) -> Result<(), String> {
        let wrong = |why: &dyn std::fmt::Display| {
            format!("log.level `{}` is no level and no filter: {why}", self.level)
        };
        let bare = self.level.split(',').map(str::trim).find(|part| !part.contains(['=', ':', '[']));
        if let Some(Err(error)) = bare.map(str::parse::<tracing_subscriber::filter::LevelFilter>) {
            return Err(wrong(&error));
        }
        tracing_subscriber::EnvFilter::try_new(&self.level).map(|_| ()).map_err(|error| wrong(&error))
    }
}

fn range(name: &str, value: u64, least: u64, most: u64) -> Result<(), String> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{name} is {value}, but must be {least} to {most}"))
}

/// An address with a port; `localhost` is understood, other names are not, since they may mean several addresses.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let numeric =
        text.strip_prefix("localhost:").map_or_else(|| text.clone(), |port| format!("127.0.0.1:{port}"));
    numeric.parse().map_err(|_| {
        serde::de::Error::custom(format_args!(
            "address `{text}` is not IP:PORT, such as 127.0.0.1:8080 or [::1]:8080"
        ))
    })
}

fn another_address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    address(deserializer).map(Some)
}

fn public_url<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Server>, D::Error> {
    let url = Server::parse(&String::deserialize(deserializer)?);
    url.map(Some).map_err(|why| serde::de::Error::custom(format_args!("public_url: {why}")))
}

/// Addresses and networks, with commas between them.
fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let network = |word: &str| {
        let one = || word.parse::<std::net::IpAddr>().map(IpNet::from);
        word.parse().or_else(|_| one()).map_err(|_| {
            serde::de::Error::custom(format_args!(
                "trusted_proxies: `{word}` is neither an address nor a network such as 10.0.0.0/8"
            ))
        })
    };
    text.split(',').map(str::trim).filter(|word| !word.is_empty()).map(network).collect()
}

/// The reason never repeats the text, which may hold a password.
fn broker<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Broker>, D::Error> {
    let broker = Broker::parse(&String::deserialize(deserializer)?);
    broker.map(Some).map_err(|why| {
        serde::de::Error::custom(format_args!("mqtt is not mqtt://[USER:PASSWORD@]HOST[:PORT]: {why}"))
    })
}
