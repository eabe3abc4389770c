//! A call can observe nothing of the call before it in the same slot. One slot, so that every call, of whatever script
//! and app, gets the memory, tables and stack that the one before it has used.
//!
//! Memory that is not as new would show: in what a load finds where nothing was written, in fuel, which depends on what
//! the allocator finds, in the peak of memory, or in values.

mod slot;

use picloud_host::limits::Limits;
use slot::{FUEL, Slot};

/// Fills 20 MiB with a marker, in many pieces and in one, grows tables of variables, and leaves closures behind.
const DIRTY: &str = r#"
    const SHARED = [1, 2];
    let count = 0;
    const NEXT = || { count += 1; count };
    fn fill() {
        let pieces = [];
        for i in 0..20 { pieces.push(blob(1000000, 0xa5)); }
        let text = "SECRET";
        for i in 0..17 { text += text; }
        pieces.push(text);
        pieces
    }
    fn handle(req) {
        NEXT.call(); NEXT.call();
        SHARED.push(3);
        let map = #{};
        for i in 0..500 { map[`key ${i}`] = `SECRET ${i}`; }
        let pieces = fill();
        kv::set("secret", "SECRET");
        log::info("SECRET");
        regex::is_match("S.*T", "SECRET");
        if req.query.then == "loop" { loop {} }
        if req.query.then == "memory" { loop { pieces.push(blob(1000000, 0xa5)); } }
        if req.query.then == "stack" { return dive(0); }
        if req.query.then == "throw" { throw pieces[20]; }
        if req.query.then == "sort" {
            let a = []; for i in 0..2000 { a.push(i * 7919 % 2003); }
            a.sort(|x, y| { count += 1; if count % 2 == 0 { 1 } else { -1 } });
        }
        [SHARED, NEXT.call(), pieces.len]
    }
    fn dive(n) { [[[[dive(n + 1)]]]] }
"#;

/// Every way a call can end.
const ENDS: &[(&str, &str)] = &[
    ("", "200 [[1,2],3,21]"),
    ("throw", "script-threw"),
    ("loop", "fuel-exhausted"),
    ("memory", "memory-exhausted"),
    ("stack", "stack-exhausted"),
    ("sort", "script-error"),
];

/// Touches what a dirty call may have left: fresh memory in all sizes, globals, the log, keys, the request.
const PROBE: &str = r#"
    const SHARED = [1, 2];
    let count = 0;
    const NEXT = || { count += 1; count };
    fn handle(req) {
        let sums = 0;
        for size in [1, 100, 5000, 100000, 20000000] {
            let b = blob(size);
            if size < 6000 { for i in 0..size { sums += b[i]; } }
            sums += b[size - 1] + b[size / 2];
        }
        let a = [];
        for i in 0..2000 { a.push(`item ${i}`); }
        [sums, a.len, SHARED, NEXT.call(), kv::get("secret"), req.query, req.body, regex::find("S", "ES").start]
    }
"#;

const PROBED: &str = r#"200 [0,2000,[1,2],1,null,{},"",1]"#;

#[tokio::test(flavor = "multi_thread")]
async fn another_script_finds_everything_as_new() {
    let slot = Slot::new().await;
    let (dirty, probe) = (slot.script(1, DIRTY), slot.script(1, PROBE));
    let fresh = slot.call(&probe, "").await;
    assert_eq!(fresh.answer, PROBED);
    for (then, ends) in ENDS {
        for _ in 0..3 {
            assert_eq!(slot.call(&dirty, then).await.answer, *ends);
        }
        // The first call took effect, the others did not: for the probe the key is of another app.
        let probe = slot.script(2, PROBE);
        assert_eq!(slot.call(&probe, "").await, fresh, "after {then}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_script_finds_everything_as_new() {
    let slot = Slot::new().await;
    let dirty = slot.script(1, DIRTY);
    for (then, ends) in ENDS {
        let first = slot.call(&dirty, then).await;
        assert_eq!(first.answer, *ends);
        for (between, _) in ENDS {
            slot.call(&dirty, between).await;
            assert_eq!(slot.call(&dirty, then).await, first, "{then} after {between}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_cut_off_leaves_nothing() {
    let slot = Slot::new().await;
    let (dirty, probe) = (slot.script(1, DIRTY), slot.script(2, PROBE));
    let fresh = slot.call(&probe, "").await;
    let deadline = Limits { deadline_ms: 60, fuel: 1_000_000_000_000, ..Limits::default() };
    for _ in 0..3 {
        assert_eq!(slot.call_within(&dirty, "loop", deadline).await.answer, "deadline-exceeded");
        assert_eq!(slot.call(&probe, "").await, fresh);
    }
    for wait_ms in [1, 5, 20, 60] {
        let endless = slot.call_within(&dirty, "loop", Limits { deadline_ms: 10_000, ..deadline });
        let wait = std::time::Duration::from_millis(wait_ms);
        assert!(tokio::time::timeout(wait, endless).await.is_err(), "the call ended by itself");
        assert_eq!(slot.call(&probe, "").await, fresh);
    }
}

/// Half of what the array has reserved is never written, and the image has what is there. So the image of a load shows
/// whether the memory was zero before.
#[tokio::test(flavor = "multi_thread")]
async fn a_load_finds_memory_that_was_never_written() {
    let source = |name: &str| {
        format!(
            "const {name} = fill(); fn fill() {{ let a = []; for i in 0..70000 {{ a.push(i); }} a }} fn handle(req) {{ 1 }}"
        )
    };
    let slot = Slot::new().await;
    let limits = Limits { fuel: FUEL, ..Limits::default() };
    let dirty = slot.script(1, DIRTY);
    for (name, (then, ends)) in ["B", "C", "D", "E", "F", "G"].iter().zip(ENDS) {
        assert_eq!(slot.call(&dirty, then).await.answer, *ends);
        let report = slot.0.load(&source(name), &limits).await.unwrap();
        let fresh = Slot::new().await.0.load(&source(name), &limits).await.unwrap();
        assert_eq!(report, fresh, "after {then}");
    }
    // A load that fails is a call like any other.
    let filling = "let a = []; for i in 0..50 { a.push(blob(1000000, 0xa5)); } throw 1; fn handle(req) { 1 }";
    assert!(slot.0.load(filling, &limits).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_call_logged_and_wrote_is_its_own() {
    let slot = Slot::new().await;
    let (dirty, probe) = (slot.script(1, DIRTY), slot.script(1, "kv::get(\"secret\")"));
    for (then, ends) in &ENDS[1..] {
        let call = slot.call(&dirty, then).await;
        assert_eq!((call.answer.as_str(), call.log.as_slice()), (*ends, &["SECRET".to_owned()][..]));
        let next = slot.call(&probe, "").await;
        assert_eq!((next.answer.as_str(), next.log.len()), ("204 ", 0), "after {then}");
    }
    slot.call(&dirty, "").await;
    assert_eq!(slot.call(&probe, "").await.answer, "200 SECRET", "a call that succeeds leaves its effects");
    let other_app = slot.script(2, "kv::get(\"secret\")");
    assert_eq!(slot.call(&other_app, "").await.answer, "204 ", "and only in its own app");
}
