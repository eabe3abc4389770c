//! Requests of scripts to other servers.
//!
//! In reading order: `policy` (what an app allows), `request` (what a script asks for, and the proof that the policy
//! allows it), `guard` (which addresses are on the public internet), `redirect` (where a response sends on to), `tls`
//! (whose certificates are believed), `shares` (places for the requests
//! of each app), `client` (connections, bounds, the loop over redirects), `failure` (why there is no
//! response).
//!
//! What keeps a script from reaching what it must not (server-side request forgery):
//!
//! - Nothing is sent but an [`Admitted`], which only the policy makes, and a redirect is admitted like
//!   any other request.
//! - An address in the URL is checked there, in the form in which the URL Standard writes it, whatever the script wrote.
//! - A name is checked where it is resolved, and connections go to the addresses that passed, so that a name that
//!   resolves to something else the next time gains nothing.
//! - Requests under a rule with `private` have connections of their own: one that such a rule has opened is never used
//!   by a request without.

mod client;
mod failure;
mod guard;
pub mod policy;
mod redirect;
mod request;
mod shares;
#[cfg(test)]
mod tests;
pub(crate) mod tls;

pub use client::Outbound;
pub(crate) use client::{Allowance, Bounds};
pub(crate) use request::{Admitted, Outgoing, destination};
pub use tls::Roots;
