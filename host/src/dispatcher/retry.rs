//! When an event that failed is tried again: exponential backoff with full jitter, so that those that failed together do
//! not come back together (AWS Architecture Blog, "Exponential Backoff And Jitter").

/// The wait before the second attempt, at most, where nothing else is configured: milliseconds.
pub(super) const BACKOFF_MS: u64 = 1000;

/// The longest wait between two attempts, in milliseconds.
const LONGEST_MS: u64 = 60 * 60 * 1000;

/// Milliseconds to wait after the attempt with this number, from 1. `random` is any number.
pub(super) fn backoff_ms(attempt: u32, first_ms: u64, random: u64) -> u64 {
    let doubled = 1u64.checked_shl(attempt.saturating_sub(1)).unwrap_or(u64::MAX);
    let most = first_ms.saturating_mul(doubled).clamp(1, LONGEST_MS);
    random % most + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_bound_and_are_spread() {
        assert_eq!(backoff_ms(1, 1000, 999), 1000);
        assert_eq!(backoff_ms(1, 1000, 1000), 1);
        assert_eq!(backoff_ms(4, 1000, 7999), 8000);
        for attempt in [20, 64, 100] {
            assert_eq!(backoff_ms(attempt, 1000, LONGEST_MS - 1), LONGEST_MS);
        }
        assert_eq!(backoff_ms(1, 0, 5), 1);
    }
}
