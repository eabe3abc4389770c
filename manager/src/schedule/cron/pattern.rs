//! Which local times match an expression.

use jiff::civil::{DateTime, Time};

use super::CronError;
use super::days::Days;
use super::field::{HOUR, MINUTE, MONTH, SECOND, Set};

/// How far the search for a date goes, in years. The longest wait is 40 of them, for a 29 February on a certain day of
/// the week, across a year such as 2100 that is no leap year.
const HORIZON_YEARS: i16 = 48;

/// Which local times match.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    seconds: Set,
    minutes: Set,
    hours: Set,
    months: Set,
    days: Days,
    /// Whether it is about times of day, and not about what happens every so often: none of second, minute and hour
    /// begins with a star. So crontab tells them apart when clocks are changed.
    pub(super) at_fixed_times: bool,
}

impl Pattern {
    /// Read 5 fields, 6, or a macro.
    pub(super) fn parse(text: &str) -> Result<Self, CronError> {
        let text = text.trim();
        let fields: Vec<&str> =
            if text.starts_with('@') { expand(text)? } else { text }.split_whitespace().collect();
        let [second, minute, hour, day_of_month, month, day_of_week] = match *fields {
            [minute, hour, day_of_month, month, day_of_week] => {
                ["0", minute, hour, day_of_month, month, day_of_week]
            }
            [second, minute, hour, day_of_month, month, day_of_week] => {
                [second, minute, hour, day_of_month, month, day_of_week]
            }
            _ => return Err(CronError::Fields(fields.len())),
        };
        Ok(Self {
            seconds: SECOND.plain(second)?,
            minutes: MINUTE.plain(minute)?,
            hours: HOUR.plain(hour)?,
            months: MONTH.plain(month)?,
            days: Days::parse(day_of_month, day_of_week)?,
            at_fixed_times: ![second, minute, hour].iter().any(|field| field.starts_with('*')),
        })
    }

    /// The first local time that matches and is not before `from`, which is in whole seconds. None when there is none
    /// within the horizon, which means that there is none at all, or within the calendar.
    pub(super) fn next(&self, from: DateTime) -> Option<DateTime> {
        let (mut date, mut time) = (from.date(), from.time());
        let horizon = date.year().saturating_add(HORIZON_YEARS);
        while date.year() <= horizon {
            if !self.months.has(date.month()) {
                date = date.last_of_month().tomorrow().ok()?;
                time = Time::midnight();
                continue;
            }
            if self.days.match_date(date)
                && let Some(time) = self.next_time(time)
            {
                return Some(date.to_datetime(time));
            }
            date = date.tomorrow().ok()?;
            time = Time::midnight();
        }
        None
    }

    /// The first time of a day that matches and is not before `from`.
    fn next_time(&self, from: Time) -> Option<Time> {
        let (hour, minute) = (from.hour(), from.minute());
        let in_minute = || Some((hour, minute, self.seconds.first(from.second())?));
        let in_hour = || Some((hour, self.minutes.first(minute + 1)?, self.seconds.first(0)?));
        let in_day = || Some((self.hours.first(hour + 1)?, self.minutes.first(0)?, self.seconds.first(0)?));
        let (hour, minute, second) = None
            .or_else(|| (self.hours.has(hour) && self.minutes.has(minute)).then(in_minute).flatten())
            .or_else(|| self.hours.has(hour).then(in_hour).flatten())
            .or_else(in_day)?;
        Time::new(hour, minute, second, 0).ok()
    }
}

/// The fields that a macro stands for.
fn expand(name: &str) -> Result<&'static str, CronError> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "@hourly" => "0 * * * *",
        "@daily" | "@midnight" => "0 0 * * *",
        "@weekly" => "0 0 * * 0",
        "@monthly" => "0 0 1 * *",
        "@yearly" | "@annually" => "0 0 1 1 *",
        _ => return Err(CronError::Macro(name.to_owned())),
    })
}
