//! The commands about who is logged in.

use clap::Args;

use super::users::PasswordInput;

/// What stands below the options of `picloud login`.
pub(super) const LOGIN_EXAMPLES: &str = "\
Examples:
  picloud login --server https://pi.example.org --user ann
  picloud login                              the server of the settings, and a name that is asked for
  pass show picloud | picloud login --user ann --password-stdin

The session is kept in client.toml beside the token that may be there, which it goes before, and ends after 30 days, or 7
without use. Other commands use it, and its server, unless PICLOUD_SERVER, PICLOUD_TOKEN or an option say something else.";

/// `picloud login`.
#[derive(Debug, Clone, Args)]
pub struct LoginArgs {
    /// The user's name; asked for when it is not given
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,

    /// How the password comes.
    #[command(flatten)]
    pub password: PasswordInput,
}

/// What stands below the options of `picloud passwd`.
pub(super) const PASSWD_EXAMPLES: &str = "\
Examples:
  picloud passwd
  printf '%s\\n' \"$old\" \"$new\" | picloud passwd --password-stdin

All sessions end with the old password, also this one: `picloud login` begins a new one. `picloud users passwd NAME` sets that
of another user.";

/// `picloud passwd`.
#[derive(Debug, Clone, Args)]
pub struct PasswdArgs {
    /// Read the old password from the first line of standard input and the new one from the second, also if that is a
    /// terminal
    #[arg(long)]
    pub password_stdin: bool,
}
