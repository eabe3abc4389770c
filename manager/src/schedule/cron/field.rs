//! One field of an expression: a list of values, ranges and steps becomes a set.

use super::CronError;

/// A set of numbers under 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Set(u64);

impl Set {
    /// Whether a number is in it.
    pub(super) fn has(self, number: i8) -> bool {
        u32::try_from(number).is_ok_and(|number| self.0.checked_shr(number).unwrap_or(0) & 1 == 1)
    }

    /// The first number that is not under `from`.
    pub(super) fn first(self, from: i8) -> Option<i8> {
        let from = u32::try_from(from).ok()?;
        let left = self.0 & u64::MAX.checked_shl(from)?;
        if left == 0 { None } else { i8::try_from(left.trailing_zeros()).ok() }
    }

    pub(super) fn add(&mut self, number: u8) {
        self.0 |= 1u64.checked_shl(number.into()).unwrap_or(0);
    }

    pub(super) fn remove(&mut self, number: u8) {
        self.0 &= !1u64.checked_shl(number.into()).unwrap_or(0);
    }
}

/// What can be in a field.
pub(super) struct Field {
    name: &'static str,
    first: u8,
    last: u8,
    /// Names of the values, from `first` on.
    names: &'static [&'static str],
    /// What to tell somebody who has written something else.
    values: &'static str,
}

pub(super) const SECOND: Field =
    Field { name: "second", first: 0, last: 59, names: &[], values: "values are 0 to 59" };

pub(super) const MINUTE: Field = Field { name: "minute", ..SECOND };

pub(super) const HOUR: Field =
    Field { name: "hour", first: 0, last: 23, names: &[], values: "values are 0 to 23" };

pub(super) const DAY_OF_MONTH: Field = Field {
    name: "day of month",
    first: 1,
    last: 31,
    names: &[],
    values: "values are 1 to 31, `L` for the last day, `LW` for the last that is Monday to Friday, and `15W` for the \
             nearest to the 15th",
};

pub(super) const MONTH: Field = Field {
    name: "month",
    first: 1,
    last: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    values: "values are 1 to 12, or JAN to DEC",
};

/// Sunday is 0, and 7 as well.
pub(super) const DAY_OF_WEEK: Field = Field {
    name: "day of week",
    first: 0,
    last: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
    values: "values are 0 to 7 or SUN to SAT, 0 and 7 for Sunday; `5#3` is the third Friday of a month, `5L` the last",
};

impl Field {
    /// The values of a list. `special` is asked about each item first, and says whether it has understood it.
    pub(super) fn parse(
        &self,
        text: &str,
        mut special: impl FnMut(&str) -> Result<bool, CronError>,
    ) -> Result<Set, CronError> {
        let mut set = Set::default();
        for item in text.split(',') {
            if !special(item)? {
                self.add(item, &mut set)?;
            }
        }
        Ok(set)
    }

    /// The values of a list in which nothing is special.
    pub(super) fn plain(&self, text: &str) -> Result<Set, CronError> {
        self.parse(text, |_| Ok(false))
    }

    fn add(&self, item: &str, set: &mut Set) -> Result<(), CronError> {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (self.first, self.last),
            Some((first, last)) => self.range(item, first, last)?,
            None if step.is_some() => {
                return Err(self.wrong(item, "a step needs a `*` or a range before it, as in `*/5`"));
            }
            None => {
                let value = self.number(item, range)?;
                (value, value)
            }
        };
        let step = match step.map(digits) {
            None => 1,
            Some(Some(step)) if (1..=self.last).contains(&step) => step,
            Some(_) => return Err(self.wrong(item, &format!("a step is 1 to {}", self.last))),
        };
        (first..=last).step_by(step.into()).for_each(|value| set.add(value));
        Ok(())
    }

    fn range(&self, item: &str, first: &str, last: &str) -> Result<(u8, u8), CronError> {
        let (first, mut last) = (self.number(item, first)?, self.number(item, last)?);
        // A week that ends on Sunday.
        if self.last == DAY_OF_WEEK.last && last == 0 && first > 0 {
            last = DAY_OF_WEEK.last;
        }
        if first > last {
            return Err(self.wrong(item, "the range ends before it begins"));
        }
        Ok((first, last))
    }

    /// One value, by its number or its name.
    pub(super) fn number(&self, item: &str, text: &str) -> Result<u8, CronError> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let named = named.and_then(|at| u8::try_from(at).ok()).map(|at| at + self.first);
        named
            .or_else(|| digits(text))
            .filter(|value| (self.first..=self.last).contains(value))
            .ok_or_else(|| self.wrong(item, self.values))
    }

    /// The refusal of an item.
    pub(super) fn wrong(&self, item: &str, problem: &str) -> CronError {
        CronError::Field { field: self.name, item: item.to_owned(), problem: problem.to_owned() }
    }
}

/// A number of nothing but digits: `parse` alone would take a sign.
fn digits(text: &str) -> Option<u8> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}
