//! Expressions, and above all days on which clocks are changed.

use jiff::Timestamp;

use super::{Cron, CronError};

fn ms(text: &str) -> u64 {
    text.parse::<Timestamp>().unwrap().as_millisecond().try_into().unwrap()
}

/// The next `count` times in UTC, later than `after`, to the minute.
fn due(cron: &str, timezone: &str, after: &str, count: usize) -> Vec<String> {
    let cron = Cron::parse(cron, timezone).unwrap();
    let times = cron.next(count, ms(after)).into_iter().map(|at| {
        let at = Timestamp::from_millisecond(at.try_into().unwrap()).unwrap();
        at.strftime("%m-%d %H:%M").to_string()
    });
    times.collect()
}

/// In UTC, to the second, from 2026 on.
fn first(cron: &str) -> String {
    let at = Cron::parse(cron, "UTC").unwrap().next_after(ms("2025-12-31T23:59:59Z")).unwrap();
    Timestamp::from_millisecond(at.try_into().unwrap()).unwrap().to_string()
}

#[track_caller]
fn refused(cron: &str, message: &str) {
    let error = Cron::parse(cron, "UTC").unwrap_err().to_string();
    assert!(error.contains(message), "{cron:?}: {error}");
}

#[test]
fn expressions_mean_what_they_say() {
    // 2026 begins on a Thursday.
    for (cron, expected) in [
        ("* * * * *", "2026-01-01T00:00:00Z"),
        ("*/15 9-17 * * *", "2026-01-01T09:00:00Z"),
        ("10 0 7 * * *", "2026-01-01T07:00:10Z"),
        ("50-59/5 * * * * *", "2026-01-01T00:00:50Z"),
        ("0 7 * * 1-5", "2026-01-01T07:00:00Z"),
        ("0 7 * * sat,Sun", "2026-01-03T07:00:00Z"),
        ("0 7 * * 7", "2026-01-04T07:00:00Z"),
        ("0 7 * * SAT-SUN", "2026-01-03T07:00:00Z"),
        ("0 7 * * 0-0", "2026-01-04T07:00:00Z"),
        ("0 7 3 FEB-apr ?", "2026-02-03T07:00:00Z"),
        ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
        ("0 0 31 4-6 *", "2026-05-31T00:00:00Z"),
        ("0 0 L 2 *", "2026-02-28T00:00:00Z"),
        // The last of January is a Saturday, the last of May a Sunday.
        ("0 0 LW 1 *", "2026-01-30T00:00:00Z"),
        ("0 0 lw 5 *", "2026-05-29T00:00:00Z"),
        ("0 0 31W 1 *", "2026-01-30T00:00:00Z"),
        ("0 0 31w 5 *", "2026-05-29T00:00:00Z"),
        // 1 August is a Saturday, 1 February a Sunday, 15 January a Thursday.
        ("0 0 1W 8 *", "2026-08-03T00:00:00Z"),
        ("0 0 1W 2 *", "2026-02-02T00:00:00Z"),
        ("0 0 15W 1 *", "2026-01-15T00:00:00Z"),
        ("0 0 * * 5#3", "2026-01-16T00:00:00Z"),
        ("0 0 * * FRI#5", "2026-01-30T00:00:00Z"),
        ("0 0 * * 7#1", "2026-01-04T00:00:00Z"),
        ("0 0 * * 5l", "2026-01-30T00:00:00Z"),
        ("@hourly", "2026-01-01T00:00:00Z"),
        ("@Weekly", "2026-01-04T00:00:00Z"),
        (" @monthly ", "2026-01-01T00:00:00Z"),
    ] {
        assert_eq!(first(cron), expected, "{cron}");
    }
    let new_year = ms("2026-01-01T00:00:00Z");
    for (cron, expected) in [
        ("@hourly", "2026-01-01T01:00:00Z"),
        ("@daily", "2026-01-02T00:00:00Z"),
        ("@midnight", "2026-01-02T00:00:00Z"),
        ("@monthly", "2026-02-01T00:00:00Z"),
        ("@yearly", "2027-01-01T00:00:00Z"),
        ("@annually", "2027-01-01T00:00:00Z"),
    ] {
        assert_eq!(Cron::parse(cron, "UTC").unwrap().next_after(new_year), Some(ms(expected)), "{cron}");
    }
}

#[test]
fn a_day_matches_one_of_both_fields_unless_one_begins_with_a_star() {
    let after = "2026-01-01T00:00:00Z";
    assert_eq!(due("0 0 13 * 5", "UTC", after, 3), ["01-02 00:00", "01-09 00:00", "01-13 00:00"]);
    assert_eq!(due("0 0 */12 * 5", "UTC", after, 3), ["02-13 00:00", "03-13 00:00", "05-01 00:00"]);
}

#[test]
fn a_time_that_is_left_out_is_due_once_at_the_end_of_the_gap() {
    // 02:00 becomes 03:00 at 01:00 UTC.
    let berlin = |cron| due(cron, "Europe/Berlin", "2026-03-28T12:00:00Z", 2);
    assert_eq!(berlin("30 2 * * *"), ["03-29 01:00", "03-30 00:30"]);
    assert_eq!(berlin("0,30 2 * * *"), ["03-29 01:00", "03-30 00:00"]);
    assert_eq!(berlin("0,30 2,3 * * *"), ["03-29 01:00", "03-29 01:30"]);
    assert_eq!(berlin("0 2 29 3 *"), ["03-29 01:00", "03-29 00:00"], "the next one is in another year");
    // 02:00 becomes 03:00 at 07:00 UTC.
    let new_york = due("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", 2);
    assert_eq!(new_york, ["03-08 07:00", "03-09 06:30"]);
    // 02:00 becomes 02:30 at 15:30 UTC.
    let lord_howe = |cron| due(cron, "Australia/Lord_Howe", "2026-10-03T12:00:00Z", 2);
    assert_eq!(lord_howe("15 2 * * *"), ["10-03 15:30", "10-04 15:15"]);
    assert_eq!(lord_howe("45 2 * * *"), ["10-03 15:45", "10-04 15:45"]);
    // A whole day was left out, 30 December.
    let apia = due("0 12 * * *", "Pacific/Apia", "2011-12-29T20:00:00Z", 3);
    assert_eq!(apia, ["12-29 22:00", "12-30 10:00", "12-30 22:00"]);
}

#[test]
fn a_time_that_comes_twice_is_due_the_first_time() {
    // 03:00 becomes 02:00 at 01:00 UTC.
    let berlin = |cron, after| due(cron, "Europe/Berlin", after, 2);
    assert_eq!(berlin("30 2 * * *", "2026-10-24T12:00:00Z"), ["10-25 00:30", "10-26 01:30"]);
    assert_eq!(berlin("30 2,14 * * *", "2026-10-24T13:00:00Z"), ["10-25 00:30", "10-25 13:30"]);
    assert_eq!(berlin("0 3 * * *", "2026-10-25T00:00:00Z"), ["10-25 02:00", "10-26 02:00"]);
    for between in ["2026-10-25T00:45:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:15:00Z"] {
        assert_eq!(berlin("30 2 * * *", between), ["10-26 01:30", "10-27 01:30"], "{between}");
    }
    // 02:00 becomes 01:00 at 06:00 UTC.
    let new_york = due("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2);
    assert_eq!(new_york, ["11-01 05:30", "11-02 06:30"]);
    // 02:00 becomes 01:30 at 15:00 UTC.
    let lord_howe = due("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00:00Z", 2);
    assert_eq!(lord_howe, ["04-04 14:45", "04-05 15:15"]);
}

#[test]
fn what_is_every_so_often_does_not_notice() {
    for (timezone, changes) in [
        ("Europe/Berlin", ["2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z"]),
        ("America/New_York", ["2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z"]),
        ("Australia/Lord_Howe", ["2026-10-03T15:30:00Z", "2026-04-04T15:00:00Z"]),
    ] {
        let cron = Cron::parse("*/15 * * * *", timezone).unwrap();
        for change in changes.map(ms) {
            let after = change - 4 * 3_600_000;
            let expected: Vec<u64> = (1..=32).map(|quarter| after + quarter * 900_000).collect();
            assert_eq!(cron.next(32, after), expected, "{timezone}");
            let inside = cron.next_after(change + 60_000).unwrap();
            assert_eq!(inside, change + 900_000, "{timezone}");
        }
    }
}

#[test]
fn the_time_of_a_zone_is_the_local_one() {
    let after = "2026-07-31T22:00:00Z";
    let days = ["08-03 05:00", "08-04 05:00", "08-05 05:00", "08-06 05:00", "08-07 05:00", "08-10 05:00"];
    assert_eq!(due("0 7 * * 1-5", "Europe/Berlin", after, 6), days);
    assert_eq!(due("0 0 1 * *", "Europe/Berlin", after, 2), ["08-31 22:00", "09-30 22:00"]);
    assert_eq!(due("0 12 * * *", "Asia/Kathmandu", after, 1), ["08-01 06:15"]);
    // Some machines have this one only in a package of its own.
    assert_eq!(due("0 12 * * *", "US/Eastern", after, 1), ["08-01 16:00"]);
}

#[test]
fn next_is_later_and_never_the_same() {
    let cron = Cron::parse("* * * * * *", "UTC").unwrap();
    assert_eq!(cron.next(2, 999), [1000, 2000]);
    assert_eq!(cron.next(2, 1000), [2000, 3000]);
    assert_eq!(cron.next_after(ms("9999-12-30T00:00:00Z")), Some(ms("9999-12-30T00:00:01Z")));
    assert_eq!(cron.next_after(u64::MAX), None);
    assert_eq!(Cron::parse("@yearly", "UTC").unwrap().next_after(ms("9999-06-01T00:00:00Z")), None);
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(Cron::parse("", "UTC").unwrap_err(), CronError::Fields(0));
    assert_eq!(Cron::parse(&"*".repeat(257), "UTC").unwrap_err(), CronError::TooLong);
    refused("* * * *", "this one has 4");
    refused("* * * * * * 2026", "this one has 7");
    refused("@reboot", "@annually");
    refused("60 * * * *", "the minute `60` is wrong: values are 0 to 59");
    refused("60 * * * * *", "the second `60`");
    refused("0 24 * * *", "the hour `24`");
    refused("0 0 0 * *", "the day of month `0`");
    refused("0 0 1 13 *", "the month `13`");
    refused("0 0 * * 8", "the day of week `8`");
    refused("MON * * * *", "the minute `MON`");
    refused("0 0 1 FOO *", "the month `FOO` is wrong: values are 1 to 12, or JAN to DEC");
    refused("+5 * * * *", "the minute `+5`");
    refused("5/15 * * * *", "a step needs a `*` or a range before it");
    refused("*/0 * * * *", "a step is 1 to 59");
    refused("*/60 * * * *", "a step is 1 to 59");
    refused("*/5/5 * * * *", "a step is");
    refused("30-10 * * * *", "the range ends before it begins");
    refused("1-2-3 * * * *", "the minute `1-2-3`");
    refused(", * * * *", "the minute ``");
    refused("1,,2 * * * *", "the minute ``");
    refused("L * * * *", "the minute `L`");
    refused("0 0 32W * *", "the day of month `32W`");
    refused("0 0 W * *", "the day of month `W`");
    refused("0 0 * * 5#6", "what comes after `#` is 1 to 5");
    refused("0 0 * * L", "the day of week `L`");
    refused("0 0 é * *", "the day of month `é`");
    let error = Cron::parse("* * * * *", "Europe/Atlantis").unwrap_err();
    assert_eq!(error, CronError::Timezone("Europe/Atlantis".into()));
    for timezone in ["", "../../etc/passwd", "/etc/localtime", "\0"] {
        assert!(Cron::parse("* * * * *", timezone).is_err(), "{timezone:?}");
    }
}

#[test]
fn what_never_comes_true_is_refused() {
    for cron in ["0 0 30 2 *", "0 0 31 4,6,9,11 *", "0 0 31W 6 *", "* * * 30-31 2 ?"] {
        assert_eq!(Cron::parse(cron, "UTC").unwrap_err(), CronError::Never, "{cron}");
    }
    // It is enough that one of both fields about days comes true.
    assert_eq!(first("0 0 30 2 1"), "2026-02-02T00:00:00Z");
    // The rarest: a leap day that is a Sunday, across a year that is no leap year.
    let leap = Cron::parse("0 0 29 2 */7", "UTC").unwrap();
    assert_eq!(leap.next_after(ms("2088-03-01T00:00:00Z")), Some(ms("2128-02-29T00:00:00Z")));
}

#[test]
fn a_hostile_expression_costs_little() {
    let all: Vec<String> = (0..60).map(|minute| minute.to_string()).collect();
    let begun = std::time::Instant::now();
    for cron in ["59 59 23 31W 4,6,9,11 ?", "*/7 * 29 2 */7", &format!("{} 2 29 2 */7", all.join(","))] {
        if let Ok(cron) = Cron::parse(cron, "Africa/Casablanca") {
            assert_eq!(cron.next(100, ms("2088-03-01T00:00:00Z")).len(), 100);
        }
    }
    // It takes about a millisecond. A search second by second would take minutes.
    assert!(begun.elapsed().as_secs() < 5, "{:?}", begun.elapsed());
}
