//! The services of the sandbox: one file for each WIT interface, and the one function that links them.

pub(crate) mod config;
mod context;
mod diagnostics;
mod event;
pub(crate) mod fs;
pub(crate) mod http;
mod image;
pub(crate) mod kv;
pub(crate) mod log;
mod mqtt;
mod random;
mod request;
pub(crate) mod scripts;
pub(crate) mod secrets;
mod test;
mod time;
pub(crate) mod triggers;

use std::sync::Arc;

use anyhow::Result;
use picloud_sdk_wit::Script;
use wasmtime::Engine;
use wasmtime::component::{HasSelf, Linker};

use crate::active::Active;
use crate::grants::Grants;
use crate::outbound::Outbound;
use crate::ports::{Clock, Events, Kv};
use crate::sandbox::CallState;
use crate::testing::TestKit;

impl picloud_sdk_wit::picloud::sdk::outcome::Host for CallState {}

/// What calls work with: the ports behind the interfaces.
#[derive(Clone)]
pub struct Services {
    /// Keys and values, and the transactions of calls.
    pub kv: Arc<dyn Kv>,
    /// Stored events.
    pub events: Arc<dyn Events>,
    /// Queues and subscriptions, what apps may request, their secrets and configuration.
    pub active: Arc<Active>,
    /// Directories of the host.
    pub grants: Arc<Grants>,
    /// Connections to other servers.
    pub outbound: Arc<Outbound>,
    /// Whether a server runs the calls. One alone, as by `picloud run`, has no broker and no policy, and is told why.
    pub server: bool,
    /// Whether there is an MQTT broker to publish to.
    pub mqtt: bool,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// What a test of scripts has set up; none in a server.
    pub test: Option<Arc<TestKit>>,
}

/// Let the inner error of a host function through, as `?` does with the outer one. The function ends with `Ok(Ok(..))`.
macro_rules! check {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Ok(Err(error)),
        }
    };
}
use check;

/// A limit as errors carry it. One that is larger than they can say is as good as none.
fn bound(limit: u64) -> u32 {
    u32::try_from(limit).unwrap_or(u32::MAX)
}

/// A linker with everything that the guest may import, and nothing else.
pub(crate) fn linker(engine: &Engine) -> Result<Linker<CallState>> {
    let mut linker = Linker::new(engine);
    Script::add_to_linker::<_, HasSelf<CallState>>(&mut linker, |state| state)?;
    Ok(linker)
}
