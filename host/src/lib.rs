//! The data plane of PiCloud: it runs script versions in sandboxes and answers HTTP with them.
//!
//! In reading order: what a call is (`call`), what makes one without a caller (`event`, `trigger`, `wildcard`), what bounds
//! it (`limits`, `quota`), what can go wrong (`problem`), how objects are read (`object`), what it may use of the machine (`grants`) and of its app
//! (`secret`, and `redact`, which keeps them out of texts); what the data plane needs from others (`ports`, `clock`, in memory:
//! `memory`; `sequencer` makes transactions over a plain store) and offers them (`loader`, `active`); how a script becomes an image and an image a running sandbox (`budget`, `guest`, `engine`,
//! `aot`, `image`, `sandbox`, `ticker`, `turns`, `nested`, `outbound`, `services`, `executor`); how requests get
//! there (`route`, `attempts`, `cookie`, `gate` with `meter` and `pressure`, `ingress`), and events (`dispatcher`), some of which go to others (`delivery`, `mqtt`, `callback`); what is kept of calls
//! (`record`); what tests of scripts have in place of the world (`testing`).

pub mod active;
pub mod answer;
pub mod aot;
pub mod attempts;
pub mod budget;
pub mod call;
pub mod callback;
mod clock;
pub mod cookie;
pub mod deferred;
pub mod delivery;
pub mod dispatcher;
mod engine;
pub mod event;
pub mod executor;
mod fair;
pub mod follow;
pub mod gate;
pub mod grants;
pub mod guest;
mod image;
pub mod ingress;
#[cfg(any(test, feature = "testing"))]
pub mod kv_conformance;
pub mod limits;
pub mod loader;
pub mod memory;
mod meter;
pub mod mqtt;
mod nested;
pub mod object;
pub mod outbound;
pub mod ports;
pub mod pressure;
pub mod problem;
pub mod quota;
mod record;
mod redact;
pub mod route;
mod sandbox;
pub mod secret;
pub mod sequencer;
mod services;
pub mod testing;
mod ticker;
pub mod trigger;
mod turns;
mod wildcard;
