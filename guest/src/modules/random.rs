//! The Rhai module `random`: unpredictable numbers, bytes and choices, all from the host's secure generator.
//!
//! Nothing is kept from one function to the next: what is kept when the image is captured would be the same in every
//! call.

use rhai::{Array, Blob, Dynamic, FLOAT, INT, Module};

use super::add;

/// Length of a random blob, in bytes.
const MAX_BLOB: INT = 64 << 10;

pub(super) fn fill(module: &mut Module) {
    add!(volatile module, "int", |min: INT, max: INT| int(min, max, &mut next));
    // 53 bits are all that a float between 0 and 1 can hold evenly.
    add!(volatile module, "float", | | Ok((next() >> 11) as FLOAT / (1_u64 << 53) as FLOAT));
    add!(volatile module, "bool", | | Ok(next() & 1 == 1));
    add!(volatile module, "blob", |length: INT| blob(length).map(Dynamic::from_blob));
    add!(volatile module, "choose", |array: &mut Array| choose(array));
    add!(volatile module, "shuffle", |array: Array| Ok::<_, String>(shuffle(array)));
}

fn int(min: INT, max: INT, next: &mut impl FnMut() -> u64) -> Result<INT, String> {
    if min > max {
        return Err(format!("the smallest number, {min}, must not be greater than the largest, {max}"));
    }
    // How many numbers there are, less one: all of them would not fit.
    let span = max.wrapping_sub(min) as u64;
    let offset = match span.checked_add(1) {
        Some(count) => below(count, next),
        None => next(),
    };
    Ok(min.wrapping_add(offset as INT))
}

/// A number less than `count`, which is not 0, each as likely as the others.
fn below(count: u64, next: &mut impl FnMut() -> u64) -> u64 {
    // The numbers past the last multiple of `count` would make small remainders likelier.
    let excess = (u64::MAX % count + 1) % count;
    loop {
        let number = next();
        if number <= u64::MAX - excess {
            return number % count;
        }
    }
}

fn blob(length: INT) -> Result<Blob, String> {
    match usize::try_from(length) {
        Ok(bytes) if length <= MAX_BLOB => Ok(source::bytes(bytes)),
        _ => Err(format!("the length must be 0 to {MAX_BLOB} bytes, not {length}")),
    }
}

fn choose(array: &Array) -> Result<Dynamic, String> {
    if array.is_empty() {
        return Err("there is nothing to choose from: the array is empty".to_owned());
    }
    Ok(array[below(array.len() as u64, &mut next) as usize].flatten_clone())
}

/// Fisher and Yates, with numbers fetched many at a time.
fn shuffle(mut array: Array) -> Array {
    let mut numbers = Vec::new().into_iter();
    for last in (1..array.len()).rev() {
        let mut next = || {
            if numbers.len() == 0 {
                numbers = numbers_of(&source::bytes(8 * last.min(1024))).into_iter();
            }
            numbers.next().unwrap_or_default()
        };
        let other = below(last as u64 + 1, &mut next);
        array.swap(last, other as usize);
    }
    array
}

fn numbers_of(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|chunk| u64::from_le_bytes(*chunk)).collect()
}

fn next() -> u64 {
    source::number()
}

/// Where chance comes from.
#[cfg(not(test))]
pub(super) mod source {
    use picloud_sdk_wit::wasi::random::random::{get_random_bytes, get_random_u64};

    pub(crate) fn number() -> u64 {
        get_random_u64()
    }

    pub(crate) fn bytes(length: usize) -> Vec<u8> {
        get_random_bytes(length as u64)
    }
}

/// The host is not there in tests. Every test draws the same numbers, those of SplitMix64.
#[cfg(test)]
pub(super) mod source {
    use std::cell::Cell;

    thread_local! {
        static STATE: Cell<u64> = const { Cell::new(0) };
    }

    pub(crate) fn number() -> u64 {
        let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        STATE.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn bytes(length: usize) -> Vec<u8> {
        std::iter::repeat_with(number).flat_map(u64::to_le_bytes).take(length).collect()
    }
}

#[cfg(test)]
mod tests {
    use rhai::INT;

    use super::{below, int};
    use crate::modules::testing::{check, message};

    #[test]
    fn both_ends_are_included() {
        check(
            "let s = []; for i in 0..200 { let n = random::int(-1, 1); if n !in s { s.push(n) } } s.sort(); s == [-1, 0, 1]",
        );
        check("random::int(5, 5) == 5");
    }

    #[test]
    fn every_range_is_possible() {
        assert_eq!(int(INT::MIN, INT::MAX, &mut || 0), Ok(0).map(|_: INT| INT::MIN));
        assert_eq!(int(INT::MIN, INT::MAX, &mut || u64::MAX), Ok(INT::MAX));
        assert_eq!(int(INT::MIN, INT::MAX - 1, &mut || u64::MAX - 1), Ok(INT::MAX - 1));
        assert!(message("random::int(2, 1)").contains("must not be greater"));
    }

    #[test]
    fn numbers_that_would_favour_some_are_drawn_again() {
        let mut drawn = [u64::MAX, u64::MAX - 1, 7].into_iter();
        assert_eq!(below((1 << 63) + 1, &mut || drawn.next().unwrap()), 7);
        // 2^64 is a multiple of 8: nothing to draw again.
        assert_eq!(below(8, &mut || u64::MAX), 7);
        // 2^64 = 3 * x + 1: exactly one number is too many.
        let mut drawn = [u64::MAX, u64::MAX - 1].into_iter();
        assert_eq!(below(3, &mut || drawn.next().unwrap()), 2);
    }

    #[test]
    fn floats_and_booleans() {
        check("for i in 0..1000 { let f = random::float(); if f < 0.0 || f >= 1.0 { return false } } true");
        check("let t = 0; for i in 0..1000 { if random::bool() { t += 1 } } t > 350 && t < 650");
    }

    #[test]
    fn blobs_have_their_length() {
        check(
            "random::blob(0).len == 0 && random::blob(65536).len == 65536 && random::blob(16) != random::blob(16)",
        );
        for length in ["-1", "65537", "9223372036854775807"] {
            assert!(message(&format!("random::blob({length})")).starts_with("the length must be 0 to 65536"));
        }
    }

    #[test]
    fn one_is_chosen() {
        check("let a = [1, 2, 3]; let c = random::choose(a); c in a && a == [1, 2, 3]");
        assert!(message("random::choose([])").contains("the array is empty"));
    }

    #[test]
    fn shuffling_keeps_the_elements_and_leaves_the_array() {
        check(
            "let a = []; for i in 0..3000 { a.push(i) } let b = random::shuffle(a); let c = b; b.sort(); b == a && c != a",
        );
        check("random::shuffle([]) == [] && random::shuffle([1]) == [1]");
    }
}
