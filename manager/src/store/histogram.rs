//! Distributions of what calls cost: gathered in a few bytes while calls run, kept as HdrHistograms.

use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2Serializer};

/// Values are kept to two significant digits: 128 steps in each power of two, so an error under 0.8 %.
const SIGNIFICANT_DIGITS: u8 = 2;
const STEP_BITS: u32 = 7;

/// Larger values count as this one. No cost comes near: it is 36 000 years in microseconds.
const LARGEST: u64 = 1 << 60;

/// Values of one minute, as they come in.
///
/// A histogram with all its steps takes tens of kilobytes, and there is one for each cost of each script version that
/// is called. But fuel and memory of a script take a handful of values, durations some dozens, so only the steps that
/// occur are here.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Lowest value of the step, and how often it occurred; in order.
    steps: Vec<(u64, u64)>,
    sum: u64,
    max: u64,
}

impl Samples {
    /// Count one value.
    pub fn record(&mut self, value: u64) {
        let value = value.min(LARGEST);
        self.sum = self.sum.saturating_add(value);
        self.max = self.max.max(value);
        let step = lowest_of_step(value);
        match self.steps.binary_search_by_key(&step, |(lowest, _)| *lowest) {
            Ok(at) => self.steps[at].1 += 1,
            Err(at) => self.steps.insert(at, (step, 1)),
        }
    }

    /// Count all values of `other`, too.
    pub fn merge(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        for &(step, count) in &other.steps {
            match self.steps.binary_search_by_key(&step, |(lowest, _)| *lowest) {
                Ok(at) => self.steps[at].1 += count,
                Err(at) => self.steps.insert(at, (step, count)),
            }
        }
    }
}

/// The lowest of the values that share a step with this one.
fn lowest_of_step(value: u64) -> u64 {
    let shift = (u64::BITS - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    value >> shift << shift
}

/// A distribution, as it is stored and merged over minutes.
#[derive(Debug, Clone, Default)]
pub struct Distribution {
    /// None until there is a value: an empty one takes memory, too.
    histogram: Option<Histogram<u64>>,
    sum: u64,
    max: u64,
}

/// A distribution in five numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Summary {
    /// Half of the values are not larger. Like the other percentiles rounded up by less than 0.8 %.
    pub p50: u64,
    /// 95 % of the values are not larger.
    pub p95: u64,
    /// 99 % of the values are not larger.
    pub p99: u64,
    /// The largest value, exactly.
    pub max: u64,
    /// The sum of all values, exactly.
    pub sum: u64,
}

impl Distribution {
    /// Read a stored distribution. A serialisation that cannot be read counts as empty: the sum and the maximum are
    /// still right.
    #[must_use]
    pub fn decode(serialised: &[u8], sum: u64, max: u64) -> Self {
        let histogram =
            Deserializer::new().deserialize::<u64, _>(&mut &*serialised).ok().map(|mut histogram| {
                histogram.auto(true);
                histogram
            });
        Self { histogram, sum, max }
    }

    /// The HdrHistogram V2 serialisation, empty when there is no value.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut serialised = Vec::new();
        if let Some(histogram) = &self.histogram
            && V2Serializer::new().serialize(histogram, &mut serialised).is_err()
        {
            // Only a count over i64::MAX gets here.
            serialised.clear();
        }
        serialised
    }

    /// Add the values that came in.
    pub fn add_samples(&mut self, samples: &Samples) {
        self.sum = self.sum.saturating_add(samples.sum);
        self.max = self.max.max(samples.max);
        if let Some(histogram) = self.histogram_mut() {
            // From the largest, so that the histogram grows once.
            for &(value, count) in samples.steps.iter().rev() {
                let _ = histogram.record_n(value, count);
            }
        }
    }

    /// Add the values of another distribution.
    pub fn add(&mut self, other: &Self) {
        self.sum = self.sum.saturating_add(other.sum);
        self.max = self.max.max(other.max);
        if let Some(theirs) = &other.histogram
            && let Some(ours) = self.histogram_mut()
        {
            let _ = ours.add(theirs);
        }
    }

    fn histogram_mut(&mut self) -> Option<&mut Histogram<u64>> {
        if self.histogram.is_none() {
            self.histogram = Histogram::new(SIGNIFICANT_DIGITS).ok();
        }
        self.histogram.as_mut()
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The largest value.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The percentiles. No percentile is above the largest value, so that a cost that never varies shows as it is.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let at =
            |quantile| self.histogram.as_ref().map_or(0, |h| h.value_at_quantile(quantile)).min(self.max);
        Summary { p50: at(0.5), p95: at(0.95), p99: at(0.99), max: self.max, sum: self.sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: impl IntoIterator<Item = u64>) -> Samples {
        let mut samples = Samples::default();
        values.into_iter().for_each(|value| samples.record(value));
        samples
    }

    fn distribution(values: impl IntoIterator<Item = u64>) -> Distribution {
        let mut distribution = Distribution::default();
        distribution.add_samples(&of(values));
        distribution
    }

    #[test]
    fn steps_are_those_of_the_histogram() {
        let mut histogram = Histogram::<u64>::new(SIGNIFICANT_DIGITS).unwrap();
        histogram.record(LARGEST).unwrap();
        for value in (0..600)
            .chain((8..60).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 77, 3 << (bit - 1)]))
        {
            assert_eq!(lowest_of_step(value), histogram.lowest_equivalent(value), "{value}");
        }
    }

    #[test]
    fn percentiles_are_within_a_hundredth() {
        let summary = distribution(1..=100_000).summary();
        for (got, exact) in [(summary.p50, 50_000), (summary.p95, 95_000), (summary.p99, 99_000)] {
            assert!(got >= exact && got <= exact + exact / 100, "{got} instead of {exact}");
        }
        assert_eq!((summary.max, summary.sum), (100_000, 5_000_050_000));
    }

    #[test]
    fn a_cost_that_never_varies_is_exact() {
        let summary = distribution([1_234_567; 3]).summary();
        assert_eq!((summary.p50, summary.p99, summary.max), (1_234_567, 1_234_567, 1_234_567));
    }

    #[test]
    fn storing_and_merging_loses_nothing() {
        let (low, high) = (distribution(0..500), distribution(500..1000));
        let mut merged = Distribution::decode(&low.encode(), low.sum(), low.max());
        merged.add(&Distribution::decode(&high.encode(), high.sum(), high.max()));
        assert_eq!(merged.summary(), distribution(0..1000).summary());

        let mut samples = of(0..500);
        samples.merge(&of(500..1000));
        assert_eq!(samples.steps, of(0..1000).steps);
    }

    #[test]
    fn damaged_and_extreme_values_do_no_harm() {
        let damaged = Distribution::decode(b"\xff\xff\xff\xff nonsense", 10, 7);
        assert_eq!(damaged.summary(), Summary { max: 7, sum: 10, ..Summary::default() });
        assert_eq!(distribution([u64::MAX, 0]).summary().max, LARGEST);
        assert_eq!(Distribution::default().encode(), b"");
        assert_eq!(Distribution::decode(b"", 0, 0).summary(), Summary::default());
    }
}
