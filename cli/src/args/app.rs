//! The app that a command is about.

use clap::Args;

use crate::env::Env;
use crate::exit::CliError;
use crate::project::Project;

/// The app that exists on every server.
pub const DEFAULT_APP: &str = "default";

/// The app that a command is about.
#[derive(Debug, Clone, Default, Args)]
pub struct AppOnly {
    /// The app [default: that of the project's picloud.toml, else `default`]
    #[arg(long, value_name = "APP", global = true)]
    pub app: Option<String>,
}

impl AppOnly {
    /// The app's name: what the flag says, else the project around the working directory, else `default`.
    ///
    /// # Errors
    ///
    /// There is a project, but its file is damaged.
    pub fn name(&self, env: &Env) -> Result<String, CliError> {
        if let Some(app) = &self.app {
            return Ok(app.clone());
        }
        let project = Project::around(env)?;
        Ok(project.and_then(|project| project.app).unwrap_or_else(|| DEFAULT_APP.to_owned()))
    }
}
