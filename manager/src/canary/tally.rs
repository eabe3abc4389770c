//! What is counted of the calls of one version.

use picloud_host::call::Fault;
use picloud_host::ports::ExecutionRecord;
use picloud_host::problem::Code;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The calls of one version.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Tally {
    /// How many there were.
    pub calls: u64,
    /// How many of them failed by the fault of the script or by a limit, or were answered with a status of 500 or more.
    pub failed: u64,
    /// Logarithms of the fuel that each of the others took.
    pub log_fuel: Spread,
}

impl Tally {
    /// Count a call. True if it says something of the version: what is the platform's fault, or was cancelled, does not.
    pub fn count(&mut self, record: &ExecutionRecord) -> bool {
        let failed = match &record.error {
            None => record.status >= 500,
            Some(error) if error.code == Code::Cancelled => return false,
            Some(error) => match error.fault {
                Some(Fault::Platform) => return false,
                Some(Fault::Script | Fault::Limit) => true,
                // It has answered, with `throw`.
                None => false,
            },
        };
        self.calls += 1;
        if failed {
            self.failed += 1;
        } else {
            self.log_fuel.add((record.cost.fuel.max(1) as f64).ln());
        }
        true
    }

    /// The same, for people and programs.
    #[must_use]
    pub fn shown(&self) -> Counted {
        let typical = (self.log_fuel.count > 0).then(|| self.log_fuel.mean.exp().round() as u64);
        Counted { calls: self.calls, failed: self.failed, typical_fuel: typical }
    }
}

/// What was counted of a version's calls since the canary began, or since the server started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counted {
    /// Calls. Those that were cancelled, or failed by the fault of the platform, are not among them.
    pub calls: u64,
    /// How many of them failed: by the fault of the script, by a limit, or with a status of 500 or more.
    pub failed: u64,
    /// Fuel that a typical call took which did not fail (the geometric mean); null when there was none.
    #[schema(required)]
    pub typical_fuel: Option<u64>,
}

/// Mean and variance of numbers that come one after the other (Welford's method, as in Knuth, TAOCP 2, 4.2.2).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    /// How many numbers.
    pub count: u64,
    /// Their mean.
    pub mean: f64,
    /// The sum of the squares of their distances from it.
    squares: f64,
}

impl Spread {
    /// One more number.
    pub fn add(&mut self, number: f64) {
        self.count += 1;
        let distance = number - self.mean;
        self.mean += distance / self.count as f64;
        self.squares += distance * (number - self.mean);
    }

    /// The variance of the mean; of fewer than two numbers nothing is known.
    #[must_use]
    pub fn variance_of_mean(&self) -> Option<f64> {
        let (count, fewer) = (self.count as f64, self.count.checked_sub(1)? as f64);
        (fewer > 0.0).then(|| self.squares / fewer / count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::tests::succeeded;
    use picloud_host::ports::RecordedError;

    fn failed(code: Code, fault: Option<Fault>) -> ExecutionRecord {
        let error = RecordedError { fault, code, message: String::new(), position: None };
        ExecutionRecord { error: Some(error), status: 404, ..succeeded() }
    }

    #[test]
    fn what_is_nobodys_or_the_platforms_fault_says_nothing_against_a_version() {
        let mut tally = Tally::default();
        assert!(tally.count(&succeeded()));
        assert!(tally.count(&failed(Code::ScriptThrew, None)));
        assert!(!tally.count(&failed(Code::StorageUnavailable, Some(Fault::Platform))));
        assert!(!tally.count(&failed(Code::Cancelled, None)));
        assert_eq!((tally.calls, tally.failed), (2, 0));
        assert!(tally.count(&failed(Code::FuelExhausted, Some(Fault::Limit))));
        assert!(tally.count(&failed(Code::ScriptError, Some(Fault::Script))));
        assert!(tally.count(&ExecutionRecord { status: 502, ..succeeded() }));
        assert_eq!((tally.calls, tally.failed, tally.log_fuel.count), (5, 3, 2));
    }

    #[test]
    fn the_spread_is_that_of_all_numbers() {
        let mut spread = Spread::default();
        assert_eq!(spread.variance_of_mean(), None);
        for number in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            spread.add(number);
        }
        assert!((spread.mean - 5.0).abs() < 1e-12);
        assert!((spread.variance_of_mean().unwrap() - 32.0 / 7.0 / 8.0).abs() < 1e-12);
    }
}
