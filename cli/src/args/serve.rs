//! The options of `picloud serve`. What is left out here comes from the environment, the file, or the defaults.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// What stands below the options.
pub(super) const EXAMPLES: &str = "\
Examples:
  picloud serve --dev                                   to try things out on this machine
  picloud serve --address 0.0.0.0:80 --data-dir /var/lib/picloud
  picloud serve --config /etc/picloud.toml --limit fuel=10000000
  picloud serve --dev --fs data=/srv/data:rw            scripts can read and write files in /srv/data
  picloud serve --dev --mqtt mqtt://127.0.0.1           scripts can publish to a broker and hear its messages

Every option can also be set by a variable PICLOUD_... (PICLOUD_DATA_DIR, PICLOUD_TELEMETRY_MAX_BYTES,
PICLOUD_LIMITS_FUEL) or in a file:

  address = \"127.0.0.1:8080\"
  data_dir = \"./data\"
  [limits]
  fuel = 100_000_000
  [telemetry]
  max_age_days = 30
  [log]
  level = \"info\"

Options win over variables, variables over the file, the file over the defaults.";

/// `picloud serve`.
#[derive(Debug, Clone, Default, Args)]
pub struct ServeArgs {
    /// Where to listen [default: 127.0.0.1:8080]
    #[arg(long, value_name = "IP:PORT")]
    pub address: Option<String>,

    /// Where the API, /openapi.json and /metrics are, apart from scripts; then users can log in with a browser
    /// [default: the same address]
    #[arg(long, value_name = "IP:PORT")]
    pub admin_address: Option<String>,

    /// Where others reach scripts, such as `https://pi.example`; the command line shows and calls them there [default: the URL
    /// of the API; with --admin-address, made from the address]
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,

    /// Where everything is kept; made if it is not there [default: ./data]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,

    /// Where the key is that secrets are encrypted with; made if it is not there [default: secret.key in the data
    /// directory]
    #[arg(long, value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,

    /// For development: no token is needed, and only this machine can connect
    #[arg(long, action = ArgAction::SetTrue)]
    pub dev: bool,

    /// Proxies before this server, as addresses and networks with commas between them: their X-Forwarded-For says who the
    /// client is [default: none]
    #[arg(long, value_name = "NETWORKS")]
    pub trusted_proxies: Option<String>,

    /// Read settings from a TOML file [env: PICLOUD_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set a limit of every call, such as fuel=10000000 or deadline-ms=2000; may be repeated
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    pub limits: Vec<String>,

    /// Set a quota of every app, such as calls-per-second=20 or kv-bytes=100000000; may be repeated
    #[arg(long = "quota", value_name = "NAME=VALUE")]
    pub quotas: Vec<String>,

    /// Let scripts use a directory as NAME: read it, and with `:rw` also change what is in it; may be repeated
    #[arg(long = "fs", value_name = "NAME=PATH[:rw]")]
    pub fs: Vec<String>,

    /// Connect to an MQTT 5 broker, `mqtt://[USER:PASSWORD@]HOST[:PORT]` or `mqtts://...`; scripts can publish there and be
    /// called by its messages. Others see the options of a process: a password is better off in the file
    #[arg(long, value_name = "URL")]
    pub mqtt: Option<String>,

    /// Calls that run at the same time [default: as many as memory allows]
    #[arg(long, value_name = "CALLS")]
    pub max_concurrent_calls: Option<u64>,

    /// Calls that wait for their turn; more are turned away [default: 1024]
    #[arg(long, value_name = "CALLS")]
    pub max_waiting_calls: Option<u64>,

    /// Events of one app that run at the same time [default: 16]
    #[arg(long, value_name = "EVENTS")]
    pub max_concurrent_events: Option<u64>,

    /// Memory that calls must leave free; while there is less they are turned away [default: the smaller of 5 % of the
    /// memory and 64 MiB]
    #[arg(long, value_name = "BYTES")]
    pub memory_reserve_bytes: Option<u64>,

    /// Memory for the images of scripts that are called often [default: 67108864]
    #[arg(long, value_name = "BYTES")]
    pub image_cache_bytes: Option<u64>,

    /// Memory for the bodies of requests under way; more are turned away [default: a sixteenth of the memory, but four
    /// of the largest bodies at least]
    #[arg(long, value_name = "BYTES")]
    pub body_memory_bytes: Option<u64>,

    /// Forget executions and logs after this many days [default: 7]
    #[arg(long, value_name = "DAYS")]
    pub telemetry_max_age_days: Option<u64>,

    /// Forget the oldest executions and logs when they take more than this [default: 268435456]
    #[arg(long, value_name = "BYTES")]
    pub telemetry_max_bytes: Option<u64>,

    /// Record at most this many executions a second; the rest is counted only [default: 2000]
    #[arg(long, value_name = "ROWS")]
    pub telemetry_max_rows_per_second: Option<u64>,

    /// How long calls under way may take to finish when the server is told to stop [default: 30]
    #[arg(long, value_name = "SECONDS")]
    pub drain_seconds: Option<u64>,

    /// How the server logs: auto, pretty or json [default: auto, which is pretty on a terminal]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,

    /// What the server logs: error, warn, info, debug, trace, or directives as picloud_host=debug,info
    /// [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<String>,
}
