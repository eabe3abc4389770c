//! The Rhai module `time`: instants as milliseconds since 1970-01-01T00:00:00Z, their text and their parts, all in UTC.

use rhai::{Dynamic, INT, ImmutableString, Map, Module};
use time::format_description::{parse_strftime_borrowed, well_known::Rfc3339};
use time::{Date, Month, OffsetDateTime, Time};

use super::{add, excerpt, kind};

pub(super) fn fill(module: &mut Module) {
    add!(volatile module, "now", | | Ok(source::now_ms()));
    add!(volatile module, "now_iso", | | format(source::now_ms()));
    add!(module, "parse", |text: ImmutableString| parse(&text));
    add!(module, "format", |ms: INT| format(ms));
    add!(module, "format", |ms: INT, pattern: ImmutableString| format_with(ms, &pattern));
    add!(module, "parts", |ms: INT| parts(ms));
    add!(module, "from_parts", |parts: &mut Map| from_parts(parts));
    add!(module, "seconds", |n: INT| times(n, 1000));
    add!(module, "minutes", |n: INT| times(n, 60 * 1000));
    add!(module, "hours", |n: INT| times(n, 60 * 60 * 1000));
    add!(module, "days", |n: INT| times(n, 24 * 60 * 60 * 1000));
}

fn times(n: INT, unit_ms: INT) -> Result<INT, String> {
    n.checked_mul(unit_ms).ok_or_else(|| format!("{n} is more than can be counted in milliseconds"))
}

pub(crate) fn parse(text: &str) -> Result<INT, String> {
    OffsetDateTime::parse(text, &Rfc3339)
        .map(to_ms)
        .map_err(|_| format!("{} is not a time as in RFC 3339, such as 2026-01-31T12:00:00Z", excerpt(text)))
}

fn to_ms(time: OffsetDateTime) -> INT {
    // Ten thousand years are far from what 64 bits of milliseconds can hold.
    time.unix_timestamp() * 1000 + INT::from(time.millisecond())
}

/// The time of an instant in the years that RFC 3339 can write.
fn utc(ms: INT) -> Result<OffsetDateTime, String> {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .ok()
        .filter(|time| time.year() >= 0)
        .ok_or_else(|| format!("{ms} ms are outside of the years 0 to 9999"))
}

/// Always with milliseconds, so that texts sort like the instants.
fn format(ms: INT) -> Result<String, String> {
    let time = utc(ms)?;
    Ok(format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        time.year(),
        u8::from(time.month()),
        time.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.millisecond()
    ))
}

fn format_with(ms: INT, pattern: &str) -> Result<String, String> {
    let time = utc(ms)?;
    let items = parse_strftime_borrowed(pattern)
        .map_err(|error| format!("the pattern {} is not valid: {error}", excerpt(pattern)))?;
    time.format(&items).map_err(|error| format!("the pattern {} cannot be used: {error}", excerpt(pattern)))
}

fn parts(ms: INT) -> Result<Map, String> {
    let time = utc(ms)?;
    let parts = [
        ("year", INT::from(time.year())),
        ("month", INT::from(u8::from(time.month()))),
        ("day", INT::from(time.day())),
        ("hour", INT::from(time.hour())),
        ("minute", INT::from(time.minute())),
        ("second", INT::from(time.second())),
        ("millisecond", INT::from(time.millisecond())),
        ("weekday", INT::from(time.weekday().number_from_monday())),
    ];
    Ok(parts.into_iter().map(|(name, value)| (name.into(), Dynamic::from_int(value))).collect())
}

/// The inverse of [`parts`]. Only the year must be there; the weekday follows from the others and is not looked at.
fn from_parts(parts: &Map) -> Result<INT, String> {
    const NAMES: [&str; 8] = ["year", "month", "day", "hour", "minute", "second", "millisecond", "weekday"];
    if let Some(name) = parts.keys().find(|name| !NAMES.contains(&name.as_str())) {
        return Err(format!("there is no part {}, only {}", excerpt(name), NAMES.join(", ")));
    }
    if !parts.contains_key("year") {
        return Err("the year is missing".to_owned());
    }
    let part = |name: &str, least: INT, most: INT| match parts.get(name).map(|value| (value, value.as_int()))
    {
        None => Ok(least),
        Some((_, Ok(number))) if (least..=most).contains(&number) => Ok(number),
        Some((_, Ok(number))) => Err(format!("the {name} must be {least} to {most}, not {number}")),
        Some((value, Err(_))) => Err(format!("the {name} must be an integer, not {}", kind(value))),
    };
    let (year, month, day) = (part("year", 0, 9999)?, part("month", 1, 12)?, part("day", 1, 31)?);
    let seconds = (part("hour", 0, 23)? * 60 + part("minute", 0, 59)?) * 60 + part("second", 0, 59)?;
    let date = Month::try_from(month as u8)
        .and_then(|month| Date::from_calendar_date(year as i32, month, day as u8))
        .map_err(|_| format!("month {month} of the year {year} has no day {day}"))?;
    let midnight = OffsetDateTime::new_utc(date, Time::MIDNIGHT);
    Ok((midnight.unix_timestamp() + seconds) * 1000 + part("millisecond", 0, 999)?)
}

/// Where the time comes from.
#[cfg(not(test))]
pub(super) mod source {
    use rhai::INT;

    pub(crate) fn now_ms() -> INT {
        let now = picloud_sdk_wit::wasi::clocks::wall_clock::now();
        now.seconds as INT * 1000 + INT::from(now.nanoseconds / 1_000_000)
    }
}

/// The host is not there in tests; it is always the same time.
#[cfg(test)]
pub(super) mod source {
    use rhai::INT;

    pub(crate) fn now_ms() -> INT {
        1_769_855_400_500
    }
}

#[cfg(test)]
mod tests {
    use crate::modules::testing::{check, message};

    #[test]
    fn now_is_what_the_host_says() {
        check(r#"time::now() == 1769855400500 && time::now_iso() == "2026-01-31T10:30:00.500Z""#);
    }

    #[test]
    fn text_there_and_back() {
        check(r#"time::parse("1970-01-01T00:00:00Z") == 0 && time::format(0) == "1970-01-01T00:00:00.000Z""#);
        check(r#"time::parse("2026-01-31T12:30:00.5+02:00") == 1769855400500"#);
        check(r#"time::format(1769855400500) == "2026-01-31T10:30:00.500Z""#);
        check(
            r#"time::parse("1969-12-31T23:59:59.999Z") == -1 && time::format(-1) == "1969-12-31T23:59:59.999Z""#,
        );
        check(r#"time::format(time::parse("0000-01-01T00:00:00Z")) == "0000-01-01T00:00:00.000Z""#);
        check(r#"time::format(time::parse("9999-12-31T23:59:59.999Z")) == "9999-12-31T23:59:59.999Z""#);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "2026-01-31", "2026-02-30T00:00:00Z", "2026-01-31T12:00:00", "now", "2026-01-31T25:00:00Z"]
        {
            assert!(
                message(&format!(r#"time::parse("{text}")"#)).contains("is not a time as in RFC 3339"),
                "{text}"
            );
        }
        for ms in ["9223372036854775807", "-9223372036854775807", "253402300800000", "-62167219200001"] {
            assert!(
                message(&format!("time::format({ms})")).contains("outside of the years 0 to 9999"),
                "{ms}"
            );
            assert!(
                message(&format!("time::parts({ms})")).contains("outside of the years 0 to 9999"),
                "{ms}"
            );
        }
    }

    #[test]
    fn patterns() {
        check(r#"time::format(1769855400500, "%Y-%m-%d %H:%M:%S") == "2026-01-31 10:30:00""#);
        check(
            r#"time::format(1769855400500, "%A, %e %B %Y, %I %p, %j, %%") == "Saturday, 31 January 2026, 10 AM, 031, %""#,
        );
        check(r#"time::format(0, "") == """#);
        assert!(message(r#"time::format(0, "%Q")"#).starts_with(r#"the pattern "%Q" is not valid: "#));
        assert!(message(r#"time::format(0, "%")"#).contains("is not valid: "));
    }

    #[test]
    fn parts_there_and_back() {
        check(
            r#"
            let p = time::parts(1769855400500);
            p == #{year: 2026, month: 1, day: 31, hour: 10, minute: 30, second: 0, millisecond: 500, weekday: 6}
            && time::from_parts(p) == 1769855400500
            "#,
        );
        check(
            "time::from_parts(#{year: 1970}) == 0 && time::from_parts(#{year: 1969, month: 12, day: 31}) == -86400000",
        );
        check(
            "for t in [-62167219200000, -1, 0, 253402300799999] { if time::from_parts(time::parts(t)) != t { return false } } true",
        );
    }

    #[test]
    fn parts_that_do_not_exist_are_refused() {
        assert_eq!(
            message("time::from_parts(#{year: 2026, month: 2, day: 29})"),
            "month 2 of the year 2026 has no day 29"
        );
        assert_eq!(
            message("time::from_parts(#{year: 2026, month: 13})"),
            "the month must be 1 to 12, not 13"
        );
        assert_eq!(message("time::from_parts(#{year: 2026, hour: -1})"), "the hour must be 0 to 23, not -1");
        assert_eq!(message("time::from_parts(#{year: 10000})"), "the year must be 0 to 9999, not 10000");
        assert_eq!(message("time::from_parts(#{month: 1})"), "the year is missing");
        assert_eq!(
            message("time::from_parts(#{year: 1.5})"),
            "the year must be an integer, not a floating-point number"
        );
        assert!(
            message("time::from_parts(#{year: 2026, minutes: 5})")
                .starts_with("there is no part \"minutes\", only ")
        );
    }

    #[test]
    fn durations() {
        check(
            "time::seconds(2) == 2000 && time::minutes(-1) == -60000 && time::hours(1) == 3600000 && time::days(1) == 86400000",
        );
        assert!(message("time::days(9223372036854775807)").contains("more than can be counted"));
    }
}
