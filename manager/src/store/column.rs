//! Between Rust's numbers and the columns of the database.

/// For a `bigint` column. Values over its range become the largest one.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// From a `bigint` column that is never negative.
pub(crate) fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
