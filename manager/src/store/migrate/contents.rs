//! What the tables of a file hold: how many rows, and a digest of every value in them.

use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, Row as _, SqliteConnection, TypeInfo as _, ValueRef as _};

/// What a table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Its name. `sqlite_sequence` has the identities that were given and are never given again.
    pub table: String,
    /// How many rows it has.
    pub rows: u64,
    /// The bytes of all values, 8 for a number.
    pub bytes: u64,
    /// SHA-256 of all values with their types, row after row.
    pub digest: [u8; 32],
}

/// After so many rows whoever waits is told.
const STEP: u64 = 256;

/// How many rows there are.
pub(super) async fn count(connection: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let mut rows = 0;
    for (table, _) in tables(connection).await? {
        let statement = sqlx::AssertSqlSafe(format!("select count(*) from {}", quoted(&table)));
        let count: i64 = sqlx::query_scalar(statement).fetch_one(&mut *connection).await?;
        rows += count.unsigned_abs();
    }
    Ok(rows)
}

/// Read everything. `watch` is told of the table, and of how many rows were read.
pub(super) async fn read(
    connection: &mut SqliteConnection,
    watch: &(dyn Fn(&str, u64) + Sync),
) -> Result<Vec<Contents>, sqlx::Error> {
    let (mut read, mut done) = (Vec::new(), 0);
    for (table, order) in tables(connection).await? {
        let statement = format!("select * from {} order by {order}", quoted(&table));
        let mut stream = sqlx::query(sqlx::AssertSqlSafe(statement)).fetch(&mut *connection);
        let (mut rows, mut bytes, mut hasher) = (0, 0, Sha256::new());
        watch(&table, done);
        while let Some(row) = stream.try_next().await? {
            bytes += add(&mut hasher, &row)?;
            rows += 1;
            done += 1;
            if rows % STEP == 0 {
                watch(&table, done);
            }
        }
        drop(stream);
        watch(&table, done);
        read.push(Contents { table, rows, bytes, digest: hasher.finalize().into() });
    }
    Ok(read)
}

/// The name of a table that is not the same in both.
pub(super) fn difference<'a>(one: &'a [Contents], other: &'a [Contents]) -> Option<&'a str> {
    let longer = if one.len() < other.len() { other } else { one };
    let unlike = (0..longer.len()).find(|place| one.get(*place) != other.get(*place));
    unlike.map(|place| longer[place].table.as_str())
}

/// The tables, but for those that say how the file was made, each with what its rows are ordered by: the same in every copy.
async fn tables(connection: &mut SqliteConnection) -> Result<Vec<(String, String)>, sqlx::Error> {
    let query = "select name, wr from pragma_table_list
                 where  schema = 'main' and type = 'table' and name <> '_sqlx_migrations'
                 and    (name = 'sqlite_sequence' or name not like 'sqlite\\_%' escape '\\')
                 order by name";
    let found: Vec<(String, bool)> = sqlx::query_as(query).fetch_all(&mut *connection).await?;
    let mut tables = Vec::new();
    for (table, without_rowid) in found {
        let order = if without_rowid { key(connection, &table).await? } else { "rowid".to_owned() };
        tables.push((table, order));
    }
    Ok(tables)
}

/// The columns of the primary key.
async fn key(connection: &mut SqliteConnection, table: &str) -> Result<String, sqlx::Error> {
    let query = "select name from pragma_table_info($1) where pk > 0 order by pk";
    let columns: Vec<String> = sqlx::query_scalar(query).bind(table).fetch_all(connection).await?;
    Ok(columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", "))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Each value with its type and its length, so that no two rows look alike. Returns how many bytes they have.
fn add(hasher: &mut Sha256, row: &SqliteRow) -> Result<u64, sqlx::Error> {
    let mut bytes = 0;
    for column in 0..row.len() {
        let value = row.try_get_raw(column)?;
        let decoded = |source| sqlx::Error::ColumnDecode { index: column.to_string(), source };
        let mut part = |kind: &[u8; 1], value: &[u8]| {
            hasher.update(kind);
            hasher.update((value.len() as u64).to_le_bytes());
            hasher.update(value);
            bytes += value.len() as u64;
        };
        if value.is_null() {
            part(b"n", b"");
            continue;
        }
        let kind = value.type_info().name().to_owned();
        match kind.as_str() {
            "TEXT" => part(b"t", Decode::decode(value).map_err(decoded)?),
            "BLOB" => part(b"b", Decode::decode(value).map_err(decoded)?),
            "REAL" => part(b"r", &f64::decode(value).map_err(decoded)?.to_bits().to_le_bytes()),
            _ => part(b"i", &i64::decode(value).map_err(decoded)?.to_le_bytes()),
        }
    }
    Ok(bytes)
}
