//! Fuel is a number that a user can test against.
