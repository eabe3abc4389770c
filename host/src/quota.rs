//! The quotas table: what an app may have of what all apps share, with unit, smallest value, default and maximum of each.
//! It makes the configuration, and the documentation is compared with it.

use serde::{Deserialize, Serialize};

use crate::problem::{Code, Problem};

/// One row of the table.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct QuotaRow {
    /// The name in the configuration file (`[quotas]`), with `-` for `_` in flags.
    pub name: &'static str,
    /// The unit its value is counted in.
    pub unit: &'static str,
    /// The smallest value that is accepted.
    pub minimum: u64,
    /// What applies when nothing is configured; none: no bound.
    pub default: Option<u64>,
    /// The largest value that is accepted.
    pub maximum: u64,
    /// What it bounds, and what happens at the bound.
    pub doc: &'static str,
}

macro_rules! quotas {
    ($($(#[doc = $doc:literal])+ $name:ident: $unit:literal, $minimum:expr, $default:expr, $maximum:expr;)+) => {
        /// The quotas of an app, as somebody has set them: what is none was not set. [`Quotas::over`] puts them over
        /// those that apply otherwise; in those that apply, none is no bound.
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Quotas {
            $($(#[doc = $doc])+ #[serde(skip_serializing_if = "Option::is_none")] pub $name: Option<u64>,)+
        }

        /// The table, in the order of the documentation.
        pub const QUOTAS: &[QuotaRow] = &[$(QuotaRow {
            name: stringify!($name),
            unit: $unit,
            minimum: $minimum,
            default: $default,
            maximum: $maximum,
            doc: concat!($($doc,)+),
        },)+];

        impl Quotas {
            /// What applies to every app when nothing is configured.
            pub const STANDARD: Self = Self { $($name: $default,)+ };

            /// These where they are set, and `defaults` where they are not.
            #[must_use]
            pub fn over(&self, defaults: &Self) -> Self {
                Self { $($name: self.$name.or(defaults.$name),)+ }
            }

            /// The value of each quota with its row.
            fn rows(&self) -> impl Iterator<Item = (&'static QuotaRow, Option<u64>)> {
                QUOTAS.iter().zip([$(self.$name,)+])
            }
        }
    };
}

quotas! {
    /// Calls of an app that run or wait for their turn at the same time. Beyond it: `quota-exceeded`; events wait.
    concurrent_calls: "calls", 1, None, 100_000;
    /// Calls of an app a second, as many at once as a second has. Beyond it: `quota-exceeded`; events wait.
    calls_per_second: "calls/s", 1, None, 1_000_000;
    /// Fuel of an app a second. A call is charged when it has ended, with all that it has called; as long as the app owes
    /// fuel no other one begins. What is not used is kept for ten seconds. Beyond it: `quota-exceeded`; events wait.
    fuel_per_second: "units/s", 1000, None, 1_000_000_000_000;
    /// Keys and values of an app in KV, in bytes of both; those that have expired count until they are deleted. What
    /// makes them more beyond it: `kv-quota-exceeded`.
    kv_bytes: "bytes", 1, Some(1 << 30), 1 << 50;
    /// Versions that are kept of each script of an app.
    versions: "versions", 1, Some(1000), 1_000_000;
    /// Stored events of an app: those that wait, run or are dead. What makes them more beyond it:
    /// `events-quota-exceeded`.
    queued_events: "events", 1, Some(1_000_000), 100_000_000;
}

impl Quotas {
    /// Every quota that is set must be between its minimum and its maximum.
    ///
    /// # Errors
    ///
    /// Names the first quota that is out of range.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |row: &QuotaRow, value: u64| !(row.minimum..=row.maximum).contains(&value);
        match self.rows().find_map(|(row, value)| Some((row, value.filter(|value| wrong(row, *value))?))) {
            Some((row, value)) => Err(format!(
                "quota {} is {value} {}, but must be {} to {}",
                row.name, row.unit, row.minimum, row.maximum
            )),
            None => Ok(()),
        }
    }
}

/// The quotas that calls are held against when they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallQuota {
    /// `concurrent_calls`.
    Concurrent,
    /// `calls_per_second`.
    Calls,
    /// `fuel_per_second`.
    Fuel,
}

impl CallQuota {
    /// Every one, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Concurrent, Self::Calls, Self::Fuel];

    /// The name of the quota.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Concurrent => "concurrent_calls",
            Self::Calls => "calls_per_second",
            Self::Fuel => "fuel_per_second",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Concurrent => "calls",
            Self::Calls => "calls/s",
            Self::Fuel => "units/s",
        }
    }
}

/// A call that its app's quotas do not allow at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the app has used up its quota {} of {most} {}; try again in {retry_after_secs} s",
    quota.as_str(), quota.unit()
)]
pub struct QuotaExceeded {
    /// Which quota.
    pub quota: CallQuota,
    /// How much the app may have.
    pub most: u64,
    /// When a call may begin, if nobody else takes what there is until then; at least 1.
    pub retry_after_secs: u64,
}

impl From<QuotaExceeded> for Problem {
    fn from(exceeded: QuotaExceeded) -> Self {
        Self::new(Code::QuotaExceeded).detail(exceeded.to_string()).retry_after(exceeded.retry_after_secs)
    }
}

/// A transaction that would store more than its app may keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StorageQuota {
    /// Over `kv_bytes`: so many bytes are allowed.
    #[error("the keys and values of the app would have more than the {0} bytes of its quota kv_bytes")]
    KvBytes(u64),
    /// Over `queued_events`: so many events are allowed.
    #[error("the app would have more than the {0} stored events of its quota queued_events")]
    QueuedEvents(u64),
}

impl StorageQuota {
    /// The code of a call or a request that fails with it.
    #[must_use]
    pub fn code(self) -> Code {
        match self {
            Self::KvBytes(_) => Code::KvQuotaExceeded,
            Self::QueuedEvents(_) => Code::EventsQuotaExceeded,
        }
    }
}

impl From<StorageQuota> for Problem {
    fn from(exceeded: StorageQuota) -> Self {
        Self::new(exceeded.code()).detail(exceeded.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_is_within_the_maxima() {
        assert_eq!(Quotas::STANDARD.check(), Ok(()));
        assert_eq!(Quotas::default().check(), Ok(()), "what is not set is not out of range");
    }

    #[test]
    fn zero_and_too_much_are_refused_by_name() {
        let zero = Quotas { calls_per_second: Some(0), ..Quotas::default() };
        assert!(zero.check().unwrap_err().starts_with("quota calls_per_second is 0 calls/s"));
        let large = Quotas { versions: Some(1_000_001), ..Quotas::default() };
        assert!(large.check().unwrap_err().contains("must be 1 to 1000000"));
    }

    #[test]
    fn what_an_app_sets_wins_over_the_defaults() {
        let own = Quotas { kv_bytes: Some(5), calls_per_second: Some(2), ..Quotas::default() };
        let defaults = Quotas { calls_per_second: Some(9), fuel_per_second: Some(4000), ..Quotas::STANDARD };
        let expect = Quotas { calls_per_second: Some(2), kv_bytes: Some(5), ..defaults };
        assert_eq!(own.over(&defaults), expect);
        assert_eq!(Quotas::default().over(&defaults), defaults);
    }

    #[test]
    fn only_what_is_set_is_written_and_nothing_unknown_is_read() {
        let own = Quotas { kv_bytes: Some(5), ..Quotas::default() };
        assert_eq!(serde_json::to_string(&own).unwrap(), r#"{"kv_bytes":5}"#);
        assert_eq!(serde_json::from_str::<Quotas>(r#"{"kv_bytes":5,"versions":null}"#).unwrap(), own);
        assert!(serde_json::from_str::<Quotas>(r#"{"kv_byte":5}"#).is_err());
    }

    #[test]
    fn names_and_units_are_those_of_the_table() {
        for quota in CallQuota::ALL {
            assert!(
                QUOTAS.iter().any(|row| (row.name, row.unit) == (quota.as_str(), quota.unit())),
                "{quota:?}"
            );
        }
    }
}
