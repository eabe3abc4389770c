//! How often somebody may be wrong about who they are: a bucket of failures for each address, which leaks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::call::AppId;

/// Failures that an address has at once.
const BURST: u64 = 10;

/// Failures that all addresses together have at once with one user: more than an address, so that one alone does not keep the
/// user out.
const BURST_OF_USER: u64 = 100;

/// Sessions that a user may begin at once: as many as there can be at a time.
const BURST_OF_SESSIONS: u64 = 20;

/// One failure is forgiven in so many milliseconds.
const FORGIVEN_MS: u64 = 6000;

/// Addresses that are remembered. Beyond it all are forgotten: who has so many cannot be kept out like this anyway, and
/// memory must have a bound.
const ADDRESSES: usize = 10_000;

/// What somebody may be wrong about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Tokens of the server.
    Tokens,
    /// Passwords for routes and scripts of an app.
    Passwords(AppId),
    /// Passwords of users of the server.
    Logins,
    /// The same, of one user, by something that stands for its name. From wherever: it goes with [`ANYWHERE`].
    LoginsOf(u64),
    /// Not wrong, but as dear: sessions of one user that have begun. With [`ANYWHERE`], too.
    SessionsOf(u64),
}

impl Subject {
    fn burst(self) -> u64 {
        match self {
            Self::LoginsOf(_) => BURST_OF_USER,
            Self::SessionsOf(_) => BURST_OF_SESSIONS,
            Self::Tokens | Self::Passwords(_) | Self::Logins => BURST,
        }
    }
}

/// For what does not depend on the address.
pub const ANYWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// When all failures of an address will be forgiven, in milliseconds since the Unix epoch: the whole state of a bucket that
/// leaks (GCRA).
type Until = HashMap<(Subject, IpAddr), u64>;

/// Counts failures by subject and address.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Until>);

impl Attempts {
    /// Whether an address may try, where even a right guess after many wrong ones must not be told.
    ///
    /// # Errors
    ///
    /// There were too many failures: how many milliseconds to wait before the next attempt.
    pub fn check(&self, subject: Subject, address: IpAddr, now_ms: u64) -> Result<(), u64> {
        let until = self.lock();
        match until.get(&(subject, network(address))) {
            Some(until_ms) => next(*until_ms, now_ms, subject.burst()).map(drop),
            None => Ok(()),
        }
    }

    /// Count a failure of an address, or of [`Subject::SessionsOf`] a success.
    ///
    /// # Errors
    ///
    /// There were too many: how many milliseconds to wait before the next one.
    pub fn count(&self, subject: Subject, address: IpAddr, now_ms: u64) -> Result<(), u64> {
        let mut until = self.lock();
        if until.len() >= ADDRESSES {
            until.retain(|_, until_ms| *until_ms > now_ms);
            // Those of users are kept as long as there is room: who has so many addresses is who they are for.
            if until.len() >= ADDRESSES {
                until.retain(|(subject, _), _| matches!(subject, Subject::LoginsOf(_)));
            }
            if until.len() >= ADDRESSES {
                until.clear();
            }
        }
        let until_ms = until.entry((subject, network(address))).or_insert(now_ms);
        *until_ms = next(*until_ms, now_ms, subject.burst())?;
        Ok(())
    }

    /// Take back a failure that was counted before it was known to be none. Counting first is for what takes long to find
    /// out: many at the same time must not all pass before the first one has failed.
    pub fn forgive(&self, subject: Subject, address: IpAddr) {
        if let Some(until_ms) = self.lock().get_mut(&(subject, network(address))) {
            *until_ms = until_ms.saturating_sub(FORGIVEN_MS);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Until> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When everything will be forgiven after one more failure; or how long to wait before it.
fn next(until_ms: u64, now_ms: u64, burst: u64) -> Result<u64, u64> {
    let next_ms = until_ms.max(now_ms) + FORGIVEN_MS;
    let most_ms = now_ms + burst * FORGIVEN_MS;
    if next_ms > most_ms { Err(next_ms - most_ms) } else { Ok(next_ms) }
}

/// What counts as one address: who has one of IPv6 has the 2^64 around it.
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: Subject = Subject::Tokens;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_failures_are_free_and_then_one_in_six_seconds() {
        let attempts = Attempts::default();
        let mine = address("192.0.2.1");
        for _ in 0..10 {
            assert_eq!(attempts.count(TOKENS, mine, 1000), Ok(()));
        }
        assert_eq!(attempts.count(TOKENS, mine, 1000), Err(6000));
        assert_eq!(attempts.count(TOKENS, mine, 3000), Err(4000));
        assert_eq!(attempts.count(TOKENS, mine, 7000), Ok(()));
        assert!(attempts.count(TOKENS, mine, 7000).is_err());
        assert_eq!(attempts.count(TOKENS, address("192.0.2.2"), 7000), Ok(()), "others are not hurt");
        assert!(attempts.check(TOKENS, mine, 7000).is_err(), "a right guess must not be told either");
        assert_eq!(attempts.check(Subject::Passwords(AppId(1)), mine, 7000), Ok(()));
        assert_eq!(attempts.check(TOKENS, address("192.0.2.9"), 7000), Ok(()));
        // A clock that is set back makes nobody wait for longer than the bucket is deep.
        assert!(attempts.count(TOKENS, mine, 0).unwrap_err() <= 70_000);
    }

    #[test]
    fn who_has_many_addresses_does_not_make_what_was_tried_at_a_user_forgotten() {
        let (attempts, user) = (Attempts::default(), Subject::LoginsOf(1));
        for _ in 0..100 {
            attempts.count(user, ANYWHERE, 0).unwrap();
        }
        for number in 0..3 * ADDRESSES as u32 {
            let _ = attempts.count(TOKENS, Ipv4Addr::from_bits(number).into(), 0);
        }
        assert!(attempts.count(user, ANYWHERE, 0).is_err());
        assert!(attempts.lock().len() <= ADDRESSES);
    }

    #[test]
    fn what_was_counted_too_early_is_taken_back_and_one_user_has_more_room() {
        let attempts = Attempts::default();
        let mine = address("192.0.2.1");
        for _ in 0..1000 {
            attempts.count(Subject::Logins, mine, 0).unwrap();
            attempts.forgive(Subject::Logins, mine);
        }
        for _ in 0..10 {
            attempts.count(Subject::Logins, mine, 0).unwrap();
        }
        assert!(attempts.count(Subject::Logins, mine, 0).is_err());
        attempts.forgive(Subject::Logins, address("192.0.2.2"));
        let user = Subject::LoginsOf(1);
        for _ in 0..100 {
            attempts.count(user, ANYWHERE, 0).unwrap();
        }
        assert_eq!(attempts.count(user, ANYWHERE, 0), Err(6000));
        assert_eq!(attempts.count(Subject::LoginsOf(2), ANYWHERE, 0), Ok(()));
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_an_address_in_another_form_as_itself() {
        let attempts = Attempts::default();
        for last in 0..10 {
            attempts.count(TOKENS, address(&format!("2001:db8:1:2::{last}")), 0).unwrap();
        }
        assert!(attempts.count(TOKENS, address("2001:db8:1:2:ffff::1"), 0).is_err());
        assert_eq!(attempts.count(TOKENS, address("2001:db8:1:3::1"), 0), Ok(()));
        for _ in 0..10 {
            attempts.count(TOKENS, address("192.0.2.1"), 0).unwrap();
        }
        assert!(attempts.count(TOKENS, address("::ffff:192.0.2.1"), 0).is_err());
    }

    #[test]
    fn memory_has_a_bound() {
        let attempts = Attempts::default();
        for n in 0..30_000_u32 {
            let _ = attempts.count(TOKENS, IpAddr::V4(n.into()), u64::from(n));
        }
        assert!(attempts.0.lock().unwrap().len() <= ADDRESSES);
    }
}
