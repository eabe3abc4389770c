//! The two fields that are about days, which mean more together than each alone.

use jiff::civil::{Date, Weekday};

use super::CronError;
use super::field::{DAY_OF_MONTH, DAY_OF_WEEK, Set};

/// Which days match.
#[derive(Debug, Clone, Default)]
pub(super) struct Days {
    of_month: Set,
    /// `L`: the last day of the month.
    last: bool,
    /// `LW`: the last day of the month that is Monday to Friday.
    last_working: bool,
    /// `15W`: the day from Monday to Friday that is nearest, in the same month.
    nearest: Set,
    /// From 0 for Sunday.
    of_week: Set,
    /// `5#3`: by how often that day of the week has come in the month, from 0.
    nth_of_week: [Set; 5],
    /// `5L`: the last of its kind in the month.
    last_of_week: Set,
    /// Whether a day must match both fields.
    both: bool,
}

impl Days {
    /// Read the two fields.
    pub(super) fn parse(of_month: &str, of_week: &str) -> Result<Self, CronError> {
        let star = |text: &str| text.starts_with(['*', '?']);
        // As cron has always done it, and as crontab(5) says: a day matches if one of the fields does, unless one of
        // them begins with a star.
        let mut days = Self { both: star(of_month) || star(of_week), ..Self::default() };
        days.parse_of_month(of_month)?;
        days.parse_of_week(of_week)?;
        Ok(days)
    }

    fn parse_of_month(&mut self, text: &str) -> Result<(), CronError> {
        self.of_month = DAY_OF_MONTH.parse(any(text), |item| {
            if item.eq_ignore_ascii_case("L") {
                self.last = true;
            } else if item.eq_ignore_ascii_case("LW") {
                self.last_working = true;
            } else if let Some(day) = item.strip_suffix(['W', 'w']) {
                self.nearest.add(DAY_OF_MONTH.number(item, day)?);
            } else {
                return Ok(false);
            }
            Ok(true)
        })?;
        Ok(())
    }

    fn parse_of_week(&mut self, text: &str) -> Result<(), CronError> {
        // Sunday is 0 as well as 7.
        let number = |item: &str, day: &str| DAY_OF_WEEK.number(item, day).map(|day| day % 7);
        self.of_week = DAY_OF_WEEK.parse(any(text), |item| {
            if let Some((day, nth)) = item.split_once('#') {
                let Some(nth) = ["1", "2", "3", "4", "5"].iter().position(|word| *word == nth) else {
                    return Err(DAY_OF_WEEK.wrong(item, "what comes after `#` is 1 to 5"));
                };
                self.nth_of_week[nth].add(number(item, day)?);
            } else if let Some(day) = item.strip_suffix(['L', 'l']) {
                self.last_of_week.add(number(item, day)?);
            } else {
                return Ok(false);
            }
            Ok(true)
        })?;
        if self.of_week.has(7) {
            self.of_week.add(0);
            self.of_week.remove(7);
        }
        Ok(())
    }

    /// Whether a day matches.
    pub(super) fn match_date(&self, date: Date) -> bool {
        let (of_month, of_week) = (self.match_of_month(date), self.match_of_week(date));
        if self.both { of_month && of_week } else { of_month || of_week }
    }

    fn match_of_month(&self, date: Date) -> bool {
        let (day, end) = (date.day(), date.days_in_month());
        let working = !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday);
        // No working day comes after this one if it is the end of the month, or a Friday with only a weekend behind it.
        let last_working = working && (day == end || date.weekday() == Weekday::Friday && day + 2 >= end);
        self.of_month.has(day)
            || self.last && day == end
            || self.last_working && last_working
            || working && self.is_nearest(date)
    }

    /// Whether a day from Monday to Friday stands for one that was asked for.
    fn is_nearest(&self, date: Date) -> bool {
        let (day, end) = (date.day(), date.days_in_month());
        self.nearest.has(day)
            || match date.weekday() {
                // For the Sunday before it; and for a Saturday that is the first, whose Friday is in another month.
                Weekday::Monday => self.nearest.has(day - 1) || day == 3 && self.nearest.has(1),
                // For the Saturday after it; and for a Sunday that is the last, whose Monday is in another month.
                Weekday::Friday => {
                    day < end && self.nearest.has(day + 1) || day + 2 == end && self.nearest.has(end)
                }
                _ => false,
            }
    }

    fn match_of_week(&self, date: Date) -> bool {
        let day = date.weekday().to_sunday_zero_offset();
        let nth = usize::try_from((date.day() - 1) / 7).unwrap_or(0);
        self.of_week.has(day)
            || self.nth_of_week[nth].has(day)
            || self.last_of_week.has(day) && date.day() + 7 > date.days_in_month()
    }
}

/// Quartz writes `?` for a field that is not to be looked at.
fn any(text: &str) -> &str {
    if text == "?" { "*" } else { text }
}
