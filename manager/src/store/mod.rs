//! Storage in SQLite. SQL lives here and nowhere else, one file for each noun.

mod database;

pub use database::{Database, Durability};
