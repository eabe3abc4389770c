//! A server on the loopback address that counts its connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// Where a server is. It runs as long as the test's runtime.
pub(super) struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    /// A server that the test runs itself.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self { address, connections: Arc::default() }
    }

    pub(super) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Serve in the clear.
pub(super) async fn serve(router: Router) -> Server {
    serve_over(router, async |stream| Some(stream)).await
}

/// Serve over whatever `accept` makes of a connection.
pub(super) async fn serve_over<S, F>(
    router: Router,
    accept: impl Fn(TcpStream) -> F + Clone + Send + 'static,
) -> Server
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    F: Future<Output = Option<S>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::at(listener.local_addr().unwrap());
    let connections = server.connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            let (router, accept) = (router.clone(), accept.clone());
            tokio::spawn(async move {
                let Some(stream) = accept(stream).await else { return };
                let builder = auto::Builder::new(TokioExecutor::new());
                let served = builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
                // The client may leave in the middle.
                _ = served.await;
            });
        }
    });
    server
}
