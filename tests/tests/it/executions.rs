//! Every call is recorded, with what it cost and why it failed.
