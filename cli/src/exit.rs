//! How a command ends: the exit codes, and the error every command returns.

use std::process::ExitCode;

use crate::client::problem::Problem;
use crate::output::diagnostic::Diagnostic;

/// The exit codes, as `--help` shows them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0  it worked
  1  the operation failed: the script does not compile, the call failed, there is no such thing
  2  the command line or the configuration is wrong
  3  no PiCloud server answered, or it refused the token";

/// What the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It worked.
    Ok = 0,
    /// The operation failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// There was no talking to the server: it is not there, is no PiCloud, or refused the token.
    Unreachable = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line or the configuration is wrong; says what and where.
    #[error("{0}")]
    Usage(String),
    /// The operation failed on this side: a file that cannot be read, say.
    #[error("{0}")]
    Failed(String),
    /// No conversation with the server was possible; says what to do.
    #[error("{0}")]
    Unreachable(String),
    /// The server answered with a problem document.
    #[error("{}", .0.summary())]
    Problem(Box<Problem>),
    /// Something about a place in a script.
    #[error("{}", .0.message)]
    Diagnostic(Box<Diagnostic>),
    /// Whoever reads our output has closed it, or it cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
    /// Everything has been said already; only the exit code is left.
    #[error("the operation failed")]
    Reported(Exit),
}

impl CliError {
    /// The exit code of a command that ends with this error.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Unreachable(_) => Exit::Unreachable,
            Self::Problem(problem) if problem.is_refusal() => Exit::Unreachable,
            // `picloud logs | head` is no failure.
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Exit::Ok,
            Self::Reported(exit) => *exit,
            Self::Failed(_) | Self::Problem(_) | Self::Diagnostic(_) | Self::Output(_) => Exit::Failed,
        }
    }

    /// The stable name of the error: the server's code, or `usage`, `failed`, `unreachable`.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Usage(_) => "usage",
            Self::Unreachable(_) => "unreachable",
            Self::Problem(problem) => problem.code.as_deref().unwrap_or("failed"),
            Self::Diagnostic(diagnostic) => &diagnostic.code,
            Self::Failed(_) | Self::Output(_) | Self::Reported(_) => "failed",
        }
    }

    /// Whether going on with the next file or key is pointless.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.exit() == Exit::Unreachable || matches!(self, Self::Output(_))
    }
}
