//! The yardstick of `make bench`: the same scripts on native axum and Rhai, parsed once, with no isolation at all.
//!
//! What a careful user would write by hand: one shared engine, one parsed script for each address, every call straight
//! on the runtime's threads. It leaves out what PiCloud is for. Calls share one process, nothing bounds them, nothing
//! is recorded, and `kv` is a map in memory that is gone with the process: it has no durability and no transactions.
//! So a ratio against it says what isolation, metering and durable effects cost together.
//!
//! `picloud-baseline ADDRESS SCRIPT.rhai...` serves each script at `/default/{file name without .rhai}`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt as _;
use rhai::{AST, CallFnOptions, Dynamic, Engine, Map, Module, Scope};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// Everything that calls share.
struct App {
    engine: Engine,
    /// By path.
    scripts: HashMap<String, AST>,
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    let mut args = std::env::args().skip(1);
    let address = args.next().ok_or("usage: picloud-baseline ADDRESS SCRIPT.rhai...")?;
    let engine = engine();
    let mut scripts = HashMap::new();
    for file in args {
        let name =
            Path::new(&file).file_stem().and_then(|stem| stem.to_str()).ok_or("a script needs a name")?;
        scripts.insert(format!("/default/{name}"), engine.compile(std::fs::read_to_string(&file)?)?);
    }
    let router = Router::new().fallback(call).with_state(Arc::new(App { engine, scripts }));
    let listener = tokio::net::TcpListener::bind(&address).await?.tap_io(|stream| {
        // A small answer must not wait for the acknowledgement of the one before it.
        let _ = stream.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

/// An engine with the one service that the benchmark's scripts use.
fn engine() -> Engine {
    let counters = Mutex::new(HashMap::<String, i64>::new());
    let mut kv = Module::new();
    kv.set_native_fn("incr", move |key: &str, by: i64| {
        let mut counters = counters.lock().unwrap_or_else(PoisonError::into_inner);
        let value = counters.entry(key.to_owned()).or_insert(0);
        *value += by;
        Ok(*value)
    });
    let mut engine = Engine::new();
    engine.register_static_module("kv", kv.into());
    engine
}

async fn call(State(app): State<Arc<App>>, method: Method, uri: Uri, body: Bytes) -> Response {
    let Some(script) = app.scripts.get(uri.path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    match run(&app.engine, script, &method, &uri, &body) {
        Ok(answer) => answer,
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn run(engine: &Engine, script: &AST, method: &Method, uri: &Uri, body: &[u8]) -> Result<Response, AnyError> {
    let request = request(method, uri, body)?;
    let options = CallFnOptions::new().eval_ast(false);
    let answer: Dynamic =
        engine.call_fn_with_options(options, &mut Scope::new(), script, "handle", (request,))?;
    Ok(if answer.is_string() {
        ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], answer.into_string()?).into_response()
    } else {
        ([(header::CONTENT_TYPE, "application/json")], serde_json::to_vec(&answer)?).into_response()
    })
}

/// The parts of `req` that the scripts read. Headers are not among them, so nobody pays for them here either.
fn request(method: &Method, uri: &Uri, body: &[u8]) -> Result<Map, AnyError> {
    let mut map = Map::new();
    map.insert("method".into(), method.as_str().into());
    map.insert("path".into(), uri.path().into());
    map.insert("query".into(), uri.query().map_or(Dynamic::UNIT, Into::into));
    if !body.is_empty() {
        map.insert("json".into(), serde_json::from_slice(body)?);
    }
    Ok(map)
}
