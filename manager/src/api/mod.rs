//! The REST API. One file for each noun.
