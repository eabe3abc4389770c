//! Keys and values over REST.
