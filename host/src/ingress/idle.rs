//! Tells when a connection does nothing any more, so that it does not keep its place from others.
//!
//! What counts is what the server does: a request that begins, and bytes of an answer that the client takes. A client
//! that sends a byte now and then, and never a request, is as idle as one that sends nothing.

use std::io::{Error, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What happens on one connection.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Requests that are being answered.
    running: AtomicUsize,
    /// Grows with each request and each write.
    progress: AtomicU64,
}

/// A request under way, until it is dropped.
pub(super) struct Running(Arc<Activity>);

impl Activity {
    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.progress.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    /// Completes when nothing has happened for `patience`, at most twice that long after the last event.
    pub(super) async fn ceases(&self, patience: Duration) {
        loop {
            let before = self.progress.load(Ordering::Relaxed);
            tokio::time::sleep(patience).await;
            if self.running.load(Ordering::Relaxed) == 0 && self.progress.load(Ordering::Relaxed) == before {
                return;
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.progress.fetch_add(1, Ordering::Relaxed);
    }
}

/// A stream whose writes are counted as activity.
pub(super) struct Watched {
    pub(super) stream: TcpStream,
    pub(super) activity: Arc<Activity>,
}

impl Watched {
    fn note(&self, written: Poll<Result<usize, Error>>) -> Poll<Result<usize, Error>> {
        if let Poll::Ready(Ok(1..)) = written {
            self.activity.progress.fetch_add(1, Ordering::Relaxed);
        }
        written
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, Error>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_millis(5);

    #[tokio::test]
    async fn a_connection_without_requests_ceases() {
        Arc::new(Activity::default()).ceases(PATIENCE).await;
    }

    #[tokio::test]
    async fn a_request_keeps_a_connection_however_long_it_takes() {
        let activity = Arc::new(Activity::default());
        let running = activity.begin();
        assert!(tokio::time::timeout(10 * PATIENCE, activity.ceases(PATIENCE)).await.is_err());
        drop(running);
        assert!(tokio::time::timeout(1000 * PATIENCE, activity.ceases(PATIENCE)).await.is_ok());
    }
}
