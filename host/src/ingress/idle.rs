//! Tells when a connection does nothing any more, so that it does not keep its place from others.
//!
//! What counts is what the server does: a request that begins, and bytes of an answer that the client takes. A client
//! that sends a byte now and then, and never a request, is as idle as one that sends nothing. And an answer has to be
//! taken at some speed.

use std::io::{Error, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How many bytes of an answer a client has to take in a second, once it has had [`SENDING_PATIENCE`].
const SLOWEST: u64 = 4096;

/// How long any answer may take.
const SENDING_PATIENCE: Duration = Duration::from_secs(60);

/// What happens on one connection.
#[derive(Debug)]
pub(super) struct Activity {
    since: Instant,
    /// Requests that are being answered.
    running: AtomicUsize,
    /// Grows with each request, and each write while there is an answer to send.
    progress: AtomicU64,
    /// Answers that are not sent yet.
    unsent: AtomicUsize,
    /// When they have to be, in milliseconds after `since`.
    due_ms: AtomicU64,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            running: AtomicUsize::default(),
            progress: AtomicU64::default(),
            unsent: AtomicUsize::default(),
            due_ms: AtomicU64::default(),
        }
    }
}

/// A request under way, until it is dropped.
pub(super) struct Running(Arc<Activity>);

/// An answer that is being sent, until it is dropped.
#[derive(Debug)]
pub(super) struct Sending(Arc<Activity>);

impl Activity {
    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.progress.fetch_add(1, Ordering::Relaxed);
        Running(self.clone())
    }

    /// An answer of so many bytes begins to be sent.
    pub(super) fn send(self: &Arc<Self>, bytes: usize) -> Sending {
        let allowance = (bytes as u64).saturating_mul(1000) / SLOWEST;
        // The first one starts the clock, and those that come before it has stopped get their own time on top.
        if self.unsent.fetch_add(1, Ordering::Relaxed) == 0 {
            let now = self.now_ms();
            self.due_ms.store(now + SENDING_PATIENCE.as_millis() as u64 + allowance, Ordering::Relaxed);
        } else {
            self.due_ms.fetch_add(allowance, Ordering::Relaxed);
        }
        Sending(self.clone())
    }

    /// Completes when nothing has happened for `patience`, at most twice that long after the last event, or an answer
    /// has not been taken in time.
    pub(super) async fn ceases(&self, patience: Duration) {
        loop {
            let before = self.progress.load(Ordering::Relaxed);
            tokio::time::sleep(patience).await;
            let is_idle =
                self.running.load(Ordering::Relaxed) == 0 && self.progress.load(Ordering::Relaxed) == before;
            if is_idle || self.is_overdue() {
                return;
            }
        }
    }

    fn is_overdue(&self) -> bool {
        self.unsent.load(Ordering::Relaxed) > 0 && self.now_ms() > self.due_ms.load(Ordering::Relaxed)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
        self.0.progress.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.unsent.fetch_sub(1, Ordering::Relaxed);
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
        // HTTP/2 answers a ping whether or not there is a request.
        if let Poll::Ready(Ok(1..)) = written
            && self.activity.unsent.load(Ordering::Relaxed) > 0
        {
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
    async fn an_answer_that_is_not_taken_in_time_ends_its_connection() {
        let activity = Arc::new(Activity::default());
        let _running = activity.begin();
        let _sending = activity.send(3 << 20);
        assert!(!activity.is_overdue());
        let due_ms = activity.due_ms.load(Ordering::Relaxed);
        assert!((60_000 + 768_000..60_000 + 769_000).contains(&due_ms), "{due_ms}");
        activity.due_ms.store(0, Ordering::Relaxed);
        tokio::time::sleep(PATIENCE).await;
        activity.ceases(PATIENCE).await;
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
