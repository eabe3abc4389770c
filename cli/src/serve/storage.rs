//! Everything that a server keeps in its data directory, and what works on it alone.

use std::sync::Arc;

use anyhow::Result;
use picloud_host::active::Active;
use picloud_host::dispatcher::Lanes;
use picloud_host::follow::Followers;
use picloud_host::ports::Clock;
use picloud_host::quota::Quotas;
use picloud_host::sequencer::SequencerOptions;
use picloud_manager::identity::Bearers;
use picloud_manager::publish::Publisher;
use picloud_manager::removal::Removals;
use picloud_manager::store::kv::SqliteKv;
use picloud_manager::store::{self, Database, Durability, Store};
use picloud_manager::telemetry::Telemetry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{joined, settings};
use crate::config::ServeConfig;
use crate::data_dir::DataDir;
use crate::secret_key;

/// Everything that is kept in the data directory.
pub(super) struct Storage {
    pub(super) store: Store,
    pub(super) kv: Arc<SqliteKv>,
    /// Lets the data plane know what is stored.
    pub(super) publisher: Publisher,
    /// Knows who sends tokens.
    pub(super) bearers: Bearers,
    /// Where the events of `kv` wait.
    pub(super) lanes: Arc<Lanes>,
    /// Those who follow its calls.
    pub(super) followers: Arc<Followers>,
    database: Database,
    pub(super) telemetry: Arc<Telemetry>,
    telemetry_task: JoinHandle<()>,
    telemetry_stop: CancellationToken,
    /// Deletes apps.
    pub(super) removals: Arc<Removals>,
    removing: JoinHandle<()>,
    /// Holds the lock on the data directory.
    pub(super) data: DataDir,
}

impl Storage {
    /// `closing` is cancelled when the server begins to stop: then nobody may wait for what is yet to come.
    pub(super) async fn open(
        data: DataDir,
        config: &ServeConfig,
        clock: Arc<dyn Clock>,
        active: Arc<Active>,
        closing: CancellationToken,
    ) -> Result<Self> {
        let database = Database::open(&data.path("picloud.db"), Durability::Full, &store::MIGRATOR).await?;
        let store = Store::open(database.clone(), clock.clone()).await?;
        if let Err(error) = store.discard_backup() {
            tracing::warn!(%error, "the copy that an interrupted backup has left cannot be removed");
        }
        // Without a key none is readable.
        let secrets = store.unreadable_secrets().await?;
        let vault = secret_key::open(&data, config.secret_key_file.as_deref(), secrets)?;
        let store = store.with_vault(Arc::new(vault));
        warn_of_unreadable(store.unreadable_secrets().await?);
        let lanes = Arc::new(Lanes::default());
        let followers = Arc::new(Followers::new(closing.clone()));
        let quotas = config.quotas.over(&Quotas::STANDARD);
        let publisher = Publisher::new(store.clone(), active.clone(), config.limits, quotas);
        let identities = publisher.identities().clone();
        let bearers = Bearers { identities, store: store.clone(), clock: clock.clone() };
        let options = SequencerOptions {
            clock: clock.clone(),
            active,
            lanes: lanes.clone(),
            followers: followers.clone(),
            ..SequencerOptions::default()
        };
        let kv = Arc::new(store::kv::open(database.clone(), options).await?);
        let telemetry_stop = CancellationToken::new();
        let path = data.path("telemetry.db");
        let settings = settings::telemetry(&config.telemetry);
        let (telemetry, telemetry_task) =
            Telemetry::start(&path, settings, clock, telemetry_stop.clone(), closing.clone()).await;
        let removals = Arc::new(Removals::new(store.clone(), kv.clone(), telemetry.clone()));
        removals.prepare().await?;
        let removing = tokio::spawn({
            let removals = removals.clone();
            async move { removals.run(closing).await }
        });
        Ok(Self {
            store,
            kv,
            publisher,
            bearers,
            lanes,
            followers,
            database,
            telemetry,
            telemetry_task,
            telemetry_stop,
            removals,
            removing,
            data,
        })
    }

    /// The admin token, if nobody may do everything yet.
    pub(super) async fn admin_token(&self) -> Result<Option<String>> {
        let token = self.store.create_admin_token().await?;
        if token.is_some() {
            self.publisher.publish().await?;
        }
        Ok(token)
    }

    pub(super) async fn close(self) {
        joined(self.removing.await, "removing what deleted apps have left");
        self.kv.close().await;
        self.telemetry_stop.cancel();
        joined(self.telemetry_task.await, "telemetry");
        self.telemetry.close().await;
        self.database.close().await;
    }
}

/// What the scripts that need them will be told one by one.
fn warn_of_unreadable(secrets: usize) {
    if secrets > 0 {
        tracing::warn!(
            secrets,
            "secrets cannot be read: they were set under another key, or damaged; set them again"
        );
    }
}
