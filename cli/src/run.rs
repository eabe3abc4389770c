//! `picloud run FILE`: calls a script once, without a server, in the real sandbox with keys and values in memory.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use cap_std::ambient_authority;
use cap_std::fs::Dir;
use http_body_util::BodyExt as _;
use picloud_host::aot::AotCache;
use picloud_host::budget::Budget;
use picloud_host::call::{
    AppId, ExecRequest, Failure, HttpCall, LogLevel, Outcome, Payload, ScriptRef, SourceHash, VersionId,
};
use picloud_host::executor::{Executor, ExecutorConfig};
use picloud_host::ingress;
use picloud_host::limits::Limits;
use picloud_host::loader::Loader as _;
use picloud_host::memory::{MemoryKv, MemoryScripts};
use picloud_host::ports::SystemClock;
use uuid::Uuid;

use crate::args::RunArgs;
use crate::client::http::Reply;
use crate::commands::answer::Answer;
use crate::commands::request::{self, RequestParts};
use crate::env::Env;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::text::clean_lines;

/// Images kept in memory, in bytes; there is one.
const IMAGE_CACHE: usize = 1 << 20;

/// Load the script, call it once, print its answer and what it cost.
///
/// # Errors
///
/// The file cannot be read, the script does not compile, or the call failed.
pub async fn run(args: RunArgs, env: &Env, terminal: &mut Terminal) -> Result<(), CliError> {
    let file = args.file.display().to_string();
    let source = std::fs::read(&args.file)
        .with_context(|| format!("cannot read {file}"))
        .and_then(|bytes| String::from_utf8(bytes).with_context(|| format!("{file} is not UTF-8")))
        .map_err(failed)?;
    let request = request::build(&args.request, terminal)?;
    let name = args.file.file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
    let request = exec_request(&name, &source, request);
    let outcome = execute(&request, &source, env).await.map_err(failed)?;
    for line in &outcome.log {
        terminal.note(&format!("{}: {}", level_name(line.level), clean_lines(&line.message)));
    }
    let reply = reply(&request, &outcome).await.map_err(failed)?;
    Answer::of(reply).print(&file, Some(&source), terminal)
}

/// The same path as in a server, with everything else in memory.
async fn execute(request: &Arc<ExecRequest>, source: &str, env: &Env) -> anyhow::Result<Outcome> {
    let config = ExecutorConfig {
        budget: Budget::probe(request.limits.memory_bytes),
        aot: aot_cache(env),
        image_cache_bytes: IMAGE_CACHE,
        scripts: Arc::new(MemoryScripts::default()),
        kv: Arc::new(MemoryKv::new()),
        clock: Arc::new(SystemClock),
    };
    let executor = tokio::task::spawn_blocking(|| Executor::new(config)).await??;
    let not_loaded = |failure: Failure| Outcome {
        result: Err(failure),
        cost: picloud_host::call::Cost::default(),
        log: Vec::new(),
        log_dropped: 0,
    };
    Ok(match executor.load(source, &request.limits).await {
        Ok(_) => executor.execute(request.clone()).await,
        Err(failure) => not_loaded(failure),
    })
}

/// `$XDG_CACHE_HOME/picloud` or `~/.cache/picloud`, where the compiled sandbox is kept; without either, nothing is.
fn aot_cache(env: &Env) -> AotCache {
    let base = env.get("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| env.get("HOME").map(|home| PathBuf::from(home).join(".cache")));
    let open = |base: PathBuf| {
        let path = base.join("picloud");
        std::fs::create_dir_all(&path)?;
        Dir::open_ambient_dir(&path, ambient_authority())
    };
    base.and_then(|base| open(base).ok()).map_or_else(AotCache::none, AotCache::in_dir)
}

fn exec_request(name: &str, source: &str, request: RequestParts) -> Arc<ExecRequest> {
    let execution_id = Uuid::now_v7();
    Arc::new(ExecRequest {
        script: Arc::new(ScriptRef {
            app_id: AppId(1),
            app: "default".into(),
            script: name.into(),
            version_id: VersionId(1),
            version: 1,
            source_hash: SourceHash::of(source),
        }),
        execution_id,
        root_execution_id: execution_id,
        trigger_depth: 0,
        principal: None,
        limits: Limits::default(),
        traceparent: None,
        payload: Payload::Http(HttpCall {
            method: request.method.to_string(),
            path: request.path,
            route: ingress::BUILT_IN_ROUTE.into(),
            query: request.query,
            params: Vec::new(),
            headers: request.headers,
            body: request.body,
            client_ip: None,
            request_id: execution_id.to_string(),
        }),
    })
}

fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Warn => "warn",
        LogLevel::Error => "error",
    }
}

/// What a server would have sent.
async fn reply(request: &ExecRequest, outcome: &Outcome) -> anyhow::Result<Reply> {
    let (head, body) = ingress::respond(request, outcome).into_parts();
    Ok(Reply { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() })
}

fn failed(error: anyhow::Error) -> CliError {
    CliError::Failed(format!("{error:#}"))
}
