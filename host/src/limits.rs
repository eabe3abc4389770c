//! The limits table: every limit with its unit, smallest value, default and maximum. It makes the configuration, and the
//! documentation is compared with it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One row of the table.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LimitRow {
    /// The name in the configuration file (`[limits]`), with `-` for `_` in flags.
    pub name: &'static str,
    /// The unit its value is counted in.
    pub unit: &'static str,
    /// The smallest value that is accepted.
    pub minimum: u64,
    /// What applies when nothing is configured.
    pub default: u64,
    /// The largest value that is accepted.
    pub maximum: u64,
    /// What it bounds, and what happens at the bound.
    pub doc: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $unit:literal, $minimum:expr, $default:expr, $maximum:expr;)+) => {
        /// The limits of one call, and of what may be uploaded. The same for every script of an app.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        /// The table, in the order of the documentation.
        pub const LIMITS: &[LimitRow] = &[$(LimitRow {
            name: stringify!($name),
            unit: $unit,
            minimum: $minimum,
            default: $default,
            maximum: $maximum,
            doc: concat!($($doc,)+),
        },)+];

        impl Limits {
            /// The value of each limit with its row.
            fn rows(&self) -> impl Iterator<Item = (&'static LimitRow, u64)> {
                LIMITS.iter().zip([$(self.$name,)+])
            }

            /// The value of a limit by its name.
            fn value_mut(&mut self, name: &str) -> Option<&mut u64> {
                match name {
                    $(stringify!($name) => Some(&mut self.$name),)+
                    _ => None,
                }
            }
        }
    };
}

limits! {
    /// Fuel of one call: about one unit an instruction of WebAssembly and one a byte that is copied as a block. Beyond
    /// it: `fuel-exhausted`.
    fuel: "units", 1, 500_000_000, 1_000_000_000_000;
    /// Memory of one sandbox, of which an empty script takes about 1.3 MiB. Beyond it: `memory-exhausted`.
    memory_bytes: "bytes", 4 << 20, 64 << 20, 1 << 30;
    /// Image of a script: what its memory holds once it is loaded. Beyond it: `top-level-limit`.
    image_bytes: "bytes", 1 << 20, 16 << 20, 1 << 30;
    /// Wall clock of one call, from the moment it is admitted; loading a cold script counts. Beyond it:
    /// `deadline-exceeded`.
    deadline_ms: "ms", 1, 10_000, 15 * 60 * 1000;
    /// Body of a request. Beyond it: `body-too-large`.
    request_body_bytes: "bytes", 1, 1 << 20, 64 << 20;
    /// Body of an answer. Beyond it: `answer-too-large`.
    response_body_bytes: "bytes", 1, 4 << 20, 64 << 20;
    /// Log lines of one execution. What is over is dropped and counted.
    log_lines: "lines", 1, 256, 10_000;
    /// Bytes of log of one execution. What is over is dropped and counted.
    log_bytes: "bytes", 1, 64 << 10, 4 << 20;
    // The guest hands over no more of a key than the maximum and a little: guest/src/sdk/kv.rs.
    /// Length of a KV key in UTF-8. Beyond it: `kv-key-invalid`.
    kv_key_bytes: "bytes", 1, 512, 4096;
    /// Length of a KV value: JSON text or blob. Beyond it: `kv-value-too-large`.
    kv_value_bytes: "bytes", 1, 256 << 10, 16 << 20;
    /// KV operations of one call. Beyond it the operation fails, and the script can catch it.
    kv_operations: "operations", 1, 1000, 100_000;
    /// Bytes of keys and values that one call may write to KV, and that it may read. Beyond it the operation fails, and
    /// the script can catch it.
    kv_call_bytes: "bytes", 1, 8 << 20, 256 << 20;
    /// What one call may ask of files. Beyond it the function fails, and the script can catch it.
    fs_operations: "operations", 1, 100, 10_000;
    /// Bytes of a file that are read or written at once. Beyond it the function fails, and the script can catch it.
    fs_file_bytes: "bytes", 1, 1 << 20, 64 << 20;
    /// Bytes that one call may write to files, and that it may read from them. Beyond it the function fails, and the
    /// script can catch it.
    fs_call_bytes: "bytes", 1, 8 << 20, 256 << 20;
    /// Events that one call may make, and as many that it may cancel or look for. Beyond it the function fails, and the
    /// script can catch it.
    events: "events", 1, 100, 10_000;
    /// Data of one event: JSON text. Beyond it: `event-too-large`, or an error that the script can catch.
    event_bytes: "bytes", 1, 256 << 10, 16 << 20;
    /// Data of all events that one call makes. Beyond it the function fails, and the script can catch it.
    event_call_bytes: "bytes", 1, 8 << 20, 256 << 20;
    /// How many triggers may follow on one another. Beyond it: `depth-exceeded`.
    trigger_depth: "hops", 1, 16, 256;
    /// Other scripts that one call may call, with all that those call. Beyond it the function fails, and the script can
    /// catch it.
    calls: "calls", 1, 16, 1000;
    /// Requests that one call may send. Beyond it the request fails, and the script can catch it.
    outbound_requests: "requests", 1, 16, 1000;
    /// URL, headers and body of one such request together. Beyond it the request fails, and the script can catch it.
    outbound_request_bytes: "bytes", 1, 1 << 20, 64 << 20;
    /// Body of one response to it. Beyond it the request fails, and the script can catch it.
    outbound_response_bytes: "bytes", 1, 4 << 20, 64 << 20;
    /// Bodies and headers of all responses to one call together. Beyond it the request fails, and the script can catch it.
    outbound_call_bytes: "bytes", 1, 16 << 20, 256 << 20;
    /// How long one such request may take until the whole response is there, and not beyond the call's deadline. Beyond
    /// it the request fails, and the script can catch it.
    outbound_timeout_ms: "ms", 1, 10_000, 15 * 60 * 1000;
    /// Body of a request whose caller fetches the answer later. Beyond it: `body-too-large`.
    async_body_bytes: "bytes", 1, 1 << 20, 16 << 20;
    /// Such calls of an app that wait or run. Beyond it: `saturated`.
    async_calls: "calls", 1, 1000, 100_000;
    /// How long an answer is kept: of such a call, and of one with an idempotency key.
    answer_kept_ms: "ms", 1000, 24 * 60 * 60 * 1000, 30 * 24 * 60 * 60 * 1000;
    /// All answers that an app keeps, and the requests that wait for theirs; each counts 4 KiB more than it has. Beyond
    /// it: `saturated`.
    answers_kept_bytes: "bytes", 1 << 20, 256 << 20, 64 << 30;
    /// Length of a script's source in UTF-8. Beyond it: `source-too-large`.
    source_bytes: "bytes", 1, 256 << 10, 4 << 20;
}

/// What an app has chosen for itself, by the name of the limit.
pub type OwnLimits = BTreeMap<String, u64>;

impl Limits {
    /// Whether an app may choose these: each is known, and between its minimum and what the server has.
    ///
    /// # Errors
    ///
    /// Names the first that is not.
    pub fn allow(&self, own: &OwnLimits) -> Result<(), String> {
        for (name, value) in own {
            let found = self.rows().find(|(row, _)| row.name == name);
            let (row, most) = found.ok_or_else(|| format!("there is no limit {name}"))?;
            if !(row.minimum..=most).contains(value) {
                return Err(format!(
                    "limit {name} is {value} {}, but must be {} to {most}, which is the server's",
                    row.unit, row.minimum
                ));
            }
        }
        Ok(())
    }

    /// These limits, narrowed to what an app has chosen. What the server has since lowered further stays as low.
    #[must_use]
    pub fn narrowed(mut self, own: &OwnLimits) -> Self {
        for (name, chosen) in own {
            if let Some(value) = self.value_mut(name) {
                *value = (*value).min(*chosen);
            }
        }
        self
    }

    /// Every limit must be between its minimum and its maximum.
    ///
    /// # Errors
    ///
    /// Names the first limit that is out of range.
    pub fn check(&self) -> Result<(), String> {
        match self.rows().find(|(row, value)| !(row.minimum..=row.maximum).contains(value)) {
            Some((row, value)) => Err(format!(
                "limit {} is {value} {}, but must be {} to {}",
                row.name, row.unit, row.minimum, row.maximum
            )),
            None => Ok(()),
        }
    }

    /// The deadline as a duration.
    #[must_use]
    pub fn deadline(&self) -> std::time::Duration {
        std::time::Duration::from_millis(self.deadline_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_the_maxima() {
        assert_eq!(Limits::default().check(), Ok(()));
    }

    #[test]
    fn zero_and_too_much_are_refused_by_name() {
        let zero = Limits { fuel: 0, ..Limits::default() };
        assert!(zero.check().unwrap_err().starts_with("limit fuel is 0 units"));
        let small = Limits { memory_bytes: 100_000, ..Limits::default() };
        assert!(small.check().unwrap_err().contains("must be 4194304 to 1073741824"));
        let large = Limits { trigger_depth: 257, ..Limits::default() };
        assert!(large.check().unwrap_err().contains("must be 1 to 256"));
    }

    #[test]
    fn an_app_may_narrow_limits_and_not_widen_them() {
        let server = Limits { fuel: 1000, ..Limits::default() };
        let own = |name: &str, value| OwnLimits::from([(name.to_owned(), value)]);
        assert_eq!(server.allow(&own("fuel", 1000)), Ok(()));
        assert!(server.allow(&own("fuel", 1001)).unwrap_err().contains("must be 1 to 1000"));
        assert!(server.allow(&own("fuel", 0)).is_err());
        assert_eq!(server.allow(&own("fuels", 1)).unwrap_err(), "there is no limit fuels");
        assert_eq!(server.narrowed(&own("fuel", 10)), Limits { fuel: 10, ..server });
        let lowered = Limits { fuel: 5, ..server };
        assert_eq!(lowered.narrowed(&own("fuel", 10)), lowered);
    }
}
