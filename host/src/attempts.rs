//! How often somebody may be wrong about who they are: a bucket of failures for each address, which leaks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Failures that an address has at once.
const BURST: u64 = 10;

/// One failure is forgiven in so many milliseconds.
const FORGIVEN_MS: u64 = 6000;

/// Addresses that are remembered. Beyond it all are forgotten: who has so many cannot be kept out like this anyway, and
/// memory must have a bound.
const ADDRESSES: usize = 10_000;

/// Counts failures by address.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<HashMap<IpAddr, u64>>);

impl Attempts {
    /// Count a failure of an address.
    ///
    /// # Errors
    ///
    /// There were too many: how many milliseconds to wait before the next one.
    pub fn failed(&self, address: IpAddr, now_ms: u64) -> Result<(), u64> {
        let mut until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if until.len() >= ADDRESSES {
            until.retain(|_, until_ms| *until_ms > now_ms);
            if until.len() >= ADDRESSES {
                until.clear();
            }
        }
        // When all of its failures will be forgiven: the whole state of a bucket that leaks (GCRA).
        let until_ms = until.entry(network(address)).or_insert(now_ms);
        let next_ms = (*until_ms).max(now_ms) + FORGIVEN_MS;
        let most_ms = now_ms + BURST * FORGIVEN_MS;
        if next_ms > most_ms {
            return Err(next_ms - most_ms);
        }
        *until_ms = next_ms;
        Ok(())
    }
}

/// Who has one address of IPv6 has the 2^64 around it.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn ten_failures_are_free_and_then_one_in_six_seconds() {
        let attempts = Attempts::default();
        let mine = address("192.0.2.1");
        for _ in 0..10 {
            assert_eq!(attempts.failed(mine, 1000), Ok(()));
        }
        assert_eq!(attempts.failed(mine, 1000), Err(6000));
        assert_eq!(attempts.failed(mine, 3000), Err(4000));
        assert_eq!(attempts.failed(mine, 7000), Ok(()));
        assert!(attempts.failed(mine, 7000).is_err());
        assert_eq!(attempts.failed(address("192.0.2.2"), 7000), Ok(()), "others are not hurt");
        // A clock that is set back makes nobody wait for longer than the bucket is deep.
        assert!(attempts.failed(mine, 0).unwrap_err() <= 70_000);
    }

    #[test]
    fn a_network_of_ipv6_counts_as_one_and_an_address_in_another_form_as_itself() {
        let attempts = Attempts::default();
        for last in 0..10 {
            attempts.failed(address(&format!("2001:db8:1:2::{last}")), 0).unwrap();
        }
        assert!(attempts.failed(address("2001:db8:1:2:ffff::1"), 0).is_err());
        assert_eq!(attempts.failed(address("2001:db8:1:3::1"), 0), Ok(()));
        for _ in 0..10 {
            attempts.failed(address("192.0.2.1"), 0).unwrap();
        }
        assert!(attempts.failed(address("::ffff:192.0.2.1"), 0).is_err());
    }

    #[test]
    fn memory_has_a_bound() {
        let attempts = Attempts::default();
        for n in 0..30_000_u32 {
            let _ = attempts.failed(IpAddr::V4(n.into()), u64::from(n));
        }
        assert!(attempts.0.lock().unwrap().len() <= ADDRESSES);
    }
}
