//! Makes commits durable: while one group is being written, the next one gathers.

use std::sync::Arc;

use super::Shared;
use super::backend::KvBackend;
use super::state::{Next, Waiter};

/// Write groups until the sequencer is closed.
pub(super) async fn run<B: KvBackend>(shared: Arc<Shared<B>>) {
    let stopped = FailWhatIsLeft(&shared);
    loop {
        // Bound to a name so that the lock is given back before anything is awaited.
        let next = shared.lock().next();
        match next {
            Next::Write(group) => match shared.backend.apply(&group).await {
                Ok(()) => {
                    let settled = shared.lock().written();
                    shared.options.lanes.note(settled.lanes);
                    shared.options.followers.tell(&settled.news);
                    tell(settled.waiters, None);
                    if settled.sooner {
                        shared.expiry.notify_one();
                    }
                }
                Err(error) => {
                    tracing::error!(%error, keys = group.changes.len(), events = group.events.len(), "cannot write");
                    let waiters = shared.lock().failed();
                    tell(waiters, Some("writing has failed"));
                }
            },
            Next::Sleep => shared.work.notified().await,
            Next::Stop => break,
        }
    }
    drop(stopped);
}

fn tell(waiters: Vec<Waiter>, failure: Option<&str>) {
    for waiter in waiters {
        waiter.tell(failure);
    }
}

/// Whatever ends the writer, a panic in the store or the end of the runtime: nobody waits for it for ever.
struct FailWhatIsLeft<'a, B: KvBackend>(&'a Shared<B>);

impl<B: KvBackend> Drop for FailWhatIsLeft<'_, B> {
    fn drop(&mut self) {
        let waiters = {
            let mut state = self.0.lock();
            state.close();
            state.failed()
        };
        tell(waiters, Some("the writer has stopped"));
    }
}
