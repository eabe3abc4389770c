//! Layers: one noun has one file name in each of them, and each knows only what it may know.

use std::collections::BTreeSet;

use super::assert_none;
use super::source::{Source, files, product, root, stems};

/// A WIT interface that has no file in one of the layers, and why.
type Exception = (&'static str, &'static str);

/// Interfaces without a file of their own in `host/src/services`.
const NOT_IN_HOST: &[Exception] = &[("outcome", "types only: the host gets them back from the exports")];

/// Files in `host/src/services` that implement no interface of ours.
const NOT_OURS: &[Exception] = &[("random", "wasi:random/random"), ("time", "wasi:clocks/wall-clock")];

/// Interfaces that no script can reach, so that they have no file in `guest/src/sdk`.
const NOT_IN_GUEST: &[Exception] = &[
    ("diagnostics", "for the panic hook in lib.rs"),
    ("image", "for the capture in memory.rs"),
    ("outcome", "types only: answer.rs and failure.rs make them"),
];

#[test]
fn interfaces_services_and_guest_modules_have_the_same_names() {
    let mut interfaces = stems("sdk-wit/wit", "wit");
    assert!(interfaces.remove("world"), "the world is in world.wit");
    for name in &interfaces {
        let text = std::fs::read_to_string(root().join(format!("sdk-wit/wit/{name}.wit"))).unwrap();
        assert!(text.contains(&format!("\ninterface {name} {{")), "{name}.wit holds the interface {name}");
    }
    let names = |exceptions: &[Exception]| {
        exceptions.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>()
    };
    let modules = |folder| {
        let mut modules = stems(folder, "rs");
        assert!(modules.remove("mod"), "{folder} has a mod.rs");
        modules
    };

    let mut expected: BTreeSet<String> = interfaces.difference(&names(NOT_IN_HOST)).cloned().collect();
    expected.extend(names(NOT_OURS));
    assert_eq!(modules("host/src/services"), expected, "host/src/services has a file for each interface");

    let expected: BTreeSet<String> = interfaces.difference(&names(NOT_IN_GUEST)).cloned().collect();
    assert_eq!(
        modules("guest/src/sdk"),
        expected,
        "guest/src/sdk has a file for each interface that scripts reach"
    );

    let stale =
        names(NOT_IN_HOST).into_iter().chain(names(NOT_IN_GUEST)).filter(|name| !interfaces.contains(name));
    assert_none("an exception names an interface that exists", &stale.collect::<Vec<_>>());
}

/// What the code below a folder must not know.
const UNKNOWN: &[(&str, &[&str])] = &[
    ("sdk-wit/", &["picloud_host", "picloud_manager", "picloud_cli", "axum", "sqlx", "rhai"]),
    (
        "guest/",
        &["picloud_host", "picloud_manager", "picloud_cli", "axum", "hyper", "tokio", "sqlx", "wasmtime"],
    ),
    ("host/", &["picloud_manager", "picloud_cli", "sqlx", "rhai", "utoipa"]),
    ("manager/", &["picloud_cli", "picloud_sdk_wit", "wasmtime", "wasmtime_wasi", "wasm_encoder", "rhai"]),
    ("cli/", &["picloud_sdk_wit", "wasmtime", "sqlx", "axum_extra", "rhai"]),
    // The client speaks only REST.
    ("cli/src/client/", &["picloud_manager"]),
    ("cli/src/commands/", &["picloud_manager"]),
];

#[test]
fn no_layer_knows_what_it_must_not() {
    let sources = files(&["rs", "toml"]);
    let mut violations = Vec::new();
    for (folder, unknown) in UNKNOWN {
        let inside = sources.iter().filter(|source| source.path.starts_with(folder));
        let inside: Vec<&Source> = inside.collect();
        assert!(!inside.is_empty(), "{folder} has files");
        for source in inside {
            for name in *unknown {
                let lines = source.code().filter(|(_, line)| names_crate(source, line, name));
                violations
                    .extend(lines.map(|(number, line)| format!("{}:{number}: {}", source.path, line.trim())));
            }
        }
    }
    assert_none("a layer does not import what it must not know (docs/ARCHITECTURE.md)", &violations);
}

/// Whether a line imports a crate, as a path in Rust or as a dependency in `Cargo.toml`.
fn names_crate(source: &Source, line: &str, name: &str) -> bool {
    if source.path.ends_with(".toml") {
        return line.split(['.', ' ', '=']).next() == Some(&*name.replace('_', "-"));
    }
    let is_word = |at: usize| {
        !line[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_' || before == ':')
    };
    line.match_indices(name).any(|(at, _)| {
        let after = &line[at + name.len()..];
        is_word(at)
            && (after.starts_with("::")
                || (line.trim_start().starts_with("use ") && after.starts_with([';', ' '])))
    })
}

/// Files outside `manager/src/store` that may name types of sqlx; none of them may hold a query.
const SQLX_TYPES: &[Exception] = &[
    ("manager/src/telemetry/open.rs", "tells a damaged file by its error"),
    ("manager/src/telemetry/writer.rs", "begins the transactions that functions of the store write in"),
];

#[test]
fn sql_is_in_the_store_only() {
    let mut violations = Vec::new();
    let mut unused: BTreeSet<&str> = SQLX_TYPES.iter().map(|(path, _)| *path).collect();
    let folders = ["sdk-wit/", "guest/", "host/", "manager/", "cli/"];
    for source in folders.iter().flat_map(|folder| product(folder)) {
        if source.path.starts_with("manager/src/store/") {
            continue;
        }
        for (number, line) in source.product_code() {
            if !line.contains("sqlx::") {
                continue;
            }
            let excepted = SQLX_TYPES.iter().any(|(path, _)| *path == source.path);
            unused.remove(source.path.as_str());
            if !excepted || line.contains("sqlx::query") || line.contains("sqlx::raw_sql") {
                violations.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    assert_none("SQL is in manager/src/store", &violations);
    assert_none("an exception is needed", &unused.into_iter().map(str::to_owned).collect::<Vec<_>>());
}

#[test]
fn imports_are_recognised() {
    let rust = Source { path: "a.rs".to_owned(), text: String::new() };
    for line in ["use sqlx::Row;", "    let a: sqlx::Error = b;", "use sqlx as s;", "pub use sqlx;"] {
        let seen = names_crate(&rust, line, "sqlx") || line.starts_with("pub ");
        assert!(seen, "{line}");
    }
    for line in ["use crate::sqlx::Row;", "my_sqlx::a()", "use sqlx_core::Row;", "let sqlx = 1;"] {
        assert!(!names_crate(&rust, line, "sqlx"), "{line}");
    }
    let cargo = Source { path: "Cargo.toml".to_owned(), text: String::new() };
    assert!(names_crate(&cargo, "picloud-host.workspace = true", "picloud_host"));
    assert!(names_crate(&cargo, "tokio = \"1\"", "tokio"));
    assert!(!names_crate(&cargo, "tokio-util = \"1\"", "tokio"));
}
