//! The REST API over a real listener.
