//! `picloud serve`: the composition root. [`Server::start`] puts everything together, in the order in which one thing
//! needs another.

mod listen;
mod logging;
mod mqtt;
mod settings;
mod storage;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::http::Uri;
use picloud_host::active::Active;
use picloud_host::aot::AotCache;
use picloud_host::budget::Budget;
use picloud_host::callback::Callbacks;
use picloud_host::delivery::Delivery;
use picloud_host::dispatcher::{Dispatcher, RunningCalls};
use picloud_host::executor::{Executor, ExecutorConfig, Services};
use picloud_host::grants::Grants;
use picloud_host::ingress::{Ingress, KeptCalls};
use picloud_host::loader::GatedLoader;
use picloud_host::mqtt::Mqtt;
use picloud_host::outbound::Outbound;
use picloud_host::ports::{Answers, Clock, SystemClock};
use picloud_host::problem::{Code, Problem};
use picloud_manager::password::Passwords;
use picloud_manager::prometheus::{Gauges, OverQuota, ReadGauges};
use picloud_manager::rollback::Rollback;
use picloud_manager::schedule::Scheduler;
use picloud_manager::{api, prometheus};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::client::{WrittenFile, write_client_file};
use crate::config::ServeConfig;
use crate::data_dir::DataDir;
use crate::env::Env;
use listen::{Answered, Listeners};
use storage::Storage;

/// How long a call waits for a sandbox before it is told to come back later.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that runs.
pub struct Server {
    /// Where scripts are, and the control plane if it has no address of its own.
    pub address: SocketAddr,
    /// Where the control plane is, if not there.
    pub admin_address: Option<SocketAddr>,
    /// The admin token, if this start has made it. It is not stored anywhere else.
    pub new_token: Option<String>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
    dispatching: JoinHandle<()>,
    scheduling: JoinHandle<()>,
    connecting: JoinHandle<()>,
    storage: Storage,
}

/// Serve until SIGTERM or SIGINT. A second one ends it without waiting for calls under way.
///
/// # Errors
///
/// The server cannot start, or was not given the time to stop in order.
pub async fn run(config: ServeConfig, env: &Env) -> Result<()> {
    logging::start(&config.log)?;
    let mut signals = Signals::listen()?;
    let server = Server::start(&config).await?;
    announce(&config, &server, env);
    signals.next().await;
    tokio::select! {
        () = server.stop() => Ok(()),
        () = signals.next() => anyhow::bail!("told to stop a second time: calls under way were cut off"),
    }
}

impl Server {
    /// Start a server. Returns when it accepts calls.
    ///
    /// # Errors
    ///
    /// The data directory is in use or cannot be used, the address is taken, or the machine has no room for a sandbox.
    pub async fn start(config: &ServeConfig) -> Result<Self> {
        let data = DataDir::open(&config.data_dir)?;
        let grants = Arc::new(settings::grants(config)?);
        let listeners = Listeners::bind(config).await?;
        let (address, admin_address) = (listeners.address, listeners.admin_address);
        let clock = Arc::new(SystemClock);
        let stop = CancellationToken::new();
        let active = Arc::new(Active::default());
        let storage = Storage::open(data, config, clock.clone(), active.clone(), stop.clone()).await?;

        let (outbound, budget) = (Arc::<Outbound>::default(), Budget::probe(config.limits.memory_bytes));
        tracing::info!("{budget}");
        let executor = executor(ExecutorConfig {
            budget,
            aot: AotCache::in_dir(storage.data.cache()?),
            image_cache_bytes: usize::try_from(config.image_cache_bytes).unwrap_or(usize::MAX),
            scripts: Arc::new(storage.store.clone()),
            services: services(config, &storage, &active, &grants, &outbound),
        })
        .await?;
        let ingress = Arc::new(Ingress {
            active,
            executor,
            gate: settings::gate(config, &budget),
            bodies: settings::bodies(config, &budget),
            answers: settings::answers(config, &budget),
            kept: kept_calls(&storage, clock.clone()),
            principals: Arc::new(storage.bearers.clone()),
            attempts: Arc::default(),
            log: Arc::new(Rollback {
                publisher: storage.publisher.clone(),
                store: storage.store.clone(),
                next: storage.telemetry.clone(),
            }),
            clock,
        });
        let schedules =
            Arc::new(Scheduler::new(storage.store.clone(), storage.kv.clone(), ingress.clock.clone()));
        let mqtt = mqtt::mqtt(config, &storage, ingress.active.clone(), ingress.clock.clone())?;
        let gauges = gauges(ingress.clone(), mqtt.clone());
        let running = Arc::new(RunningCalls::default());
        let shared = (schedules.clone(), grants, running.clone());
        let public_url = listeners.public_url(config);
        let (control, public) = control_plane(config, &storage, &ingress, shared, gauges, public_url).await?;
        let dispatcher = dispatcher(config, &storage, &ingress, (mqtt.clone(), outbound), running);
        // Last: a start that fails must not have made a token that nobody gets to see.
        let new_token = if config.dev { None } else { storage.admin_token().await? };
        let serving = listeners.serve(Answered { ingress, control, public }, config, stop.clone());
        let drain = settings::server(config).drain;
        let dispatching = tokio::spawn(dispatcher.run(stop.clone(), drain));
        let scheduling = tokio::spawn({
            let stop = stop.clone();
            async move { schedules.run(stop).await }
        });
        let connecting = mqtt::connect(mqtt, stop.clone());
        Ok(Self {
            address,
            admin_address,
            new_token,
            stop,
            serving,
            dispatching,
            scheduling,
            connecting,
            storage,
        })
    }

    /// Take no more calls, let those under way finish, write everything down.
    pub async fn stop(self) {
        self.stop.cancel();
        joined(self.serving.await, "the listener");
        joined(self.scheduling.await, "the scheduler");
        joined(self.dispatching.await, "the dispatcher");
        joined(self.connecting.await, "the connection to the MQTT broker");
        self.storage.close().await;
    }
}

/// The REST API and `/metrics`, and what is left of it for the others if they are at an address of their own. Publishes the
/// scripts that are there already.
async fn control_plane(
    config: &ServeConfig,
    storage: &Storage,
    ingress: &Arc<Ingress>,
    (schedules, grants, running): (Arc<Scheduler>, Arc<Grants>, Arc<RunningCalls>),
    gauges: ReadGauges,
    public_url: api::PublicUrl,
) -> Result<(axum::Router, axum::Router)> {
    storage.publisher.publish().await.context("cannot read the scripts")?;
    let state = api::State {
        store: storage.store.clone(),
        publisher: storage.publisher.clone(),
        bearers: storage.bearers.clone(),
        removals: storage.removals.clone(),
        loader: Arc::new(GatedLoader { executor: ingress.executor.clone(), gate: ingress.gate.clone() }),
        kv: storage.kv.clone(),
        events: storage.kv.clone(),
        answers: Arc::new(storage.store.clone()),
        running,
        followers: storage.followers.clone(),
        schedules,
        active: ingress.active.clone(),
        grants,
        clock: ingress.clock.clone(),
        bodies: ingress.bodies.clone(),
        telemetry: storage.telemetry.clone(),
        limits: config.limits,
        auth: if config.dev { api::Auth::Dev } else { api::Auth::Token },
        origin: if config.admin_address.is_some() { api::Origin::Own } else { api::Origin::Shared },
        public_url,
        attempts: ingress.attempts.clone(),
        backups: api::Backups::default(),
        passwords: Passwords::default(),
    };
    let metrics = prometheus::router(storage.telemetry.clone(), gauges);
    let public = api::public_router(state.clone());
    Ok((api::router(state).merge(metrics).fallback(nothing_here), public))
}

/// Keeps the answers of calls for those who come for them later.
fn kept_calls(storage: &Storage, clock: Arc<dyn Clock>) -> KeptCalls {
    let answers = Arc::new(storage.store.clone());
    KeptCalls::new(storage.kv.clone(), answers, clock, api::execution_location)
}

/// Turns events into calls, through the same gate and executor as requests.
fn dispatcher(
    config: &ServeConfig,
    storage: &Storage,
    ingress: &Ingress,
    (mqtt, outbound): (Option<Arc<Mqtt>>, Arc<Outbound>),
    running: Arc<RunningCalls>,
) -> Arc<Dispatcher> {
    let answers: Arc<dyn Answers> = Arc::new(storage.store.clone());
    let (active, clock) = (ingress.active.clone(), ingress.clock.clone());
    let callbacks = Callbacks::new(active, answers.clone(), outbound, clock);
    // A quarter of the places for calls without a caller is for the events of other apps, however long those of one take.
    let most = ingress.gate.behind() - ingress.gate.behind().div_ceil(4);
    let concurrent = usize::from(config.max_concurrent_events).min(most.max(1));
    Arc::new(Dispatcher {
        active: ingress.active.clone(),
        executor: ingress.executor.clone(),
        gate: ingress.gate.clone(),
        log: ingress.log.clone(),
        clock: ingress.clock.clone(),
        kv: storage.kv.clone(),
        events: storage.kv.clone(),
        lanes: storage.lanes.clone(),
        mqtt: mqtt.map(|mqtt| mqtt as Arc<dyn Delivery>),
        callbacks: Arc::new(callbacks),
        answers,
        running,
        app_concurrency: concurrent,
        script_concurrency: concurrent.div_ceil(2),
    })
}

fn joined(result: Result<(), tokio::task::JoinError>, what: &str) {
    if let Err(error) = result {
        tracing::error!(%error, "{what} did not end in order");
    }
}

/// What calls work with.
fn services(
    config: &ServeConfig,
    storage: &Storage,
    active: &Arc<Active>,
    grants: &Arc<Grants>,
    outbound: &Arc<Outbound>,
) -> Services {
    Services {
        kv: storage.kv.clone(),
        events: storage.kv.clone(),
        active: active.clone(),
        grants: grants.clone(),
        outbound: outbound.clone(),
        server: true,
        mqtt: config.mqtt.is_some(),
        clock: Arc::new(SystemClock),
        test: None,
    }
}

/// Compiling the guest takes seconds of processor time, the first time.
async fn executor(config: ExecutorConfig) -> Result<Arc<Executor>> {
    Ok(Arc::new(tokio::task::spawn_blocking(|| Executor::new(config)).await??))
}

/// How busy the data plane is, for `/metrics`.
fn gauges(ingress: Arc<Ingress>, mqtt: Option<Arc<Mqtt>>) -> ReadGauges {
    Arc::new(move || {
        let images = ingress.executor.images();
        Gauges {
            calls_running: ingress.gate.running() as u64,
            calls_waiting: ingress.gate.waiting() as u64,
            calls_refused: ingress.gate.refused(),
            over_quota: over_quota(&ingress),
            image_cache_bytes: images.bytes as u64,
            image_cache_images: images.images as u64,
            image_builds: images.builds,
            mqtt_connected: mqtt.as_ref().map(|mqtt| mqtt.is_connected()),
        }
    })
}

/// What quotas have refused, with the names of the apps. Of one that is gone there is nothing to tell.
fn over_quota(ingress: &Ingress) -> Vec<OverQuota> {
    let set = ingress.active.current();
    let names: HashMap<_, _> = set.apps.iter().map(|(name, app)| (app.id, name)).collect();
    let refused = ingress.gate.over_quota().into_iter();
    let named = refused.filter_map(|(app, quota, count)| {
        Some(OverQuota { app: Arc::clone(names.get(&app)?), quota: quota.as_str(), count })
    });
    named.collect()
}

async fn nothing_here(uri: Uri) -> Problem {
    Problem::new(Code::RouteNotFound).instance(uri.path())
}

/// What tells a server to stop.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Completes at the next SIGTERM or SIGINT.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tell where the server is. The new token goes to standard output, once, and never into the log.
fn announce(config: &ServeConfig, server: &Server, env: &Env) {
    let address = server.admin_address.unwrap_or(server.address);
    let url = format!("http://{address}");
    if server.admin_address.is_some() {
        tracing::info!(url = %format!("http://{}", server.address), "scripts are here, and the API is not");
    }
    tracing::info!(%url, data_dir = %config.data_dir.display(), dev = config.dev, "PiCloud is ready");
    if let Some(token) = &server.new_token {
        println!("The admin token, shown only now:\n\n    {token}\n");
    }
    if !address.ip().is_loopback() {
        return;
    }
    match write_client_file(env, &url, server.new_token.as_deref()) {
        Ok(WrittenFile::Written(path)) => {
            tracing::info!(path = %path.display(), "the command line uses this server now");
            if !config.dev && server.new_token.is_none() {
                tracing::info!("somebody may do everything already, so no token was made: picloud login");
            }
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(error = %format!("{error:#}"), "cannot write the settings of the command line")
        }
    }
}
