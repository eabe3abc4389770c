//! Counters since the start of the process, for `/metrics`. Bounded: what is over is counted as `other`.

use std::collections::HashMap;
use std::sync::Arc;

use picloud_host::call::Fault;
use picloud_host::ports::ExecutionRecord;

use crate::store::minute::duration_us;

/// Scripts that are told apart, over all apps.
const SCRIPTS: usize = 200;

/// Apps that are told apart.
pub(crate) const APPS: usize = 50;

/// Bounds of the steps of durations, in microseconds.
const DURATION_STEPS_US: [u64; 17] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Bounds of the steps of fuel.
const FUEL_STEPS: [u64; 13] = [
    10_000,
    30_000,
    100_000,
    300_000,
    1_000_000,
    3_000_000,
    10_000_000,
    30_000_000,
    100_000_000,
    300_000_000,
    1_000_000_000,
    3_000_000_000,
    10_000_000_000,
];

/// Where a script's calls are counted: found once, used for every call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    script: usize,
    app: usize,
}

/// Everything that was counted.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    scripts: Vec<ScriptTotals>,
    apps: Vec<AppTotals>,
    script_index: HashMap<(Arc<str>, Arc<str>), usize>,
    app_index: HashMap<Arc<str>, usize>,
}

/// Calls of one script.
#[derive(Debug, Clone)]
pub struct ScriptTotals {
    /// The app's name.
    pub app: Arc<str>,
    /// The script's name.
    pub script: Arc<str>,
    /// By trigger and fault. There are so few that looking through them is faster than hashing.
    pub calls: Vec<(&'static str, Option<Fault>, u64)>,
}

/// Costs of the calls of one app.
#[derive(Debug, Clone)]
pub struct AppTotals {
    /// The app's name.
    pub app: Arc<str>,
    /// Microseconds from accepting a call to its answer.
    pub duration_us: Steps<{ DURATION_STEPS_US.len() }>,
    /// Fuel of a call.
    pub fuel: Steps<{ FUEL_STEPS.len() }>,
}

/// A histogram with fixed steps.
#[derive(Debug, Clone)]
pub struct Steps<const N: usize> {
    bounds: &'static [u64; N],
    counts: [u64; N],
    /// Values over the last bound.
    over: u64,
    sum: u64,
}

impl<const N: usize> Steps<N> {
    fn new(bounds: &'static [u64; N]) -> Self {
        Self { bounds, counts: [0; N], over: 0, sum: 0 }
    }

    fn record(&mut self, value: u64) {
        let step = self.bounds.partition_point(|bound| *bound < value);
        *self.counts.get_mut(step).unwrap_or(&mut self.over) += 1;
        self.sum = self.sum.saturating_add(value);
    }

    /// The upper bound of each step (none for the last) with the number of values in it alone.
    pub fn iter(&self) -> impl Iterator<Item = (Option<u64>, u64)> {
        let bounded = self.bounds.iter().zip(self.counts).map(|(bound, count)| (Some(*bound), count));
        bounded.chain([(None, self.over)])
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

impl Totals {
    /// Where the calls of a record's script are counted.
    pub(super) fn place(&mut self, record: &ExecutionRecord) -> Place {
        let app = self.app_place(&record.script.app);
        let key = (Arc::clone(&self.apps[app].app), Arc::clone(&record.script.script));
        if let Some(&script) = self.script_index.get(&key) {
            return Place { script, app };
        }
        let key = if self.scripts.len() < SCRIPTS { key } else { (key.0, Arc::from("other")) };
        let next = self.scripts.len();
        let script = *self.script_index.entry(key).or_insert_with_key(|(app, script)| {
            self.scripts.push(ScriptTotals {
                app: Arc::clone(app),
                script: Arc::clone(script),
                calls: Vec::new(),
            });
            next
        });
        Place { script, app }
    }

    fn app_place(&mut self, name: &Arc<str>) -> usize {
        if let Some(&app) = self.app_index.get(name) {
            return app;
        }
        let name = if self.apps.len() < APPS { Arc::clone(name) } else { Arc::from("other") };
        let next = self.apps.len();
        *self.app_index.entry(name).or_insert_with_key(|name| {
            self.apps.push(AppTotals {
                app: Arc::clone(name),
                duration_us: Steps::new(&DURATION_STEPS_US),
                fuel: Steps::new(&FUEL_STEPS),
            });
            next
        })
    }

    /// Count a call.
    pub(super) fn record(&mut self, place: Place, record: &ExecutionRecord) {
        let fault = record.error.as_ref().and_then(|error| error.fault);
        let calls = &mut self.scripts[place.script].calls;
        match calls.iter_mut().find(|(trigger, of, _)| *of == fault && *trigger == record.trigger) {
            Some((_, _, count)) => *count += 1,
            None => calls.push((record.trigger, fault, 1)),
        }
        self.apps[place.app].duration_us.record(duration_us(record));
        self.apps[place.app].fuel.record(record.cost.fuel);
    }

    /// Calls by script.
    #[must_use]
    pub fn scripts(&self) -> &[ScriptTotals] {
        &self.scripts
    }

    /// Costs by app.
    #[must_use]
    pub fn apps(&self) -> &[AppTotals] {
        &self.apps
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::tests::{failed, named, succeeded};

    #[test]
    fn scripts_over_the_bound_count_as_other() {
        let mut totals = Totals::default();
        for number in 0..1000 {
            let record = named("default", &format!("script-{number}"));
            let place = totals.place(&record);
            totals.record(place, &record);
        }
        assert_eq!(totals.scripts().len(), SCRIPTS + 1);
        let other = totals.scripts().last().unwrap();
        assert_eq!((&*other.script, other.calls[0].2), ("other", 1000 - SCRIPTS as u64));
        for number in 0..1000 {
            totals.place(&named(&format!("app-{number}"), "script"));
        }
        assert_eq!(totals.apps().len(), APPS + 1);
        assert!(totals.scripts().len() <= SCRIPTS + 1 + APPS + 1);
    }

    #[test]
    fn every_value_is_in_one_step() {
        let mut totals = Totals::default();
        for mut record in [succeeded(), failed(), succeeded(), succeeded()] {
            record.cost.fuel = [0, 10_000, 10_001, u64::MAX][totals
                .apps()
                .first()
                .map_or(0, |app| app.fuel.iter().map(|(_, count)| count as usize).sum())];
            let place = totals.place(&record);
            totals.record(place, &record);
        }
        let counts: Vec<_> = totals.apps()[0].fuel.iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counts, [(Some(10_000), 2), (Some(30_000), 1), (None, 1)]);
        assert_eq!(totals.scripts()[0].calls.iter().map(|call| call.2).sum::<u64>(), 4);
    }
}
