//! A call can observe nothing of the calls before it.
