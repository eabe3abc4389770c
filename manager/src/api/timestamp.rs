//! Moments, as documents show them.

use jiff::Timestamp;

/// The latest moment, in milliseconds since the Unix epoch: 9999-12-30T22:00:00Z, the last full second of a
/// [`Timestamp`], whose year has four digits in every time zone, as RFC 3339 demands. Keys that are set over REST expire
/// then at the latest, and documents show it for whatever is stored as later.
pub(crate) const LATEST_MS: u64 = 253_402_207_200_000;

/// A moment as the database has it, as documents show it.
pub(crate) fn timestamp(ms: u64) -> Timestamp {
    let ms = i64::try_from(ms.min(LATEST_MS)).ok();
    ms.and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_stored_is_shown_as_a_time() {
        assert_eq!(timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(timestamp(LATEST_MS - 1).to_string(), "9999-12-30T21:59:59.999Z");
        for ms in [LATEST_MS, LATEST_MS + 1, i64::MAX.cast_unsigned(), u64::MAX] {
            let shown = timestamp(ms).to_string();
            assert_eq!(shown, "9999-12-30T22:00:00Z", "{ms}");
            assert_eq!(shown.parse::<Timestamp>().unwrap().as_second(), Timestamp::MAX.as_second());
        }
    }
}
