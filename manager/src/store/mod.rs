//! Storage in SQLite. SQL lives here and nowhere else, one file for each noun.
//!
//! In reading order: `database` (one file), `error` (what can go wrong), `precondition` (what a client may demand),
//! [`Store`] with `app`, `script`, `version`, `canary`, `principal`, `token`, `user`, `session`, `audit`, `route`, `trigger`,
//! `http_policy`, `secret`, `config`, `archive` (all of an app at once), and `active` (what the data plane
//! needs to know of them); `kv`, `event` and `answer` (the other side of the sequencer); in a database of their own `execution`, `log` and
//! `minute`, with `histogram` and `retention`. `column` and `chunks` are for all of them, and `backup` and `migrate` are about the files.

mod active;
pub mod answer;
#[cfg(test)]
mod answer_tests;
pub mod app;
pub mod archive;
pub mod audit;
pub mod backup;
pub mod canary;
mod chunks;
pub(crate) mod column;
pub mod config;
mod database;
mod error;
pub mod event;
#[cfg(test)]
mod event_tests;
pub mod execution;
pub mod histogram;
pub mod http_policy;
pub mod kv;
#[cfg(test)]
mod kv_tests;
pub mod log;
pub mod migrate;
pub mod minute;
mod precondition;
pub mod principal;
pub mod retention;
pub mod route;
pub mod script;
#[cfg(test)]
mod script_tests;
pub mod secret;
pub mod session;
#[cfg(test)]
pub(crate) mod testing;
pub mod token;
pub mod trigger;
#[cfg(test)]
mod trigger_tests;
pub mod user;
pub mod version;

use std::sync::Arc;

use picloud_host::ports::{Clock, StoreError};
use sqlx::migrate::Migrator;
use sqlx::{Sqlite, Transaction};

pub use database::{Database, Durability};
pub use error::ChangeError;
pub(crate) use error::failed;
pub use precondition::{Precondition, Tag, Tags};

use crate::vault::Vault;

/// The schema of the main database: scripts, KV, tokens, triggers, events.
pub static MIGRATOR: Migrator = sqlx::migrate!("migrations/main");

/// The schema of the other one: records of executions, numbers by minute.
pub static TELEMETRY_MIGRATOR: Migrator = sqlx::migrate!("migrations/telemetry");

/// Apps, scripts, versions, tokens, triggers, secrets and configuration values in the main database, and a look at its events. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    database: Database,
    clock: Arc<dyn Clock>,
    vault: Option<Arc<Vault>>,
}

impl Store {
    /// Use a database that was opened with [`MIGRATOR`], and make the app `default` if there is none.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn open(database: Database, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let store = Self { database, clock, vault: None };
        store.create_default_app().await?;
        Ok(store)
    }

    /// Encrypt and decrypt secrets with this vault. Without one they cannot be read or set.
    #[must_use]
    pub fn with_vault(mut self, vault: Arc<Vault>) -> Self {
        self.vault = Some(vault);
        self
    }

    /// Start a transaction that will write. It takes the write lock at once, so that nothing that it reads can change
    /// before it commits.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, sqlx::Error> {
        self.database.write.begin_with("begin immediate").await
    }

    /// Milliseconds since the Unix epoch, as the database keeps them.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.now_ms()).unwrap_or(i64::MAX)
    }
}
