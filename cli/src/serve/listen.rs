//! Where the server listens: at one address for everything, or at one for scripts and at another for the control plane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use anyhow::{Context as _, Result};
use picloud_host::ingress::{self, Guard, Ingress, Router, ServerConfig, Serves, TrustedProxies};
use picloud_manager::api::{self, PublicUrl};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::settings;
use crate::config::ServeConfig;

/// Connections to the control plane at an address of its own: those for scripts are no help to whoever fills them.
const ADMIN_CONNECTIONS: usize = 256;

/// Addresses that are taken, where nothing is answered yet.
pub(super) struct Listeners {
    scripts: TcpListener,
    admin: Option<TcpListener>,
    /// Where scripts are.
    pub(super) address: SocketAddr,
    /// Where the control plane is, if it is not there, too.
    pub(super) admin_address: Option<SocketAddr>,
}

/// What is answered.
pub(super) struct Answered {
    pub(super) ingress: Arc<Ingress>,
    /// All of the control plane.
    pub(super) control: axum::Router,
    /// What of it is where scripts are, if it has an address of its own.
    pub(super) public: axum::Router,
}

impl Listeners {
    /// Take the addresses.
    pub(super) async fn bind(config: &ServeConfig) -> Result<Self> {
        let scripts = bind(config.address).await?;
        let admin = match config.admin_address {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let address = scripts.local_addr()?;
        let admin_address = admin.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(Self { scripts, admin, address, admin_address })
    }

    /// Where others reach scripts: as it is configured, else at the address if the API has one of its own.
    pub(super) fn public_url(&self, config: &ServeConfig) -> PublicUrl {
        match (&config.public_url, self.admin_address) {
            (Some(url), _) => PublicUrl::At(url.to_string().into()),
            (None, None) => PublicUrl::Same,
            (None, Some(_)) => PublicUrl::Listener(self.address),
        }
    }

    /// Answer until `stop`.
    pub(super) fn serve(
        self,
        answered: Answered,
        config: &ServeConfig,
        stop: CancellationToken,
    ) -> JoinHandle<()> {
        let Answered { ingress, control, public } = answered;
        let router = |serves: Serves, control: axum::Router| {
            let guard: Guard = Arc::new(|parts| api::guard::check(&parts.method, &parts.uri, &parts.headers));
            Arc::new(Router {
                serves,
                ingress: ingress.clone(),
                control,
                proxies: TrustedProxies::new(config.trusted_proxies.clone()),
                guard: config.dev.then_some(guard),
                ready: AtomicBool::new(false),
                connections: AtomicUsize::new(0),
            })
        };
        let server = settings::server(config);
        let Some(admin) = self.admin else {
            let router = router(Serves::Scripts, control);
            return tokio::spawn(ingress::serve(self.scripts, router, server, stop));
        };
        let few = ServerConfig { connections: ADMIN_CONNECTIONS, ..server };
        let admin = ingress::serve(admin, router(Serves::ControlPlane, control), few, stop.clone());
        let scripts = ingress::serve(self.scripts, router(Serves::Scripts, public), server, stop);
        tokio::spawn(async move {
            tokio::join!(admin, scripts);
        })
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
