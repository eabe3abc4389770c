//! The layers of the configuration, each as a TOML table of what it sets. Each value is checked where it is read, so that
//! a mistake is told with the name of the flag, the variable or the line.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use picloud_host::limits::LIMITS;
use picloud_host::quota::QUOTAS;
use toml::de::DeTable;
use toml::{Table, Value};

use super::{ServeConfig, grants};
use crate::args::ServeArgs;
use crate::env::Env;
use crate::exit::CliError;

/// No sensible configuration is longer.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a key holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Bool,
    Int,
}

/// Every key but `data_dir` and `secret_key_file`, which need not be text, those of `[limits]` and `[quotas]`, which have tables of their own, and the
/// grants of `[fs]`, whose names are the operator's.
const KEYS: &[(&str, Kind)] = &[
    ("address", Kind::Text),
    ("admin_address", Kind::Text),
    ("public_url", Kind::Text),
    ("dev", Kind::Bool),
    ("trusted_proxies", Kind::Text),
    ("mqtt", Kind::Text),
    ("max_concurrent_calls", Kind::Int),
    ("max_waiting_calls", Kind::Int),
    ("max_concurrent_events", Kind::Int),
    ("memory_reserve_bytes", Kind::Int),
    ("image_cache_bytes", Kind::Int),
    ("body_memory_bytes", Kind::Int),
    ("telemetry.max_age_days", Kind::Int),
    ("telemetry.max_bytes", Kind::Int),
    ("telemetry.max_rows_per_second", Kind::Int),
    ("drain_seconds", Kind::Int),
    ("log.format", Kind::Text),
    ("log.level", Kind::Text),
];

/// The file to read, if one is named.
pub(super) fn file_path(args: &ServeArgs, env: &Env) -> Option<PathBuf> {
    args.config.clone().or_else(|| env.get("PICLOUD_CONFIG").map(PathBuf::from))
}

/// The file's table. It is checked on its own, so that a mistake is shown with its line.
pub(super) fn read_file(path: &Path) -> Result<Table, CliError> {
    let wrong = |error: &dyn std::fmt::Display| CliError::Usage(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| wrong(&error))?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| wrong(&error))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(wrong(&"longer than a configuration can be (1 MiB)"));
    }
    toml::from_str::<ServeConfig>(&text).map_err(|error| wrong(&error.to_string().trim_end()))?;
    let table: Table = text.parse().map_err(|error: toml::de::Error| wrong(&error))?;
    for (key, value) in values(&table) {
        check(&key, value).map_err(|why| match line_of(&text, &key) {
            Some(line) => wrong(&format_args!("line {line}: {why}")),
            None => wrong(&why),
        })?;
    }
    Ok(table)
}

/// Everything that a table sets, with the sections' names before the keys.
fn values(table: &Table) -> impl Iterator<Item = (String, &Value)> {
    table.iter().flat_map(|(key, value)| match value {
        Value::Table(section) => {
            section.iter().map(|(name, value)| (format!("{key}.{name}"), value)).collect::<Vec<_>>()
        }
        value => vec![(key.clone(), value)],
    })
}

/// The line on which a key has its value, from 1.
fn line_of(text: &str, key: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut names = key.split('.');
    let first = document.get_ref().get(names.next()?)?;
    let value = names.try_fold(first, |section, name| section.get_ref().get(name))?;
    Some(text.get(..value.span().start)?.matches('\n').count() + 1)
}

/// What the variables set. A variable's name is `PICLOUD_` and the key, in upper case, with `_` for `.`.
pub(super) fn from_env(env: &Env) -> Result<Table, CliError> {
    let mut table = Table::new();
    let rows = Bound::ALL.into_iter().flat_map(|bound| bound.names().map(move |name| (bound, name)));
    let rows = rows.map(|(bound, name)| (format!("{}.{name}", bound.section()), Kind::Int));
    for (key, kind) in KEYS.iter().map(|(key, kind)| ((*key).to_owned(), *kind)).chain(rows) {
        let variable = format!("PICLOUD_{}", key.replace('.', "_").to_uppercase());
        if let Some(text) = env.text(&variable)? {
            insert(&mut table, &variable, &key, parse(&variable, text, kind)?)?;
        }
    }
    if let Some(text) = env.text("PICLOUD_FS")? {
        grants::list(text).try_for_each(|grant| insert_grant(&mut table, "PICLOUD_FS", grant))?;
    }
    Ok(table)
}

/// What the flags set.
pub(super) fn from_flags(args: &ServeArgs) -> Result<Table, CliError> {
    let mut table = Table::new();
    let texts = [
        ("address", &args.address),
        ("admin_address", &args.admin_address),
        ("public_url", &args.public_url),
        ("trusted_proxies", &args.trusted_proxies),
        ("mqtt", &args.mqtt),
        ("log.format", &args.log_format),
        ("log.level", &args.log_level),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            insert(&mut table, &flag(key), key, Value::String(text.clone()))?;
        }
    }
    let numbers = [
        ("max_concurrent_calls", args.max_concurrent_calls),
        ("max_waiting_calls", args.max_waiting_calls),
        ("max_concurrent_events", args.max_concurrent_events),
        ("memory_reserve_bytes", args.memory_reserve_bytes),
        ("image_cache_bytes", args.image_cache_bytes),
        ("body_memory_bytes", args.body_memory_bytes),
        ("telemetry.max_age_days", args.telemetry_max_age_days),
        ("telemetry.max_bytes", args.telemetry_max_bytes),
        ("telemetry.max_rows_per_second", args.telemetry_max_rows_per_second),
        ("drain_seconds", args.drain_seconds),
    ];
    for (key, number) in numbers {
        if let Some(number) = number {
            insert(&mut table, &flag(key), key, integer(&flag(key), number)?)?;
        }
    }
    if args.dev {
        put(&mut table, "dev", Value::Boolean(true));
    }
    args.fs.iter().try_for_each(|grant| insert_grant(&mut table, "--fs", grant))?;
    args.limits.iter().try_for_each(|limit| insert_bound(&mut table, Bound::Limit, limit))?;
    args.quotas.iter().try_for_each(|quota| insert_bound(&mut table, Bound::Quota, quota))?;
    Ok(table)
}

/// Two sections whose keys have tables of their own.
#[derive(Clone, Copy)]
enum Bound {
    Limit,
    Quota,
}

impl Bound {
    const ALL: [Self; 2] = [Self::Limit, Self::Quota];

    /// The word for one of them, which is its flag, too.
    fn word(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Quota => "quota",
        }
    }

    fn section(self) -> &'static str {
        match self {
            Self::Limit => "limits",
            Self::Quota => "quotas",
        }
    }

    fn names(self) -> Box<dyn Iterator<Item = &'static str>> {
        match self {
            Self::Limit => Box::new(LIMITS.iter().map(|row| row.name)),
            Self::Quota => Box::new(QUOTAS.iter().map(|row| row.name)),
        }
    }

    fn example(self) -> &'static str {
        match self {
            Self::Limit => "fuel=10000000",
            Self::Quota => "calls-per-second=20",
        }
    }
}

/// Set a limit or a quota from its flag.
fn insert_bound(table: &mut Table, bound: Bound, text: &str) -> Result<(), CliError> {
    let (word, section) = (bound.word(), bound.section());
    let (name, value) = text.split_once('=').ok_or_else(|| {
        CliError::Usage(format!("--{word} `{text}` is not NAME=VALUE, such as {}", bound.example()))
    })?;
    let name = name.trim().replace('-', "_");
    if !bound.names().any(|known| known == name) {
        let known: Vec<&str> = bound.names().collect();
        return Err(CliError::Usage(format!("there is no {word} `{name}`; there are {}", known.join(", "))));
    }
    let source = format!("--{word} {name}");
    insert(table, &source, &format!("{section}.{name}"), parse(&source, value, Kind::Int)?)
}

/// The flag that sets a key.
fn flag(key: &str) -> String {
    format!("--{}", key.replace(['.', '_'], "-"))
}

/// Put everything of `upper` over `lower`.
pub(super) fn overlay(lower: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (lower.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => overlay(below, above),
            (_, value) => {
                lower.insert(key, value);
            }
        }
    }
}

/// Set the section of a grant.
fn insert_grant(table: &mut Table, source: &str, text: &str) -> Result<(), CliError> {
    let (name, section) = grants::parse(text).map_err(|why| CliError::Usage(format!("{source}: {why}")))?;
    insert(table, source, &format!("fs.{name}"), section)
}

/// Set a key to a value that came from `source`, if that is a value that it can have.
fn insert(table: &mut Table, source: &str, key: &str, value: Value) -> Result<(), CliError> {
    check(key, &value).map_err(|why| CliError::Usage(format!("{source}: {why}")))?;
    put(table, key, value);
    Ok(())
}

/// Whether a key can have this value, as far as that can be said without looking at the others.
fn check(key: &str, value: &Value) -> Result<(), String> {
    let mut alone = Table::new();
    put(&mut alone, key, value.clone());
    let config: ServeConfig =
        alone.try_into().map_err(|error: toml::de::Error| error.message().to_owned())?;
    config.check_values()
}

/// Set a key, or a section's key when it has a dot.
fn put(table: &mut Table, key: &str, value: Value) {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
        }
        Some((section, key)) => {
            let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if let Value::Table(section) = section {
                section.insert(key.to_owned(), value);
            }
        }
    }
}

fn parse(source: &str, text: &str, kind: Kind) -> Result<Value, CliError> {
    let text = text.trim();
    match kind {
        Kind::Text => Ok(Value::String(text.to_owned())),
        Kind::Bool => match text {
            "1" | "true" | "yes" | "on" => Ok(Value::Boolean(true)),
            "0" | "false" | "no" | "off" => Ok(Value::Boolean(false)),
            _ => Err(CliError::Usage(format!("{source} is `{text}`, but must be true or false"))),
        },
        Kind::Int => match text.replace('_', "").parse() {
            Ok(number) => integer(source, number),
            Err(_) => Err(CliError::Usage(format!("{source} is `{text}`, but must be a whole number"))),
        },
    }
}

fn integer(source: &str, number: u64) -> Result<Value, CliError> {
    i64::try_from(number)
        .map(Value::Integer)
        .map_err(|_| CliError::Usage(format!("{source} is {number}, which is more than anything can be")))
}
