//! Sources as large as they may be, made of one thing only: the parser has limits of its own, and fuel.

use super::{EITHER, check_uploads, target, upload};

const LIMIT: usize = 256 << 10;

/// `start`, as much of `unit` as fits, and `end`.
fn full(start: &str, unit: &str, end: &str) -> String {
    let count = (LIMIT - start.len() - end.len()) / unit.len();
    format!("{start}{}{end}", unit.repeat(count))
}

/// As much of `open` as of `close` fits.
fn paired(open: &str, middle: &str, close: &str) -> String {
    let count = (LIMIT - middle.len()) / (open.len() + close.len());
    format!("{}{middle}{}", open.repeat(count), close.repeat(count))
}

#[tokio::test(flavor = "multi_thread")]
async fn nesting_is_refused_at_compile_time() {
    let open = [
        "(",
        "[",
        "{",
        "#{a:",
        "!",
        "- ",
        "if true {",
        "while true {",
        "try{",
        "switch 1 { 1=>",
        "`${",
        "||{",
        "f(",
        "a[",
        "+",
    ];
    let mut sources: Vec<_> = open.iter().map(|unit| full("let a = 1; ", unit, "")).collect();
    sources.extend([
        paired("(", "1", ")"),
        paired("[", "1", "]"),
        paired("{", "1", "}"),
        paired("#{a:", "1", "}"),
        paired("if true {", "1", "}"),
        paired("`${", "1", "}`"),
        paired("||{", "1", "}"),
        paired("a[", "0", "]"),
        full("let a = false; if a {} ", "else if a {} ", "else { 7 }"),
        full("let a = 1; a", "+a", ""),
        full("let a = 1; a", "**a", ""),
        full("let a = true; a", "&&a", ""),
        full("let a = (); a", "??a", ""),
        full("\"\"", "+\"\"", ""),
        full("let a = #{}; a", ".a", ""),
        full("let a = #{}; a", "?.a", ""),
        full("let a = #{}; a", ".f()", ""),
        full("let a = [0]; a", "[0]", ""),
        full("let a = 1; fn handle(req) { 1", "+a", "}"),
    ]);
    let cases: Vec<_> = sources.into_iter().map(|source| (source, "compile-failed")).collect();
    check_uploads(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_rhai_is_refused_with_its_place() {
    let units = [
        "%", "\\", "#", "|x|", "return ", "throw ", "fn a(){", "a=", "true?1:", "let ", "@", "=>", "😀",
        "\u{feff}",
    ];
    let cases: Vec<_> = units.iter().map(|unit| (full("let a = 1; ", unit, ""), "compile-failed")).collect();
    check_uploads(&cases).await;
    let app = target().await;
    let reply = upload(&app, "let a = 1;\nlet b = (2;").await;
    let problem = reply.assert_problem(422, "compile-failed");
    assert_eq!(problem["position"], serde_json::json!({ "line": 2, "column": 11 }), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn long_words_and_lists_use_up_fuel_or_are_fine() {
    check_uploads(&[
        (full("let ", "a", " = 1;"), "top-level-limit"),
        (full("let a = \"", "a", "\";"), "top-level-limit"),
        (full("let a = \"", "a", ""), "top-level-limit"),
        (full("`", "${1}", "`"), "top-level-limit"),
        (full("let a = ", "9", ";"), "top-level-limit"),
        (full("", "#", "\""), "top-level-limit"),
        (full("'", "a", "'"), "top-level-limit"),
        (full("", "{}", "1"), "top-level-limit"),
        (full("", "/*", ""), ""),
        (paired("/*", " ", "*/"), ""),
        (full("", "//\n", "1"), ""),
        (full("", "///\n", "1"), ""),
        (full("", "\n", "1"), ""),
        (full("", ";", ""), "top-level-limit"),
        (full("", "let a=1;", "a"), "top-level-limit"),
        (full("fn handle(req) {", "let a=1;", "a}"), "top-level-limit"),
        (full("", "const A=1;", "A"), EITHER),
        (full("[", "1,", "].len"), EITHER),
        (full("[", "[],", "].len"), EITHER),
        (full("switch 5 {", "1=>1,", "_=>2}"), EITHER),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_over_the_limit_is_refused() {
    let app = target().await;
    assert!(upload(&app, format!("{}1", " ".repeat(LIMIT - 1))).await.is_success());
    upload(&app, format!("{}1", " ".repeat(LIMIT))).await.assert_problem(413, "source-too-large");
    // Without a length that gives it away.
    let chunks = (0..1000).map(|_| Ok::<_, std::io::Error>(" ".repeat(1024)));
    let endless = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
    upload(&app, endless).await.assert_problem(413, "source-too-large");
    app.assert_healthy().await;
}
