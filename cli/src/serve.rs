//! `picloud serve`: the composition root. [`Server::start`] puts everything together, in the order in which one thing
//! needs another.

mod data_dir;
mod logging;
mod settings;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context as _, Result};
use picloud_host::active::Active;
use picloud_host::aot::AotCache;
use picloud_host::budget::Budget;
use picloud_host::executor::{Executor, ExecutorConfig};
use picloud_host::gate::Gate;
use picloud_host::ingress::{self, Guard, Ingress, ServerConfig};
use picloud_host::ports::SystemClock;
use picloud_host::sequencer::SequencerOptions;
use picloud_manager::publish::Publisher;
use picloud_manager::store::kv::SqliteKv;
use picloud_manager::store::{self, Database, Durability, Store};
use picloud_manager::telemetry::Telemetry;
use picloud_manager::{api, prometheus};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{WrittenFile, write_client_file};
use crate::config::ServeConfig;
use crate::env::Env;
use data_dir::DataDir;

/// How long a call waits for a sandbox before it is told to come back later.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that runs.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// The admin token, if this start has made it. It is not stored anywhere else.
    pub new_token: Option<String>,
    stop: CancellationToken,
    telemetry_stop: CancellationToken,
    serving: JoinHandle<()>,
    telemetry: Arc<Telemetry>,
    telemetry_task: JoinHandle<()>,
    kv: Arc<SqliteKv>,
    database: Database,
    /// Holds the lock on the data directory.
    _data: DataDir,
}

/// Serve until SIGTERM or SIGINT.
///
/// # Errors
///
/// The server cannot start, or could not stop in order.
pub async fn run(config: ServeConfig, env: &Env) -> Result<()> {
    logging::start(&config.log)?;
    let signal = shutdown_signal()?;
    let server = Server::start(&config).await?;
    announce(&config, &server, env);
    signal.await;
    server.stop().await;
    Ok(())
}

impl Server {
    /// Start a server. Returns when it accepts calls.
    ///
    /// # Errors
    ///
    /// The data directory is in use or cannot be used, the address is taken, or the machine has no room for a sandbox.
    pub async fn start(config: &ServeConfig) -> Result<Self> {
        let clock = Arc::new(SystemClock);
        let limits = config.limits;
        let data = DataDir::open(&config.data_dir)?;
        let listener = TcpListener::bind(config.address)
            .await
            .with_context(|| format!("cannot listen on {}", config.address))?;
        let address = listener.local_addr()?;

        let database = Database::open(&data.path("picloud.db"), Durability::Full, &store::MIGRATOR).await?;
        let store = Store::open(database.clone(), clock.clone()).await?;
        let new_token = if config.dev { None } else { store.create_admin_token().await? };
        let kv = Arc::new(store::kv::open(database.clone(), SequencerOptions::default()).await?);
        let telemetry_stop = CancellationToken::new();
        let (telemetry, telemetry_task) = Telemetry::start(
            &data.path("telemetry.db"),
            settings::telemetry(&config.telemetry),
            clock.clone(),
            telemetry_stop.clone(),
        )
        .await;

        let budget = Budget::probe(limits.memory_bytes);
        tracing::info!("{budget}");
        let executor = executor(ExecutorConfig {
            budget,
            aot: AotCache::in_dir(data.cache()?),
            image_cache_bytes: usize::try_from(config.image_cache_bytes).unwrap_or(usize::MAX),
            scripts: Arc::new(store.clone()),
            kv: kv.clone(),
            clock: clock.clone(),
        })
        .await?;

        let active = Arc::new(Active::default());
        let publisher = Publisher::new(store.clone(), active.clone(), limits);
        publisher.publish().await.context("cannot read the scripts")?;
        let ingress = Arc::new(Ingress {
            active,
            executor: executor.clone(),
            gate: Gate::new(settings::gate(config, &budget)),
            log: telemetry.clone(),
            clock: clock.clone(),
        });
        let control = api::router(api::State {
            store,
            publisher,
            loader: executor,
            kv: kv.clone(),
            clock,
            telemetry: telemetry.clone(),
            limits,
            auth: if config.dev { api::Auth::Dev } else { api::Auth::Token },
        })
        .merge(metrics(telemetry.clone()));
        let guard: Guard = Arc::new(|parts| api::guard::check(&parts.method, &parts.uri, &parts.headers));
        let router = Arc::new(ingress::Router {
            ingress,
            control,
            guard: config.dev.then_some(guard),
            ready: AtomicBool::new(false),
        });

        let stop = CancellationToken::new();
        let server =
            ServerConfig { drain: Duration::from_secs(config.drain_seconds), ..ServerConfig::default() };
        let serving = tokio::spawn(ingress::serve(listener, router, server, stop.clone()));
        Ok(Self {
            address,
            new_token,
            stop,
            telemetry_stop,
            serving,
            telemetry,
            telemetry_task,
            kv,
            database,
            _data: data,
        })
    }

    /// Take no more calls, let those under way finish, write everything down.
    pub async fn stop(self) {
        self.stop.cancel();
        joined(self.serving.await, "the listener");
        self.kv.close().await;
        self.telemetry_stop.cancel();
        joined(self.telemetry_task.await, "telemetry");
        self.telemetry.close().await;
        self.database.close().await;
    }
}

fn joined(result: Result<(), tokio::task::JoinError>, what: &str) {
    if let Err(error) = result {
        tracing::error!(%error, "{what} did not end in order");
    }
}

/// Compiling the guest takes seconds of processor time, the first time.
async fn executor(config: ExecutorConfig) -> Result<Arc<Executor>> {
    Ok(Arc::new(tokio::task::spawn_blocking(|| Executor::new(config)).await??))
}

fn metrics(telemetry: Arc<Telemetry>) -> axum::Router {
    axum::Router::new().route("/metrics", axum::routing::get(async move || prometheus::page(&telemetry)))
}

/// Completes at the first SIGTERM or SIGINT.
fn shutdown_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Tell where the server is. The new token goes to standard output, once, and never into the log.
fn announce(config: &ServeConfig, server: &Server, env: &Env) {
    let url = format!("http://{}", server.address);
    tracing::info!(%url, data_dir = %config.data_dir.display(), dev = config.dev, "PiCloud is ready");
    if let Some(token) = &server.new_token {
        println!("The admin token, shown only now:\n\n    {token}\n");
    }
    if !server.address.ip().is_loopback() || (!config.dev && server.new_token.is_none()) {
        return;
    }
    match write_client_file(env, &url, server.new_token.as_deref()) {
        Ok(WrittenFile::Written(path)) => {
            tracing::info!(path = %path.display(), "the command line uses this server now")
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(error = %format!("{error:#}"), "cannot write the settings of the command line")
        }
    }
}
