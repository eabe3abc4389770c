//! One upload, and how it is told.

use std::path::Path;

use http::{Method, StatusCode};
use picloud_host::call::SourceHash;
use serde_json::{Value, json};

use super::read_source;
use crate::args::DeployArgs;
use crate::client::Api;
use crate::client::api::query;
use crate::client::http::{Call, Http};
use crate::commands::request::read_file;
use crate::commands::{canary, number, text};
use crate::exit::CliError;
use crate::output::diagnostic::Diagnostic;
use crate::output::text::{bytes, clean, thousands};
use crate::output::{Paint, Terminal};

/// What became of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Created,
    Updated,
    /// There is a new version, and the active one is as before.
    Stored,
    Unchanged,
    Failed,
    Deleted,
}

impl Change {
    pub(super) const ALL: [Self; 6] =
        [Self::Created, Self::Updated, Self::Stored, Self::Unchanged, Self::Failed, Self::Deleted];

    /// As programs read it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Stored => "stored",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
        }
    }

    /// As the summary says it.
    pub(super) fn said(self, dry_run: bool) -> &'static str {
        match self {
            Self::Created if dry_run => "to create",
            Self::Updated if dry_run => "to update",
            Self::Deleted if dry_run => "to delete",
            other => other.word(),
        }
    }
}

/// How to upload.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// What to say of a new version.
    pub(crate) message: Option<String>,
    /// A request to try it with.
    pub(crate) smoke: Option<Value>,
    /// Not to let it be called yet.
    pub(crate) no_activate: bool,
    /// How many of a hundred calls are to go to a new version.
    pub(crate) canary: Option<u8>,
}

impl Options {
    /// What the flags say.
    pub(super) fn of(args: &DeployArgs) -> Result<Self, CliError> {
        let smoke = args.smoke.as_ref().map(|file| {
            let wrong = |why: String| CliError::Usage(format!("--smoke {why}"));
            let bytes = read_file(file, MAX_SMOKE).map_err(wrong)?;
            serde_json::from_slice(&bytes).map_err(|error| wrong(format!("{}: {error}", file.display())))
        });
        Ok(Self {
            message: args.message.clone(),
            smoke: smoke.transpose()?,
            no_activate: args.no_activate || args.canary.is_some(),
            canary: args.canary,
        })
    }

    /// The call that uploads a source.
    fn call(&self, name: &str, source: &str, api: &Api) -> Call {
        if self.smoke.is_none() && !self.no_activate {
            let path = api.path(["scripts", name]) + &query(&[("message", self.message.clone())]);
            return Call::api(Method::PUT, path).body("text/plain; charset=utf-8", source.to_owned());
        }
        let mut body = json!({ "source": source, "activate": !self.no_activate });
        if let Some(message) = &self.message {
            body["message"] = json!(message);
        }
        if let Some(smoke) = &self.smoke {
            body["smoke"] = smoke.clone();
        }
        let path = api.path(["scripts", name, "versions"]);
        Call::json(Method::POST, path, &body)
    }
}

/// No sensible smoke call is longer.
const MAX_SMOKE: usize = 1 << 20;

/// An upload that the server took.
pub(crate) struct Uploaded {
    pub(crate) change: Change,
    /// The script as it was, if there was one.
    pub(crate) before: Option<Value>,
    /// The script as it is now.
    pub(crate) script: Value,
    /// The version, if it was made with what only versions can be made with.
    pub(crate) version: Option<Value>,
    /// The canary that it is, if it is one.
    pub(crate) canary: Option<Value>,
}

/// Upload a file.
pub(crate) async fn upload(
    name: &str,
    file: &Path,
    options: &Options,
    api: &Api,
    terminal: &Terminal,
) -> Result<Uploaded, CliError> {
    let source = read_source(file)?;
    // What is there now tells an unchanged script from one with a new version.
    let before = active(name, api).await.map_err(|error| describe(error, file, &source, terminal))?;
    if let (Some(percent), Some(script)) = (options.canary, &before)
        && let Some(canary) = canary::again(name, &SourceHash::of(&source).to_hex(), percent, api).await?
    {
        let script = script.clone();
        return Ok(Uploaded {
            change: Change::Unchanged,
            before,
            script,
            version: None,
            canary: Some(canary),
        });
    }
    let call = options.call(name, &source, api);
    let makes_version = call.method == Method::POST;
    let told = |error| describe(error, file, &source, terminal);
    let (status, made) = api.json(call).await.map_err(told)?;
    let (script, version) = match makes_version {
        false => (made, None),
        true => (active(name, api).await.map_err(told)?.unwrap_or_default(), Some(made)),
    };
    let hash = SourceHash::of(&source).to_hex();
    let same = |before: &Value| {
        text(before, "source_hash") == hash && before.get("version") == script.get("version")
    };
    let change = match (&before, &version) {
        (None, _) => Change::Created,
        (Some(before), None) if same(before) => Change::Unchanged,
        (Some(_), Some(_)) if status == StatusCode::OK => Change::Unchanged,
        (Some(_), Some(version)) if version["active"] != Value::Bool(true) => Change::Stored,
        (Some(_), _) => Change::Updated,
    };
    let canary = match (options.canary, &version) {
        // Without a version that was there before there is nothing to compare it with.
        (Some(percent), Some(version)) if change == Change::Stored => {
            let body = json!({ "version": version["number"], "percent": percent });
            Some(canary::put(name, &body, api).await.map_err(told)?.1)
        }
        _ => None,
    };
    Ok(Uploaded { change, before, script, version, canary })
}

/// The script of that name, if there is one.
pub(super) async fn active(name: &str, api: &Api) -> Result<Option<Value>, CliError> {
    match api.get(api.path(["scripts", name])).await {
        Ok(script) => Ok(Some(script)),
        Err(CliError::Problem(problem)) if problem.code.as_deref() == Some("script-not-found") => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a refusal means for the file.
pub(super) fn describe(error: CliError, file: &Path, source: &str, terminal: &Terminal) -> CliError {
    match error {
        CliError::Problem(problem) if !problem.is_refusal() => {
            let mut diagnostic =
                Diagnostic::of_problem(&problem).in_source(file.display().to_string(), source);
            if problem.code.as_deref() == Some("name-invalid") && !terminal.json_wanted() {
                diagnostic.notes.push(("help", "give the script another name with --name".to_owned()));
            }
            CliError::Diagnostic(Box::new(diagnostic))
        }
        other => other,
    }
}

/// A line about an upload, with what has become more or less. `scripts` is where the script is called.
pub(crate) fn summary(name: &str, uploaded: &Uploaded, scripts: &Http, paint: Paint) -> String {
    let Uploaded { change, before, script, version, canary } = uploaded;
    // What is told is told of the version that is new, whether it is called or not.
    let newest = version.as_ref().unwrap_or(script);
    // A file that is the canary already is no new version, and not the active one either.
    let tried = canary.as_ref().filter(|_| version.is_none());
    let word = format!("{:<9}", change.word());
    let word = if *change == Change::Unchanged { paint.dim(&word) } else { paint.good(&word) };
    let before = before.as_ref().filter(|_| matches!(change, Change::Updated | Change::Stored));
    let compared = |member: &str, shown: fn(u64) -> String| {
        let now = number(newest, member);
        let change = before.and_then(|before| percent(number(before, member), now));
        let change = change.map(|change| {
            let text = format!(" ({change})");
            if change.starts_with('+') { paint.warning(&text) } else { paint.good(&text) }
        });
        format!("{}{}", shown(now), change.unwrap_or_default())
    };
    let mut line = format!(
        "{word}  {}  version {}  {}  image {}  load fuel {}",
        paint.bold(&clean(name)),
        number(tried.unwrap_or(newest), if version.is_some() { "number" } else { "version" }),
        clean(&scripts.url(&text(script, "url"))),
        compared("image_bytes", bytes),
        compared("load_fuel", thousands),
    );
    if let Some(smoke) =
        version.as_ref().and_then(|version| version.get("smoke")).filter(|smoke| !smoke.is_null())
    {
        line += &format!("  smoke {} fuel {}", number(smoke, "status"), thousands(number(smoke, "fuel")));
        if let Some(change) =
            smoke["active_fuel"].as_u64().and_then(|active| percent(active, number(smoke, "fuel")))
        {
            let told = format!(" ({change} against the active version)");
            line += &if change.starts_with('+') { paint.warning(&told) } else { paint.good(&told) };
        }
    }
    if let Some(canary) = canary {
        line += &format!("  {} % of the calls go to it", number(canary, "percent"));
    }
    line
}

/// By how much a number has changed; none when there is nothing to say.
fn percent(before: u64, now: u64) -> Option<String> {
    if before == 0 || before == now {
        return None;
    }
    let change = (now as f64 - before as f64) / before as f64 * 100.0;
    let digits = usize::from(change.abs() < 10.0);
    let shown = format!("{change:+.digits$} %");
    // Too little to show.
    (!matches!(shown.as_str(), "+0.0 %" | "-0.0 %")).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_shown_in_percent() {
        let check = |before, now, expect: Option<&str>| {
            assert_eq!(percent(before, now).as_deref(), expect, "{before} {now}");
        };
        check(1000, 1380, Some("+38 %"));
        check(1000, 500, Some("-50 %"));
        check(1000, 1004, Some("+0.4 %"));
        check(1000, 1000, None);
        check(0, 1000, None);
        check(1_000_000, 1_000_001, None);
        check(1, u64::MAX, Some("+1844674407370955161600 %"));
    }
}
