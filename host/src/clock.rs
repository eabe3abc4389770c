//! The time of day, and waiting for it.

use std::os::fd::OwnedFd;
use std::time::Duration;

use async_trait::async_trait;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The longest wait where the kernel's timers cannot be used, which do not notice that the clock is set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The time of day. A port so that tests can move it.
#[async_trait]
pub trait Clock: Send + Sync {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    fn now_ms(&self) -> u64;

    /// Wait until it is that time, in milliseconds since 1970-01-01T00:00:00Z. May return early, when the clock was set:
    /// whoever waits looks at the time again.
    async fn until(&self, at_ms: u64) {
        let left = Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    /// A timer of the kernel on the time of day: it wakes nobody before, and it knows when the clock is set or the machine
    /// wakes up, which Tokio's timers, on the monotonic clock, do not.
    async fn until(&self, at_ms: u64) {
        let woken = async { registered(timer(at_ms)?)?.readable().await.map(drop) };
        if let Err(error) = woken.await {
            tracing::warn!(%error, "cannot use a timer of the kernel");
            let left = Duration::from_millis(at_ms.saturating_sub(self.now_ms()));
            tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
        }
    }
}

/// A file descriptor that becomes readable at a time, or when the clock is set (`timerfd_create(2)`).
fn timer(at_ms: u64) -> std::io::Result<OwnedFd> {
    let fd = timerfd_create(TimerfdClockId::Realtime, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
    // A time of zero would disarm the timer.
    let at_ms = at_ms.max(1);
    let at = Timespec {
        tv_sec: i64::try_from(at_ms / 1000).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(at_ms % 1000).unwrap_or(0) * 1_000_000,
    };
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
    timerfd_settime(&fd, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET, &once)?;
    Ok(fd)
}

/// Let Tokio watch a file descriptor.
#[allow(unsafe_code, reason = "the runtime cannot check that a file descriptor stays the same")]
fn registered(fd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd is open, and the same, from when it is made until it is dropped, and what owns it here does not
    // replace it.
    let registered = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    registered.map_err(std::io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_ends_at_the_time_and_not_before() {
        let clock = SystemClock;
        let at = clock.now_ms() + 60;
        clock.until(at).await;
        assert!(clock.now_ms() >= at);
        clock.until(at).await;
        clock.until(0).await;
        let far = tokio::time::timeout(Duration::from_millis(30), clock.until(u64::MAX)).await;
        assert!(far.is_err());
    }
}
