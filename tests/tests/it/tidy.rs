//! Rules about the source itself, so that they hold without anybody remembering them. Nothing is built or started.
//!
//! `source` finds the files; then one file for each kind of rule: `shape` (sizes, first lines), `layers` (one noun, one
//! file name in every layer; who may import what; where SQL is), `safety` (panics, unsafe code), `docs` (error pages,
//! links), `diff` (the page that shows how a service is added).
//!
//! A rule that has exceptions names each with its reason, and an exception that is no longer needed fails the test.

mod diff;
mod docs;
mod layers;
mod safety;
mod shape;
mod source;

/// Fail with every violation there is, not only the first.
#[track_caller]
fn assert_none(rule: &str, violations: &[String]) {
    assert!(violations.is_empty(), "{rule}\n  {}\n", violations.join("\n  "));
}
