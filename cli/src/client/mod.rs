//! The connection to a server: where it is, how bytes get there and back, what the answers mean.

pub mod api;
pub mod config;
pub mod file;
pub mod http;
pub mod problem;
pub mod server;

pub use api::Api;
pub use config::ClientSettings;
pub use file::{SavedToken, WrittenFile, saved_token, write_client_file};
