//! The commands about users.

use clap::{Args, Subcommand};

/// `picloud users`.
#[derive(Debug, Clone, Args)]
pub struct UsersArgs {
    /// What to do; without it the users are listed
    #[command(subcommand)]
    pub command: Option<UsersCommand>,
}

/// What to do with users.
#[derive(Debug, Clone, Subcommand)]
pub enum UsersCommand {
    /// List the users: what they may do, when they were last there
    List,
    /// Make a user; its password is asked for, or comes from standard input
    #[command(after_help = "\
Examples:
  picloud users create ann --scope admin
  picloud users create bob --scope app:shop:deploy --scope app:lab:read
  pass show picloud | picloud users create bob --scope app:shop:deploy --password-stdin

A scope is `admin`, or `app:NAME:PERMISSION` with one of read, invoke, deploy (and read) or admin (all of them);
`*` stands for every app.")]
    Create(NewUser),
    /// Replace all that a user may do
    #[command(after_help = "\
Examples:
  picloud users set-scopes bob --scope app:shop:admin
  picloud users set-scopes bob                 nothing any more; bob can still log in")]
    SetScopes {
        /// The user's name
        name: String,
        /// Something that it may do; may be repeated
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// Set the password of a user
    Passwd {
        /// The user's name
        name: String,
        /// How the password comes.
        #[command(flatten)]
        password: PasswordInput,
    },
    /// List the sessions of a user, or end them
    #[command(after_help = "\
Examples:
  picloud users sessions ann
  picloud users sessions ann --end             ann has to log in again, everywhere")]
    Sessions {
        /// The user's name
        name: String,
        /// End them all
        #[arg(long)]
        end: bool,
    },
    /// Delete a user
    Rm {
        /// The user's name
        name: String,
    },
}

/// `picloud users create`.
#[derive(Debug, Clone, Args)]
pub struct NewUser {
    /// The user's name
    pub name: String,

    /// Something that it may do; may be repeated
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub scopes: Vec<String>,

    /// How the password comes.
    #[command(flatten)]
    pub password: PasswordInput,
}

/// How a password comes.
#[derive(Debug, Clone, Copy, Args)]
pub struct PasswordInput {
    /// Read the password from standard input, also if that is a terminal
    #[arg(long)]
    pub password_stdin: bool,
}
