//! The bodies of requests: read up to their limit, and all together within a budget of memory.
//!
//! A body is read before its call is admitted, so the admission gate does not bound how many there are. Without a budget a
//! few thousand connections, each with a body that is just small enough, would take all memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Body;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::problem::{Code, Problem};

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(60);

/// So much of each body is not counted, in bytes: small bodies find room when large ones have taken all there is.
const FREE: usize = 16 << 10;

/// Memory for the bodies of requests, from their arrival to the end of their calls.
#[derive(Debug)]
pub struct BodyMemory {
    bytes: usize,
    free: Arc<Semaphore>,
}

/// A body with its share of the memory, which is free again when this is dropped.
#[derive(Debug)]
pub struct Held {
    /// The whole of it.
    pub body: Bytes,
    pub(super) _share: Option<OwnedSemaphorePermit>,
}

impl BodyMemory {
    /// Memory for so many bytes.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        let bytes = bytes.min(Semaphore::MAX_PERMITS);
        Self { bytes, free: Arc::new(Semaphore::new(bytes)) }
    }

    /// Read a whole body of at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// `body-too-large`, `body-incomplete`, `body-timeout`; `saturated`, when the memory is full.
    pub async fn read(&self, body: impl Body<Data = Bytes> + Unpin, limit: u64) -> Result<Held, Problem> {
        if body.is_end_stream() {
            return Ok(Held { body: Bytes::new(), _share: None });
        }
        if body.size_hint().lower() > limit {
            return Err(too_large(limit));
        }
        tokio::time::timeout(PATIENCE, self.gather(body, limit)).await.unwrap_or_else(|_| {
            let detail = format!("it took more than {} s", PATIENCE.as_secs());
            Err(Problem::new(Code::BodyTimeout).detail(detail))
        })
    }

    /// The share grows with what has arrived: who announces much and sends nothing takes nothing from others.
    async fn gather(&self, mut body: impl Body<Data = Bytes> + Unpin, limit: u64) -> Result<Held, Problem> {
        let mut whole = BytesMut::new();
        let mut share: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::new(Code::BodyIncomplete))?;
            // Trailers are of no interest.
            let Ok(data) = frame.into_data() else { continue };
            if (whole.len() + data.len()) as u64 > limit {
                return Err(too_large(limit));
            }
            let counted = |length: usize| length.saturating_sub(FREE);
            let more = self.take(counted(whole.len() + data.len()) - counted(whole.len()))?;
            match &mut share {
                Some(share) => share.merge(more),
                None => share = Some(more),
            }
            // Copied, because a piece keeps the whole buffer it arrived in, and pieces may be a byte long.
            whole.extend_from_slice(&data);
        }
        Ok(Held { body: whole.freeze(), _share: share })
    }

    /// Refused at once rather than waited for: bodies that have arrived in part would wait for one another.
    fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.free.clone().try_acquire_many_owned(wanted).map_err(|_| {
            let detail =
                format!("the bodies of requests under way fill the {} bytes there are for them", self.bytes);
            Problem::new(Code::Saturated).detail(detail)
        })
    }
}

fn too_large(limit: u64) -> Problem {
    Problem::new(Code::BodyTooLarge).detail(format!("a body may have at most {limit} bytes"))
}
