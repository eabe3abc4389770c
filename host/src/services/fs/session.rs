//! The files of one call: what it may use, and how much it has used.

use std::sync::Arc;

use cap_std::fs::Dir;
use picloud_sdk_wit::picloud::sdk::fs::Error;

use super::path;
use crate::grants::{Grant, Grants};
use crate::limits::Limits;
use crate::services::bound;

/// Finds grants, and counts against the limits of a call.
pub(crate) struct FsSession {
    grants: Arc<Grants>,
    /// None while a script is loaded.
    app: Option<Arc<str>>,
    limits: Arc<Limits>,
    operations: u64,
    bytes_read: u64,
    bytes_written: u64,
}

/// Where a path leads.
pub(super) struct Place {
    grant: Arc<Grant>,
    /// Below the directory of the grant; empty for that itself.
    below: String,
}

impl FsSession {
    /// The session of a call of this app; without one, of a load.
    pub(crate) fn new(grants: Arc<Grants>, app: Option<Arc<str>>, limits: Arc<Limits>) -> Self {
        Self { grants, app, limits, operations: 0, bytes_read: 0, bytes_written: 0 }
    }

    /// Count an operation, and find out where its path leads.
    pub(super) fn place(&mut self, path: &str) -> Result<Place, Error> {
        let app = self.app.as_ref().ok_or(Error::NoCall)?;
        self.operations += 1;
        if self.operations > self.limits.fs_operations {
            return Err(Error::TooManyOperations(bound(self.limits.fs_operations)));
        }
        let (name, below) = path::split(path)?;
        let grant = self.grants.find(app, name).ok_or_else(|| Error::GrantUnknown(name.to_owned()))?;
        Ok(Place { grant: grant.clone(), below: below.to_owned() })
    }

    /// Check how much is read or written at once.
    pub(super) fn size(&self, bytes: usize) -> Result<(), Error> {
        if bytes as u64 > self.limits.fs_file_bytes {
            return Err(Error::TooLarge(bound(self.limits.fs_file_bytes)));
        }
        Ok(())
    }

    /// Count what was read.
    pub(super) fn count_read(&mut self, bytes: usize) -> Result<(), Error> {
        count(&mut self.bytes_read, bytes, self.limits.fs_call_bytes)
    }

    /// Count what is to be written.
    pub(super) fn count_written(&mut self, bytes: usize) -> Result<(), Error> {
        count(&mut self.bytes_written, bytes, self.limits.fs_call_bytes)
    }
}

impl Place {
    /// Whether anything may be changed there.
    pub(super) fn writable(&self) -> Result<(), Error> {
        if self.grant.writable { Ok(()) } else { Err(Error::ReadOnly) }
    }

    /// Do something with the directory of the grant and the path below it, on a thread that may wait. It goes on to its
    /// end even if the call is over before.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce(&Dir, &str) -> Result<T, Error> + Send + 'static,
    ) -> wasmtime::Result<Result<T, Error>> {
        // Never closed.
        let permit = self.grant.running.clone().acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&self.grant.dir, &self.below)
        });
        done.await.map_err(|error| wasmtime::Error::msg(format!("an operation on files ended: {error}")))
    }
}

fn count(counter: &mut u64, bytes: usize, limit: u64) -> Result<(), Error> {
    *counter = counter.saturating_add(bytes as u64);
    if *counter > limit {
        return Err(Error::TooManyBytes(bound(limit)));
    }
    Ok(())
}
