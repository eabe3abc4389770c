//! When a schedule is due: a cron expression by the clock of a time zone.
//!
//! The syntax is that of crontab(5) with what Quartz has added: seconds, `L`, `W` and `#`. In reading order: [`Cron`]
//! and [`CronError`], `pattern` (which local times match), `field` (one field of the text), `days` (the two fields that
//! are about days), `zone` (how local times become moments, and what happens when clocks are changed).
//!
//! Written here because the crates do not do: one takes 8 seconds for `, * * * *`, and loses `30 2,14 * * *` on the day
//! when the clocks go forward; another has no seconds.

mod days;
mod field;
mod pattern;
#[cfg(test)]
mod tests;
mod zone;

use jiff::civil::date;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use pattern::Pattern;

/// The longest expression, in bytes.
const MAX_BYTES: usize = 256;

/// When a schedule is due.
#[derive(Debug, Clone)]
pub struct Cron {
    pattern: Pattern,
    timezone: TimeZone,
}

/// Why an expression or a time zone is refused: a sentence for whoever has written it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// It is longer than any that makes sense.
    #[error("a cron expression has at most {MAX_BYTES} bytes")]
    TooLong,
    /// It has more or fewer fields.
    #[error(
        "a cron expression has 5 fields (minute, hour, day of month, month, day of week), or 6 with the second before \
         them; this one has {0}"
    )]
    Fields(usize),
    /// Something else begins with `@`.
    #[error(
        "`{0}` is not known; there are @hourly, @daily, @midnight, @weekly, @monthly, @yearly and @annually"
    )]
    Macro(String),
    /// A part of a field is wrong.
    #[error("the {field} `{item}` is wrong: {problem}")]
    Field {
        /// Which field.
        field: &'static str,
        /// The part of it.
        item: String,
        /// What is allowed.
        problem: String,
    },
    /// There is no such date, as with 30 February.
    #[error("the cron expression never comes true: there is no such date")]
    Never,
    /// No such time zone.
    #[error(
        "there is no time zone `{0}`; a name of the IANA database is needed, such as Europe/Berlin or UTC"
    )]
    Timezone(String),
}

impl Cron {
    /// Read an expression: 5 fields, 6 with the second before them, or a macro such as `@daily`; and the name of a time
    /// zone in the IANA database.
    ///
    /// # Errors
    ///
    /// Either is wrong, or the expression never comes true.
    pub fn parse(text: &str, timezone: &str) -> Result<Self, CronError> {
        if text.len() > MAX_BYTES {
            return Err(CronError::TooLong);
        }
        let pattern = Pattern::parse(text)?;
        // Any day would do: what does not match within the horizon of the search never does.
        if pattern.next(date(2000, 1, 1).at(0, 0, 0, 0)).is_none() {
            return Err(CronError::Never);
        }
        Ok(Self { pattern, timezone: named(timezone)? })
    }

    /// When it is due next, later than `after_ms`: both in milliseconds since the Unix epoch. None when the calendar
    /// ends before, in the year 9999.
    #[must_use]
    pub fn next_after(&self, after_ms: u64) -> Option<u64> {
        zone::next_after(&self.pattern, &self.timezone, after_ms)
    }

    /// When it is due the next `count` times, later than `after_ms`: all in milliseconds since the Unix epoch.
    #[must_use]
    pub fn next(&self, count: usize, after_ms: u64) -> Vec<u64> {
        std::iter::successors(self.next_after(after_ms), |at| self.next_after(*at)).take(count).collect()
    }
}

/// The machine knows the newest rules. It may have no database at all, as small boards and containers do, or one
/// without the names of old; so there is one in the program as well.
fn named(timezone: &str) -> Result<TimeZone, CronError> {
    TimeZone::get(timezone)
        .or_else(|_| TimeZoneDatabase::bundled().get(timezone))
        .map_err(|_| CronError::Timezone(timezone.to_owned()))
}
