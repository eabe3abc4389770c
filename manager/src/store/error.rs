//! What can go wrong when something is changed, for callers to branch on.

use picloud_host::ports::StoreError;

use crate::store::route::RouteConflict;

/// Why a change did not happen. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// There is no such app.
    #[error("there is no such app")]
    NoApp,
    /// The server has as many apps as it may.
    #[error("the server has as many apps as it may")]
    TooManyApps,
    /// There is no such token.
    #[error("there is no such token")]
    NoToken,
    /// The server has as many tokens as it may.
    #[error("the server has as many tokens as it may")]
    TooManyTokens,
    /// There is no such user.
    #[error("there is no such user")]
    NoUser,
    /// A new user has no password.
    #[error("a new user has no password")]
    NoPassword,
    /// The server has as many users as it may.
    #[error("the server has as many users as it may")]
    TooManyUsers,
    /// Something else has this name.
    #[error("the name is taken")]
    NameTaken,
    /// Nobody could do everything any more.
    #[error("nobody could do everything any more")]
    LastAdmin,
    /// There is no such script.
    #[error("there is no such script")]
    NoScript,
    /// There is no such version.
    #[error("there is no such version")]
    NoVersion,
    /// No canary runs, or not the same one any more.
    #[error("no such canary runs")]
    NoCanary,
    /// The version cannot be a canary.
    #[error("{0}")]
    Canary(&'static str),
    /// There is no such route.
    #[error("there is no such route")]
    NoRoute,
    /// The route cannot be there beside the others.
    #[error(transparent)]
    Route(#[from] RouteConflict),
    /// The app has as many routes as it may.
    #[error("the app has as many routes as it may")]
    TooManyRoutes,
    /// There is no such trigger.
    #[error("there is no such trigger")]
    NoTrigger,
    /// The app has as many triggers as it may.
    #[error("the app has as many triggers as it may")]
    TooManyTriggers,
    /// There is no such secret.
    #[error("there is no such secret")]
    NoSecret,
    /// There is no such configuration value.
    #[error("there is no such configuration value")]
    NoConfig,
    /// The app has as many secrets or configuration values as it may.
    #[error("the app has as many secrets or configuration values as it may")]
    TooManySettings,
    /// What is stored is not what the client demanded.
    #[error("the precondition does not hold")]
    Precondition,
    /// Storage failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError {
    /// What it means when a row of an app cannot be inserted.
    pub(super) fn of_insert(error: sqlx::Error) -> Self {
        match error.as_database_error() {
            Some(database) if database.is_foreign_key_violation() => Self::NoApp,
            _ => error.into(),
        }
    }
}

impl From<sqlx::Error> for ChangeError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(failed(error))
    }
}

/// Log why the database failed: here and nowhere else, since callers are to say only that it did.
pub(crate) fn failed(error: impl std::error::Error + 'static) -> StoreError {
    tracing::error!(error = &error as &dyn std::error::Error, "the database failed");
    StoreError(error.to_string())
}
