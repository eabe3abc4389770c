//! What an app has used of its rates: two token buckets. Plain data; whoever asks brings the time.

use std::time::{Duration, Instant};

use crate::quota::{CallQuota, Quotas};

/// Seconds for which fuel is kept that is not used: time enough for a page that makes a dozen calls at once, and no more
/// than what a neighbour would notice for so long.
const FUEL_BURST_SECONDS: u64 = 10;

/// The same for loading what is uploaded: a whole project is deployed at once, and then nothing for long.
const LOAD_BURST_SECONDS: u64 = 600;

/// Levels are kept in millionths, so that a microsecond at any rate is a whole number of them.
const ONE: i128 = 1_000_000;

/// Fills at a rate up to so many seconds' worth, and may be emptied below zero.
#[derive(Debug)]
struct Bucket {
    /// How many seconds' worth it holds.
    seconds: u64,
    /// Units a second; none: nothing is counted.
    rate: Option<u64>,
    /// Millionths of a unit at `at`.
    level: i128,
    at: Option<Instant>,
}

impl Bucket {
    fn new(seconds: u64) -> Self {
        Self { seconds, rate: None, level: 0, at: None }
    }

    /// Fill up to now, and at this rate from now on. One that had none begins full.
    fn fill(&mut self, rate: Option<u64>, now: Instant) {
        let most = |rate: u64| i128::from(rate) * i128::from(self.seconds) * ONE;
        self.level = match (self.rate, rate) {
            (_, None) => 0,
            (None, Some(rate)) => most(rate),
            (Some(before), Some(rate)) => {
                let passed = self.at.map_or(0, |at| now.saturating_duration_since(at).as_micros());
                let filled = i128::try_from(passed).unwrap_or(i128::MAX).saturating_mul(i128::from(before));
                self.level.saturating_add(filled).min(most(rate))
            }
        };
        (self.rate, self.at) = (rate, Some(now));
    }

    /// How long it takes until there are so many millionths.
    fn wait_for(&self, needed: i128) -> Duration {
        let missing = needed - self.level;
        match self.rate {
            Some(rate) if missing > 0 => {
                let us = missing.unsigned_abs().div_ceil(u128::from(rate.max(1)));
                Duration::from_micros(u64::try_from(us).unwrap_or(u64::MAX))
            }
            _ => Duration::ZERO,
        }
    }

    fn take(&mut self, units: u64) {
        if self.rate.is_some() {
            self.level -= i128::from(units) * ONE;
        }
    }
}

/// What an app has used.
#[derive(Debug)]
pub(crate) struct Meter {
    calls: Bucket,
    fuel: Bucket,
    /// The fuel of uploads, apart from that of calls: nobody is to be turned away because somebody deploys.
    loads: Bucket,
}

/// No call may begin now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    /// What is used up.
    pub(crate) quota: CallQuota,
    /// How much of it there is.
    pub(crate) most: u64,
    /// When a call may begin, if nobody takes what there is until then.
    pub(crate) wait: Duration,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            calls: Bucket::new(1),
            fuel: Bucket::new(FUEL_BURST_SECONDS),
            loads: Bucket::new(LOAD_BURST_SECONDS),
        }
    }
}

impl Meter {
    /// Whether a call may begin now. It is not counted yet.
    pub(crate) fn check(&mut self, quotas: &Quotas, now: Instant) -> Result<(), Spent> {
        self.calls.fill(quotas.calls_per_second, now);
        let wait = self.calls.wait_for(ONE);
        let of_calls = spent(CallQuota::Calls, quotas.calls_per_second, wait);
        match (of_calls, self.check_fuel(quotas, now)) {
            (Err(calls), Err(fuel)) if calls.wait > fuel.wait => Err(calls),
            (Err(calls), Ok(())) => Err(calls),
            (_, of_fuel) => of_fuel,
        }
    }

    fn check_fuel(&mut self, quotas: &Quotas, now: Instant) -> Result<(), Spent> {
        self.fuel.fill(quotas.fuel_per_second, now);
        spent(CallQuota::Fuel, quotas.fuel_per_second, self.fuel.wait_for(1))
    }

    /// Whether a source may be loaded now.
    pub(crate) fn check_load(&mut self, quotas: &Quotas, now: Instant) -> Result<(), Spent> {
        self.loads.fill(quotas.fuel_per_second, now);
        spent(CallQuota::Fuel, quotas.fuel_per_second, self.loads.wait_for(1))
    }

    /// A source was loaded.
    pub(crate) fn charge_load(&mut self, fuel: u64, now: Instant) {
        self.loads.fill(self.loads.rate, now);
        self.loads.take(fuel);
    }

    /// How many calls may begin one right after the other, after a [`check`](Self::check) that allows one.
    pub(crate) fn room(&self) -> usize {
        match self.calls.rate {
            Some(_) => usize::try_from(self.calls.level / ONE).unwrap_or(0),
            None => usize::MAX,
        }
    }

    /// A call begins.
    pub(crate) fn begin(&mut self) {
        self.calls.take(1);
    }

    /// A call has ended.
    pub(crate) fn charge(&mut self, fuel: u64, now: Instant) {
        self.fuel.fill(self.fuel.rate, now);
        self.fuel.take(fuel);
    }
}

fn spent(quota: CallQuota, most: Option<u64>, wait: Duration) -> Result<(), Spent> {
    match most {
        Some(most) if wait > Duration::ZERO => Err(Spent { quota, most, wait }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(calls: Option<u64>, fuel: Option<u64>) -> Quotas {
        Quotas { calls_per_second: calls, fuel_per_second: fuel, ..Quotas::default() }
    }

    /// How many calls begin at one moment.
    fn burst(meter: &mut Meter, quotas: &Quotas, now: Instant) -> usize {
        (0..1000).take_while(|_| meter.check(quotas, now).map(|()| meter.begin()).is_ok()).count()
    }

    #[test]
    fn uploads_have_fuel_of_their_own_at_the_same_rate() {
        let (mut meter, quotas, start) = (Meter::default(), rates(None, Some(10)), Instant::now());
        assert_eq!(meter.check_load(&quotas, start), Ok(()));
        meter.charge_load(6020, start);
        let spent = meter.check_load(&quotas, start).unwrap_err();
        assert_eq!((spent.quota, spent.most), (CallQuota::Fuel, 10));
        assert!(spent.wait > Duration::from_secs(2), "{:?}", spent.wait);
        assert_eq!(meter.check(&quotas, start), Ok(()), "calls have theirs");
        assert_eq!(meter.check_load(&quotas, start + Duration::from_secs(3)), Ok(()));
    }

    #[test]
    fn a_second_has_as_many_calls_as_the_quota_says() {
        let (mut meter, quotas, start) = (Meter::default(), rates(Some(5), None), Instant::now());
        assert_eq!(burst(&mut meter, &quotas, start), 5);
        let spent = meter.check(&quotas, start).unwrap_err();
        assert_eq!((spent.quota, spent.most, spent.wait), (CallQuota::Calls, 5, Duration::from_millis(200)));
        assert_eq!(burst(&mut meter, &quotas, start + Duration::from_micros(199_999)), 0);
        assert_eq!(burst(&mut meter, &quotas, start + Duration::from_millis(200)), 1);
        assert_eq!(
            burst(&mut meter, &quotas, start + Duration::from_secs(100)),
            5,
            "no more than one second's"
        );
        let steady = (1..=1000).filter(|n| {
            let now = start + Duration::from_secs(101) + Duration::from_millis(10 * n);
            meter.check(&quotas, now).map(|()| meter.begin()).is_ok()
        });
        assert_eq!(
            steady.count(),
            5 + 49,
            "what had gathered before, and what comes in ten seconds but a hundredth"
        );
    }

    #[test]
    fn fuel_is_charged_afterwards_and_owed() {
        let (mut meter, quotas, start) = (Meter::default(), rates(None, Some(1000)), Instant::now());
        assert_eq!(meter.check(&quotas, start), Ok(()));
        meter.charge(9_999, start);
        assert_eq!(meter.check(&quotas, start), Ok(()), "ten seconds' worth and one less");
        meter.charge(50_001, start);
        let spent = meter.check(&quotas, start).unwrap_err();
        assert_eq!((spent.quota, spent.most), (CallQuota::Fuel, 1000));
        assert!((Duration::from_secs(50)..Duration::from_millis(50_001)).contains(&spent.wait), "{spent:?}");
        assert!(meter.check(&quotas, start + Duration::from_secs(50)).is_err());
        assert_eq!(meter.check(&quotas, start + spent.wait), Ok(()));
    }

    #[test]
    fn a_charge_is_not_forgiven_by_idle_time_before_it() {
        let (mut meter, quotas, start) = (Meter::default(), rates(None, Some(1000)), Instant::now());
        meter.check(&quotas, start).unwrap();
        let later = start + Duration::from_secs(3600);
        meter.charge(20_000, later);
        assert_eq!(meter.check(&quotas, later).unwrap_err().wait.as_secs(), 10);
    }

    #[test]
    fn the_longer_wait_is_told() {
        let (mut meter, quotas, start) = (Meter::default(), rates(Some(1), Some(1000)), Instant::now());
        assert_eq!(burst(&mut meter, &quotas, start), 1);
        meter.charge(40_000, start);
        assert_eq!(meter.check(&quotas, start).unwrap_err().quota, CallQuota::Fuel);
    }

    #[test]
    fn a_rate_that_changes_counts_from_then_on() {
        let (mut meter, start) = (Meter::default(), Instant::now());
        assert_eq!(burst(&mut meter, &rates(None, None), start), 1000, "without a quota nothing is counted");
        assert_eq!(burst(&mut meter, &rates(Some(10), None), start), 10);
        assert_eq!(burst(&mut meter, &rates(Some(100), None), start + Duration::from_millis(100)), 1);
        assert_eq!(burst(&mut meter, &rates(Some(2), None), start + Duration::from_secs(9)), 2);
        assert_eq!(burst(&mut meter, &rates(None, None), start + Duration::from_secs(9)), 1000);
    }

    #[test]
    fn room_is_what_may_begin_at_once() {
        let (mut meter, quotas, start) = (Meter::default(), rates(Some(3), None), Instant::now());
        meter.check(&quotas, start).unwrap();
        assert_eq!(meter.room(), 3);
        assert_eq!(burst(&mut meter, &quotas, start), 3);
        assert_eq!(meter.room(), 0);
    }
}
