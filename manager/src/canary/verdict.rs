//! Whether a version does worse than another one, or has only been unlucky so far.

use super::tally::{Spread, Tally};
use crate::store::canary::Rules;

/// How many standard deviations away from what is allowed something has to be. As it is looked at after each call, and not
/// once, this is more than one would take for a single look: of 100 versions that are as good about one is found to be worse.
const DEVIATIONS: f64 = 4.0;

/// In what a canary does worse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Regression {
    /// More of its calls fail.
    Faults,
    /// Its calls take more fuel.
    Fuel,
}

impl Regression {
    /// The word in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Faults => "faults",
            Self::Fuel => "fuel",
        }
    }
}

/// In what the canary does worse than the rules allow, as far as that can be told.
#[must_use]
pub(super) fn verdict(rules: &Rules, active: &Tally, canary: &Tally) -> Option<Regression> {
    let enough = u64::from(rules.min_calls);
    if canary.calls < enough || active.calls < enough {
        return None;
    }
    if more_faults(active, canary) * 100.0 > rules.max_faults_percent {
        return Some(Regression::Faults);
    }
    let most = rules.max_fuel_percent?;
    let (before, now) = (&active.log_fuel, &canary.log_fuel);
    let worse = before.count >= enough
        && now.count >= enough
        && more_fuel(before, now).is_some_and(|least| least > (1.0 + most / 100.0).ln());
    worse.then_some(Regression::Fuel)
}

/// How much larger the part of failed calls is at least: the lower end of the interval for the difference of two proportions
/// by Newcombe (1998), method 10.
fn more_faults(active: &Tally, canary: &Tally) -> f64 {
    let part = |tally: &Tally| tally.failed as f64 / tally.calls as f64;
    let (before, now) = (part(active), part(canary));
    let (_, upper) = wilson(before, active.calls as f64);
    let (lower, _) = wilson(now, canary.calls as f64);
    now - before - (now - lower).hypot(upper - before)
}

/// The interval for a proportion by Wilson (1927).
fn wilson(part: f64, of: f64) -> (f64, f64) {
    let z2 = DEVIATIONS * DEVIATIONS;
    let centre = part + z2 / (2.0 * of);
    let reach = DEVIATIONS * (part * (1.0 - part) / of + z2 / (4.0 * of * of)).sqrt();
    ((centre - reach) / (1.0 + z2 / of), (centre + reach) / (1.0 + z2 / of))
}

/// How much larger the mean is at least: the lower end of the interval for the difference of two means whose variances
/// differ (Welch 1947).
fn more_fuel(before: &Spread, now: &Spread) -> Option<f64> {
    let deviation = (before.variance_of_mean()? + now.variance_of_mean()?).sqrt();
    Some(now.mean - before.mean - DEVIATIONS * deviation)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules::DEFAULT;

    /// Numbers from 0 to 1 that are the same in each run (Numerical Recipes, "quick and dirty").
    struct Luck(u32);

    impl Luck {
        fn next(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f64::from(self.0 >> 8) / f64::from(1 << 24)
        }
    }

    fn count(tally: &mut Tally, fails: bool, fuel: f64) {
        tally.calls += 1;
        if fails {
            tally.failed += 1;
        } else {
            tally.log_fuel.add(fuel.ln());
        }
    }

    /// After how many calls of the canary it is found to be worse, of 2000; one in ten goes to it. Fuel varies by a factor of
    /// ten from call to call.
    fn found(seed: u32, faults: (f64, f64), fuel: f64) -> Option<(u64, Regression)> {
        let (mut luck, mut active, mut canary) = (Luck(seed), Tally::default(), Tally::default());
        while canary.calls < 2000 {
            let of_canary = luck.next() < 0.1;
            let (fails, took) = (luck.next(), 1000.0 * 10f64.powf(luck.next()));
            match of_canary {
                true => count(&mut canary, fails < faults.1, took * fuel),
                false => count(&mut active, fails < faults.0, took),
            }
            if of_canary && let Some(regression) = verdict(&RULES, &active, &canary) {
                return Some((canary.calls, regression));
            }
        }
        None
    }

    #[test]
    fn a_version_that_is_as_good_is_left_alone() {
        for faults in [0.0, 0.01, 0.2] {
            let wrong = (0..100).filter(|seed| found(*seed, (faults, faults), 1.0).is_some()).count();
            assert!(wrong <= 1, "{wrong} of 100 with {faults}");
        }
        // So is one that is worse by less than what is allowed.
        let wrong = (0..100).filter(|seed| found(*seed, (0.1, 0.105), 1.1).is_some()).count();
        assert!(wrong <= 2, "{wrong} of 100");
    }

    #[test]
    fn one_that_fails_more_often_is_found() {
        for seed in 0..100 {
            let (calls, regression) = found(seed, (0.01, 1.0), 1.0).unwrap();
            assert_eq!((calls, regression), (20, Regression::Faults), "all calls fail");
            let (calls, regression) = found(seed, (0.01, 0.1), 1.0).unwrap();
            assert!(calls < 800 && regression == Regression::Faults, "{calls}");
        }
    }

    #[test]
    fn one_that_takes_more_fuel_is_found() {
        for seed in 0..100 {
            let (calls, regression) = found(seed, (0.01, 0.01), 2.0).unwrap();
            assert!(calls < 200 && regression == Regression::Fuel, "{calls}");
        }
        let same = |fuel: f64| {
            let mut tally = Tally::default();
            (0..20).for_each(|_| count(&mut tally, false, fuel));
            tally
        };
        // Where calls do not differ from one another there is no luck.
        assert_eq!(verdict(&RULES, &same(1000.0), &same(1201.0)), Some(Regression::Fuel));
        assert_eq!(verdict(&RULES, &same(1000.0), &same(1199.0)), None);
        let any = Rules { max_fuel_percent: None, ..RULES };
        assert_eq!(verdict(&any, &same(1000.0), &same(5000.0)), None);
    }

    #[test]
    fn nothing_is_concluded_from_too_few_calls() {
        let (mut active, mut canary) = (Tally::default(), Tally::default());
        (0..1000).for_each(|_| count(&mut active, false, 1.0));
        (0..19).for_each(|_| count(&mut canary, true, 1.0));
        assert_eq!(verdict(&RULES, &active, &canary), None);
        assert_eq!(verdict(&RULES, &canary, &active), None);
        count(&mut canary, true, 1.0);
        assert_eq!(verdict(&RULES, &active, &canary), Some(Regression::Faults));
    }
}
