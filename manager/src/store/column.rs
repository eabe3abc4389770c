//! Between Rust's values and the columns of the database.

use uuid::Uuid;

/// For a `bigint` column. Values over its range become the largest one.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// From a `bigint` column that is never negative.
pub(crate) fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// From a column that holds an id.
pub(crate) fn to_uuid(bytes: &[u8]) -> sqlx::Result<Uuid> {
    Uuid::from_slice(bytes).map_err(damaged)
}

/// From a column that may hold an id.
pub(crate) fn to_optional_uuid(bytes: Option<&[u8]>) -> sqlx::Result<Option<Uuid>> {
    bytes.map(to_uuid).transpose()
}

/// What is in a row is not what belongs there.
pub(crate) fn damaged(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(error.into())
}
