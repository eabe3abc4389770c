//! The listener: accepts connections until it is told to stop, then lets what is under way finish.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::ingress::Router;
use crate::ingress::idle::{Activity, Watched};

/// Largest head of a request, in bytes: each connection may hold so much before anything else is asked.
const MAX_HEAD: usize = 96 << 10;

/// How connections are treated.
#[derive(Debug, Clone, Copy)]
pub struct ServerConfig {
    /// Connections at the same time; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a client may take to send the head of a request, and how long an idle connection is kept, give or take
    /// as much again.
    pub head_patience: Duration,
    /// How long calls under way may take to finish once the server stops.
    pub drain: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { connections: 4096, head_patience: Duration::from_secs(60), drain: Duration::from_secs(30) }
    }
}

/// An open connection, counted until it is dropped.
struct Open(Arc<Router>);

impl Open {
    fn new(router: Arc<Router>) -> Self {
        router.connections.fetch_add(1, Ordering::Relaxed);
        Self(router)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serve until `stop` is cancelled and what was under way has finished or the drain is over.
pub async fn serve(
    listener: TcpListener,
    router: Arc<Router>,
    config: ServerConfig,
    stop: CancellationToken,
) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(config.connections));
    router.ready.store(true, Ordering::Relaxed);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                let connection = connection(stream, peer, router.clone(), config, &graceful);
                let open = Open::new(router.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop((open, place));
                });
            }
            Err(error) => {
                // Out of file descriptors, most likely: some will come back when connections end.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(100)) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
    }
    router.ready.store(false, Ordering::Relaxed);
    drop(listener);
    tracing::info!(
        connections = graceful.count(),
        "stopping: no new connections, waiting for calls under way"
    );
    if tokio::time::timeout(config.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("stopping although calls are under way: the drain is over");
    }
}

fn connection(
    stream: TcpStream,
    peer: std::net::SocketAddr,
    router: Arc<Router>,
    config: ServerConfig,
    graceful: &GracefulShutdown,
) -> impl Future<Output = ()> + use<> {
    // Without it a small answer could wait for the acknowledgement of the one before.
    let _ = stream.set_nodelay(true);
    let activity = Arc::new(Activity::default());
    let stream = Watched { stream, activity: activity.clone() };
    let for_requests = activity.clone();
    let service = service_fn(move |request| {
        let (router, connection) = (router.clone(), for_requests.clone());
        async move {
            let running = connection.begin();
            let response = router.route(request, peer, connection).await;
            drop(running);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // A client that has said everything may close its side and wait for the answer. hyper's own timeout for the head of a
    // request would set a timer for each request and know nothing of HTTP/2: a head that does not come is no activity.
    builder.http1().half_close(true).header_read_timeout(None).max_buf_size(MAX_HEAD);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(128);
    let watcher = graceful.watcher();
    async move {
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            // A client that goes away or sends nonsense is no event of ours.
            result = watcher.watch(connection.into_owned()) => if let Err(error) = result {
                tracing::debug!(%error, "a connection ended");
            },
            () = activity.ceases(config.head_patience) => tracing::debug!("an idle connection was closed"),
        }
    }
}
