//! The commands about secrets, configuration and the policy for requests to other servers.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::AppOnly;

/// `picloud secrets`.
#[derive(Debug, Clone, Args)]
pub struct SecretsArgs {
    /// The app.
    #[command(flatten)]
    pub app: AppOnly,

    /// What to do; without it the secrets are listed
    #[command(subcommand)]
    pub command: Option<SecretsCommand>,
}

/// What to do with secrets.
#[derive(Debug, Clone, Subcommand)]
pub enum SecretsCommand {
    /// List the secrets, without their values
    List,
    /// Set a secret: its value comes from standard input or a file, where no list of processes shows it
    #[command(after_help = "\
Examples:
  picloud secrets set mail-password            type it, then Enter and Ctrl-D
  pass show mail | picloud secrets set mail-password
  picloud secrets set tls-key --file key.pem

One line break at the end, as a terminal and `echo` leave it, is no part of the value; --keep-newline keeps it.")]
    Set {
        /// The secret
        name: String,
        /// Read the value from a file, not from standard input
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// A line break at the end belongs to the value
        #[arg(long)]
        keep_newline: bool,
    },
    /// Delete a secret
    Rm {
        /// The secret
        name: String,
    },
}

/// `picloud config`.
#[derive(Debug, Clone, Args)]
pub struct ConfigArgs {
    /// The app.
    #[command(flatten)]
    pub app: AppOnly,

    /// What to do; without it the values are listed
    #[command(subcommand)]
    pub command: Option<ConfigCommand>,
}

/// What to do with configuration values.
#[derive(Debug, Clone, Subcommand)]
pub enum ConfigCommand {
    /// List the values
    List,
    /// Print a value
    Get {
        /// The name of the value
        name: String,
    },
    /// Set a value
    #[command(after_help = "\
Examples:
  picloud config set threshold 21.5
  picloud config set greeting '\"hello\"'
  picloud config set rooms @rooms.json         from a file (`-` reads standard input)")]
    Set {
        /// The name of the value
        name: String,
        /// The value: JSON text, `@FILE` for a file, or `-` for standard input
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Delete a value
    Rm {
        /// The name of the value
        name: String,
    },
}

/// `picloud http-policy`.
#[derive(Debug, Clone, Args)]
pub struct HttpPolicyArgs {
    /// The app.
    #[command(flatten)]
    pub app: AppOnly,

    /// What to do; without it the policy is shown
    #[command(subcommand)]
    pub command: Option<HttpPolicyCommand>,
}

/// What to do with the policy.
#[derive(Debug, Clone, Subcommand)]
pub enum HttpPolicyCommand {
    /// Show what is allowed
    Show,
    /// Allow more: add a rule to those that there are
    #[command(after_help = "\
Examples:
  picloud http-policy allow api.example.org '*.example.net' --method GET --method POST
  picloud http-policy allow stock.lan --scheme http --port 8080 --private")]
    Allow(HttpRule),
    /// Replace all of it
    #[command(after_help = "\
Examples:
  picloud http-policy set '{\"rules\": []}'      nothing is allowed
  picloud http-policy show -o json > policy.json
  picloud http-policy set @policy.json         from a file (`-` reads standard input)")]
    Set {
        /// What is to be allowed: JSON text, `@FILE` for a file, or `-` for standard input
        policy: String,
    },
}

/// `picloud http-policy allow`: a request is allowed if it fits all of this.
#[derive(Debug, Clone, Args)]
pub struct HttpRule {
    /// Names, `*.NAME` for every name below one, or addresses
    #[arg(value_name = "HOST", required = true)]
    pub hosts: Vec<String>,

    /// `https`, or `http` for requests in the clear; may be repeated
    #[arg(long = "scheme", value_name = "SCHEME", default_value = "https", value_parser = ["https", "http"],
          hide_possible_values = true)]
    pub schemes: Vec<String>,

    /// A port; may be repeated. Without it the usual one of the scheme
    #[arg(long = "port", value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub ports: Vec<u16>,

    /// A method; may be repeated. Without it every method
    #[arg(long = "method", value_name = "METHOD")]
    pub methods: Vec<String>,

    /// The hosts may have addresses that are not on the public internet, such as those of the server's own network
    #[arg(long)]
    pub private: bool,

    /// Callers may name URLs there that are told of the answers of asynchronous calls, too
    #[arg(long)]
    pub callbacks: bool,
}
