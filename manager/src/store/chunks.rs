//! Statements for many rows at once. A row in a statement of its own crosses to the thread of the connection and back,
//! which costs several times as much as the row.

use std::sync::LazyLock;

/// How many rows one statement takes. Few sizes, so that each statement is prepared only once.
pub(super) const SIZES: [usize; 4] = [64, 16, 4, 1];

/// One statement for each size.
pub(super) type Statements = LazyLock<[String; 4]>;

/// Cut items into chunks of the sizes that there are statements for, the largest first.
pub(super) fn chunks<'a, T>(
    mut items: &'a [T],
    statements: &'static Statements,
) -> impl Iterator<Item = (&'a [T], &'static str)> {
    std::iter::from_fn(move || {
        let (size, statement) =
            SIZES.iter().zip(statements.iter()).find(|(size, _)| **size <= items.len())?;
        let (chunk, rest) = items.split_at(*size);
        items = rest;
        Some((chunk, statement.as_str()))
    })
}

/// So many items in a row, with commas between them.
pub(super) fn list_of(size: usize, item: impl Fn(usize) -> String) -> String {
    (0..size).map(item).collect::<Vec<_>>().join(", ")
}
