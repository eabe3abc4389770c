//! `picloud run FILE`: calls a script once, without a server, in the real sandbox with keys and values in memory.

pub(crate) mod cache;
mod event;
pub(crate) mod settings;

use std::sync::Arc;

use anyhow::Context as _;
use http_body_util::BodyExt as _;
use picloud_host::active::{Active, ActiveApp, ActiveScript, ActiveSet};
use picloud_host::aot::AotCache;
use picloud_host::budget::Budget;
use picloud_host::call::{
    AppId, BUILT_IN_ROUTE, Cost, ExecRequest, HttpCall, Outcome, Payload, ScriptRef, SourceHash, VersionId,
};
use picloud_host::executor::{Executor, ExecutorConfig, Services};
use picloud_host::grants::Grants;
use picloud_host::ingress;
use picloud_host::memory::{self, MemoryScripts};
use picloud_host::ports::SystemClock;
use uuid::Uuid;

use crate::args::{RunArgs, ServeArgs};
use crate::client::http::Reply;
use crate::commands::answer::Answer;
use crate::commands::request::{self, RequestParts};
use crate::config::ServeConfig;
use crate::env::Env;
use crate::exit::CliError;
use crate::output::Terminal;
use crate::output::text::clean_lines;
use settings::Settings;

/// Images kept in memory, in bytes; there is one.
const IMAGE_CACHE: usize = 1 << 20;

/// Load the script, call it once, print its answer and what it cost.
///
/// # Errors
///
/// The arguments are wrong, a file cannot be read, the script does not compile, or the call failed.
pub async fn run(args: RunArgs, env: &Env, terminal: &mut Terminal) -> Result<(), CliError> {
    let settings = settings::read(&args.given, terminal)?;
    let config = config(args.limits, args.fs)?;
    let limits = config.limits;
    let grants = Grants::open(&config.fs).map_err(failed)?;
    let file = args.file.display().to_string();
    let source = std::fs::read(&args.file)
        .with_context(|| format!("cannot read {file}"))
        .and_then(|bytes| String::from_utf8(bytes).with_context(|| format!("{file} is not UTF-8")))
        .map_err(failed)?;
    within(&file, source.len(), "source_bytes", limits.source_bytes)?;
    let execution_id = Uuid::now_v7();
    let payload = match &args.event {
        Some(event) => Payload::Event(event::read(event, execution_id, terminal)?),
        None => {
            let request = request::build(&args.request, terminal)?;
            within("the body", request.body.len(), "request_body_bytes", limits.request_body_bytes)?;
            Payload::Http(http_call(request, execution_id))
        }
    };
    let name = args.file.file_stem().map_or_else(|| file.clone(), |stem| stem.to_string_lossy().into_owned());
    let script = Arc::new(script(&name, &source));
    let request = Arc::new(ExecRequest::root(script, execution_id, Arc::new(limits), payload));
    let outcome =
        execute(&request, &source, settings, grants, cache::open(env, terminal)).await.map_err(failed)?;
    for line in &outcome.log {
        terminal.note(&format!("{}: {}", line.level.as_str(), clean_lines(&line.message)));
    }
    let reply = reply(&request, &outcome).await.map_err(failed)?;
    Answer::of(reply).print(&file, Some(&source), terminal)
}

/// Limits and grants, understood as `picloud serve` understands them, but from the flags alone.
pub(crate) fn config(limits: Vec<String>, fs: Vec<String>) -> Result<ServeConfig, CliError> {
    let args = ServeArgs { limits, fs, ..ServeArgs::default() };
    ServeConfig::resolve(&args, &Env::default())
}

/// What a server would not have taken in.
fn within(what: &str, length: usize, name: &str, limit: u64) -> Result<(), CliError> {
    if length as u64 <= limit {
        return Ok(());
    }
    Err(CliError::Failed(format!("{what} has {length} bytes, but may have {limit} (limit {name})")))
}

/// The same path as in a server, with everything else in memory.
async fn execute(
    request: &Arc<ExecRequest>,
    source: &str,
    settings: Settings,
    grants: Grants,
    aot: AotCache,
) -> anyhow::Result<Outcome> {
    let services = memory::services(active(request, settings), Arc::new(SystemClock));
    let config = ExecutorConfig {
        budget: Budget::probe(request.limits.memory_bytes),
        aot,
        image_cache_bytes: IMAGE_CACHE,
        scripts: Arc::new(MemoryScripts::default()),
        services: Services { grants: Arc::new(grants), server: false, ..services },
    };
    let executor = Arc::new(tokio::task::spawn_blocking(|| Executor::new(config)).await??);
    Ok(match executor.load(request.script.app_id, source, &request.limits).await.0 {
        Ok(_) => executor.execute(request.clone()).await,
        Err(failure) => Outcome::failed(Cost::default(), failure),
    })
}

/// The script alone, so that it can make events for itself. There is no policy: it sends no request to other servers.
fn active(request: &ExecRequest, settings: Settings) -> Arc<Active> {
    let ScriptRef { app, app_id, script, .. } = &*request.script;
    let itself = ActiveScript {
        script: request.script.clone(),
        canary: None,
        handles_requests: true,
        handles_events: true,
        access: Arc::default(),
    };
    let scripts = [(script.clone(), itself)].into();
    let Settings { secrets, config } = settings;
    let (id, limits, quotas, http) = (*app_id, request.limits.clone(), Arc::default(), Arc::default());
    let app = (app.clone(), ActiveApp { id, limits, quotas, http, secrets, config, scripts });
    let active = Active::default();
    active.publish(ActiveSet { apps: [app].into(), ..ActiveSet::default() });
    Arc::new(active)
}

fn script(name: &str, source: &str) -> ScriptRef {
    ScriptRef {
        app_id: AppId(1),
        app: "default".into(),
        script: name.into(),
        version_id: VersionId(1),
        version: 1,
        source_hash: SourceHash::of(source),
    }
}

fn http_call(request: RequestParts, execution_id: Uuid) -> HttpCall {
    HttpCall {
        method: request.method.to_string(),
        path: request.path,
        route: BUILT_IN_ROUTE.into(),
        query: request.query,
        params: Vec::new(),
        headers: request.headers,
        body: request.body,
        client_ip: None,
        request_id: execution_id.to_string(),
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
