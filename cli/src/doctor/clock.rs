//! The time of day: whether it can be right, whether something keeps it right, and whether the kernel tells when it is set.

use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use super::Check;

/// No release is older, and no board lives as long.
const YEARS: std::ops::Range<i16> = 2025..2100;

/// Look at the clock.
pub(super) fn checks() -> Vec<Check> {
    let exists = |path: &str| Path::new(path).exists();
    vec![clock(Timestamp::now()), synchronised(exists), timer()]
}

fn clock(now: Timestamp) -> Check {
    let zoned = now.to_zoned(TimeZone::UTC);
    let found = zoned.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    if YEARS.contains(&zoned.year()) {
        return Check::ok("clock", found);
    }
    Check::fail(
        "clock",
        format!("{found} cannot be now"),
        "set it (`timedatectl set-ntp true`): schedules, expiry and certificates depend on it",
    )
}

/// The kernel's own flag needs `adjtimex`, which is not to be had without unsafe code, so this looks at what the usual
/// services leave.
fn synchronised(exists: impl Fn(&str) -> bool) -> Check {
    let name = "synchronised";
    let services = [
        ("/run/systemd/timesync/synchronized", "by systemd-timesyncd"),
        ("/run/chrony/chronyd.pid", "chronyd runs"),
        ("/run/chronyd.pid", "chronyd runs"),
        ("/run/ntpd.pid", "ntpd runs"),
        ("/var/run/openntpd.pid", "openntpd runs"),
    ];
    if let Some((_, found)) = services.iter().find(|(path, _)| exists(path)) {
        return Check::ok(name, *found);
    }
    let advice = "if nothing else sets the clock, turn a service on: `timedatectl set-ntp true`";
    if exists("/dev/rtc0") || exists("/dev/rtc") {
        return Check::warn(name, "no service that sets the clock was found", advice);
    }
    Check::warn(
        name,
        "no service that sets the clock was found, and no clock that runs without power",
        advice,
    )
}

/// Schedules wait on such a timer.
fn timer() -> Check {
    let name = "timerfd";
    let set = || {
        let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let at = Timespec { tv_sec: i64::MAX >> 8, tv_nsec: 0 };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
        timerfd_settime(&fd, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &once).map(drop)
    };
    match set() {
        Ok(()) => Check::ok(name, "tells when the clock is set"),
        Err(error) => Check::warn(
            name,
            format!("does not tell when the clock is set ({error}): schedules may be late then"),
            "the kernel is very old, or a container's seccomp profile forbids it",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn a_board_that_thinks_it_is_1970_is_told() {
        assert_eq!(clock(Timestamp::UNIX_EPOCH).state, State::Fail);
        assert_eq!(clock("2026-01-31T12:00:00Z".parse().unwrap()).state, State::Ok);
        assert_eq!(clock("2112-01-31T12:00:00Z".parse().unwrap()).state, State::Fail);
    }

    #[test]
    fn what_keeps_the_clock_right_is_found() {
        let with = |there: &'static str| synchronised(move |path| path == there);
        assert_eq!(with("/run/systemd/timesync/synchronized").state, State::Ok);
        assert_eq!(with("/run/chrony/chronyd.pid").found, "chronyd runs");
        assert!(!with("/dev/rtc0").found.contains("without power"));
        let check = with("");
        assert!(check.state == State::Warn && check.found.contains("without power"), "{check:?}");
    }

    #[test]
    fn this_kernel_has_the_timer_that_the_server_uses() {
        assert_eq!(timer().state, State::Ok);
    }
}
