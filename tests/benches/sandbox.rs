//! The sandbox without HTTP: what a call, an upload and a cold script cost, over an executor with keys and values in memory.
//!
//! * `call/nothing`: the least script there is; nearly all of it is instantiating the sandbox.
//! * `call/*`: whole calls, each in a fresh sandbox.
//! * `warm/hello`: the work of `call/hello`, over and over inside one sandbox; the time is that of one of them. What
//!   `call/hello` takes longer is what a fresh sandbox costs at most: a call into a warm one would still have to cross
//!   its boundary, and that is not in here.
//! * `upload/*`: load a source that was never seen before: compile it, run its top level, make its image.
//! * `cold/*`: a call to a script whose image is not in memory.

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use picloud_host::aot::AotCache;
use picloud_host::budget::Budget;
use picloud_host::call::BUILT_IN_ROUTE;
use picloud_host::call::{AppId, ExecRequest, HttpCall, Payload, ScriptRef, SourceHash, VersionId};
use picloud_host::executor::{Executor, ExecutorConfig};
use picloud_host::limits::Limits;
use picloud_host::memory::{self, MemoryScripts};
use picloud_host::ports::SystemClock;
use tokio::runtime::Runtime;
use uuid::Uuid;

const NOTHING: &str = "()";
const HELLO: &str = include_str!("../bench/scripts/hello.rhai");
const ORDER: &str = include_str!("../bench/scripts/order.rhai");
const ORDER_BODY: &str = include_str!("../bench/scripts/order.json");
const FIB: &str = include_str!("../bench/scripts/fib.rhai");
const COUNTER: &str = include_str!("../bench/scripts/counter.rhai");

/// How often the script of `warm/hello` does what `hello` does.
const ROUNDS: u64 = 1000;
const HELLO_AGAIN: &str = "
fn hello(req) { \"Hello, world!\" }
fn handle(req) {
    let answer = ();
    for round in 0..1000 { answer = hello(req); }
    answer
}";

/// An executor with room for this many bytes of images, and the sources it can be asked for.
struct Bench {
    runtime: Runtime,
    executor: Arc<Executor>,
    scripts: Arc<MemoryScripts>,
}

impl Bench {
    fn new(image_cache_bytes: usize) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime starts");
        let scripts = Arc::new(MemoryScripts::default());
        let executor = {
            // Keys and values have a task of their own.
            let _inside = runtime.enter();
            Executor::new(ExecutorConfig {
                budget: Budget::probe(Limits::default().memory_bytes),
                aot: aot_cache(),
                image_cache_bytes,
                scripts: scripts.clone(),
                services: memory::services(Arc::default(), Arc::new(SystemClock)),
            })
        };
        Self { executor: Arc::new(executor.expect("an executor starts")), scripts, runtime }
    }

    /// A call of a script, which must succeed.
    fn request(&self, version: i64, source: &str, body: &'static str) -> Arc<ExecRequest> {
        self.scripts.insert(VersionId(version), source);
        let request = Arc::new(request(version, source, body));
        let outcome = self.runtime.block_on(self.executor.execute(request.clone()));
        outcome.result.unwrap_or_else(|failure| panic!("{source}: {}", failure.message));
        request
    }
}

/// Beside this program, so that only the first run compiles.
fn aot_cache() -> AotCache {
    let program = std::env::current_exe().expect("a program knows its file");
    let folder = program.parent().unwrap_or(Path::new(".")).join("picloud-bench-aot");
    std::fs::create_dir_all(&folder).expect("a folder can be made");
    let dir = cap_std::fs::Dir::open_ambient_dir(folder, cap_std::ambient_authority());
    AotCache::in_dir(dir.expect("a folder can be opened"))
}

fn request(version: i64, source: &str, body: &'static str) -> ExecRequest {
    let script = Arc::new(ScriptRef {
        app_id: AppId(1),
        app: "default".into(),
        script: "bench".into(),
        version_id: VersionId(version),
        version: 1,
        source_hash: SourceHash::of(source),
    });
    let execution_id = Uuid::now_v7();
    let call = HttpCall {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        route: BUILT_IN_ROUTE.into(),
        body: body.into(),
        request_id: execution_id.to_string(),
        ..HttpCall::default()
    };
    ExecRequest::root(script, execution_id, Arc::default(), Payload::Http(call))
}

fn calls(criterion: &mut Criterion) {
    let bench = Bench::new(64 << 20);
    let mut group = criterion.benchmark_group("call");
    let scripts = [
        ("nothing", NOTHING, ""),
        ("hello", HELLO, ""),
        ("order", ORDER, ORDER_BODY),
        ("fib", FIB, ""),
        ("counter", COUNTER, ""),
    ];
    for (version, (name, source, body)) in (1..).zip(scripts) {
        let request = bench.request(version, source, body);
        group.bench_function(name, |b| {
            b.to_async(&bench.runtime).iter(|| bench.executor.execute(request.clone()))
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("warm");
    let request = bench.request(10, HELLO_AGAIN, "");
    group.throughput(Throughput::Elements(ROUNDS));
    group.bench_function(BenchmarkId::new("hello", ROUNDS), |b| {
        b.to_async(&bench.runtime).iter(|| bench.executor.execute(request.clone()));
    });
    group.finish();
}

fn uploads(criterion: &mut Criterion) {
    let bench = Bench::new(1 << 20);
    let mut group = criterion.benchmark_group("upload");
    for (name, source) in [("hello", HELLO), ("order", ORDER)] {
        let number = Cell::new(0_u64);
        group.bench_function(name, |b| {
            b.to_async(&bench.runtime).iter(|| {
                number.set(number.get() + 1);
                let source = format!("{source}\n// {}", number.get());
                let executor = bench.executor.clone();
                async move {
                    black_box(executor.load(AppId(1), &source, &Limits::default()).await.0.expect("it loads"))
                }
            });
        });
    }
    group.finish();
}

/// With room for one image, two scripts in turn are always cold.
fn cold_scripts(criterion: &mut Criterion) {
    let bench = Bench::new(1);
    let mut group = criterion.benchmark_group("cold");
    for (name, source, body) in [("hello", HELLO, ""), ("order", ORDER, ORDER_BODY)] {
        let pair =
            [bench.request(1, source, body), bench.request(2, &format!("{source}\n// the other one"), body)];
        let turn = Cell::new(0);
        group.bench_function(name, |b| {
            b.to_async(&bench.runtime).iter(|| {
                turn.set(1 - turn.get());
                bench.executor.execute(pair[turn.get()].clone())
            });
        });
    }
    group.finish();
}

criterion_group! {
    name = sandbox;
    config = Criterion::default().sample_size(30).warm_up_time(std::time::Duration::from_secs(1)).measurement_time(std::time::Duration::from_secs(3));
    targets = calls, uploads, cold_scripts
}
criterion_main!(sandbox);
