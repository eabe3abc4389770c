//! Numbers and indices out of every range: an error of the script or a harmless answer, never a crash.

use super::{check_answers, check_calls};

#[tokio::test(flavor = "multi_thread")]
async fn numbers_out_of_range_are_errors_of_the_script() {
    let cases: Vec<_> = [
        "9223372036854775807 + 1",
        "let a = 9223372036854775807; a + 1",
        "let a = 9223372036854775807; a * 2",
        "let a = -9223372036854775808; -a",
        "abs(-9223372036854775807 - 1)",
        "let a = -9223372036854775807 - 1; a / -1",
        "let a = -9223372036854775807 - 1; a % -1",
        "let a = 0; 1 / a",
        "let a = 0; 1 % a",
        "2 ** 64",
        "2 ** -1",
        "let a = 2; a ** 9223372036854775807",
        "1e300.to_int()",
        "parse_int(\"99999999999999999999\")",
        "parse_int(\"zz\", 37)",
        "parse_int(\"zz\", -1)",
        "range(0, 10, 0)",
        "for i in range(0.0, 1.0, 0.0) {}",
        "let s = \"x\"; s.pad(9223372036854775807, \"yy\");",
        "let s = 5; s[64]",
        "let s = 5; s.set_bits(3..=9223372036854775807, -1);",
        "\"abc\"[-9223372036854775807]",
        "[1][9223372036854775807]",
        "\"x\" * 1000000000",
        "random::blob(9223372036854775807)",
        "random::int(2, 1)",
        "time::format(9223372036854775807)",
        "time::days(9223372036854775807)",
        "kv::list(\"\", 0)",
        "kv::list(\"\", 9223372036854775807)",
        "kv::set(\"a\", 1, -1)",
        "kv::set(\"a\", 9223372036854775807); kv::incr(\"a\")",
        "response(9223372036854775807, \"\")",
    ]
    .map(|source| (source, 500, "script-error"))
    .into();
    check_calls(&cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_out_of_bounds_is_cut_or_empty() {
    check_answers(&[
        ("let a = []; a.pad(9223372036854775807, 1); a.len", "0"),
        ("let a = []; a.pad(-5, 1); a.len", "0"),
        ("blob(-1).len", "0"),
        ("\"abc\".sub_string(-9223372036854775807, 9223372036854775807)", ""),
        ("\"äöü\".sub_string(1, 9223372036854775807)", "öü"),
        ("let s = \"äöü\"; s.truncate(-1); s.len", "0"),
        ("let s = [1, 2, 3]; s.splice(-9223372036854775807, 9223372036854775807, [4]); s", "[4]"),
        ("let s = [1, 2, 3]; s.extract(9223372036854775807..-9223372036854775807)", "[]"),
        ("let s = [1]; s.insert(9223372036854775807, 1); s", "[1,1]"),
        ("let b = blob(8); b.write_le(9223372036854775807, 9223372036854775807, 5); b.len", "8"),
        ("let b = blob(8); b.parse_le_int(9223372036854775807, 9223372036854775807)", "0"),
        ("1 << 9223372036854775807", "0"),
        ("let n = 0; for i in range(5, -9223372036854775807, -9223372036854775807) { n += 1 } n < 3", "true"),
        ("kv::set(\"a\", 1, 9223372036854775807); kv::get(\"a\")", "1"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sort_that_contradicts_itself_is_an_error_of_the_script() {
    let fill = "let a = []; for i in 0..2000 { a.push(i * 7919 % 2003); } let n = 0;";
    let flips = format!("{fill} a.sort(|x, y| {{ n += 1; if n % 2 == 0 {{ 1 }} else {{ -1 }} }}); a.len");
    check_calls(&[
        (&flips, 500, "script-error"),
        ("let a = [3, 2, 1]; a.sort(|x, y| { a.push(1); 0 })", 500, "script-error"),
        ("let a = [1, \"a\", 2.0, []]; a.sort()", 500, "script-error"),
        ("let a = []; for i in 0..2000 { a.push(if i % 3 == 0 { 0.0 / 0.0 } else { i.to_float() }) } a.sort(); 1", 200, ""),
    ])
    .await;
}
