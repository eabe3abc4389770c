//! The REST API and the server around it, over a real listener.

mod access;
mod canary;
mod openapi;
mod requests;
mod roll_out;
mod scripts;
mod server;
mod stopping;
mod uploads;
mod versions;

/// Works for so many milliseconds, then answers with its version. It needs much fuel.
fn slow(ms: u32) -> String {
    format!("let end = time::now() + {ms}; while time::now() < end {{ }} ctx.version")
}
