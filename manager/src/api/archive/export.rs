//! Puts all of an app into an archive.

use std::fs::File;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use picloud_host::ports::StoreError;
use picloud_host::problem::{Code, Problem};
use serde_json::Value;

use super::document::{
    AppDocument, Config, Counts, FORMAT, FORMAT_VERSION, Manifest, Member, Routes, ScriptDocument, Triggers,
    VersionDocument,
};
use super::line;
use super::pack::Packer;
use crate::api::State;
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::store::archive::{WholeApp, WholeScript};
use crate::store::column::to_u64;
use crate::store::trigger::Trigger;
use crate::store::version::Version;
use crate::store::{Store, failed};

/// How many bytes of lines are handed on together.
const PIECE: usize = 64 << 10;

/// What of an app is not in its archive.
const NOT_IN_IT: [&str; 5] = [
    "values of secrets: set them anew",
    "events that wait, run or are dead",
    "canaries",
    "records of executions, logs and kept answers",
    "tokens and the audit log",
];

/// All of an app, in a file without a name.
pub(super) async fn export(state: &State, app: &Name) -> Result<File, Problem> {
    let now_ms = state.clock.now_ms();
    let whole = state.store.whole_app(app).await?.ok_or_else(|| Problem::new(Code::AppNotFound))?;
    Ok(pack(&state.store, whole, now_ms).await?)
}

async fn pack(store: &Store, mut app: WholeApp, now_ms: u64) -> Result<File, StoreError> {
    let (routes, triggers, config) =
        (routes(&mut app).await?, triggers(&mut app).await?, config(&mut app).await?);
    let (scripts, secrets) = (app.scripts().await?, app.secrets().await?);
    let (keys, bytes) = measure(&mut app, now_ms).await?;
    let mut documents = Vec::with_capacity(scripts.len());
    for script in &scripts {
        documents.push((script, app.versions(script).await?));
    }
    let counts = Counts {
        scripts: scripts.len() as u64,
        versions: documents.iter().map(|(_, versions)| versions.len() as u64).sum(),
        routes: routes.len() as u64,
        triggers: triggers.len() as u64,
        config: config.len() as u64,
        secrets: secrets.len() as u64,
        keys,
    };
    let packer = Packer::start(store.nameless_file("archive").await?, timestamp(now_ms));
    packer.document(Member::Manifest, &manifest(&app, counts, now_ms)).await?;
    packer.document(Member::App, &settings(&mut app).await?).await?;
    packer.document(Member::Routes, &routes).await?;
    packer.document(Member::Triggers, &triggers).await?;
    packer.document(Member::Config, &config).await?;
    packer.document(Member::Secrets, &secrets).await?;
    for (script, versions) in documents {
        pack_script(&packer, &mut app, script, &versions).await?;
    }
    packer.begin(Member::Keys, bytes).await?;
    pack_keys(&packer, &mut app, now_ms).await?;
    packer.finish().await
}

fn manifest(app: &WholeApp, counts: Counts, now_ms: u64) -> Manifest {
    Manifest {
        format: FORMAT.to_owned(),
        format_version: FORMAT_VERSION,
        picloud_version: env!("CARGO_PKG_VERSION").to_owned(),
        app: app.app.name.clone(),
        created_at: timestamp(now_ms),
        counts,
        not_in_it: NOT_IN_IT.map(str::to_owned).into(),
    }
}

async fn settings(app: &mut WholeApp) -> Result<AppDocument, StoreError> {
    let http_policy = app.http_policy().await?;
    let settings = app.app.settings.clone();
    let (description, limits, quotas) = (settings.description, settings.limits, settings.quotas);
    Ok(AppDocument { description, limits, quotas, http_policy })
}

async fn routes(app: &mut WholeApp) -> Result<Routes, StoreError> {
    Ok(app.routes().await?.into_iter().map(|route| (route.name, route.config)).collect())
}

async fn triggers(app: &mut WholeApp) -> Result<Triggers, StoreError> {
    let document = |trigger: Trigger| {
        let config = serde_json::to_value(&trigger.config).map_err(failed)?;
        let Value::Object(mut members) = config else {
            return Err(StoreError("a trigger is no object".to_owned()));
        };
        members.insert("script".to_owned(), trigger.script.into());
        members.insert("attempts".to_owned(), trigger.attempts.into());
        members.insert("enabled".to_owned(), trigger.enabled.into());
        Ok((trigger.name, members))
    };
    app.triggers().await?.into_iter().map(document).collect()
}

async fn config(app: &mut WholeApp) -> Result<Config, StoreError> {
    let values = app.config().await?.into_iter();
    values.map(|value| Ok((value.name, serde_json::from_str(&value.value).map_err(failed)?))).collect()
}

async fn pack_script(
    packer: &Packer,
    app: &mut WholeApp,
    script: &WholeScript,
    versions: &[Version],
) -> Result<(), StoreError> {
    let name = Name::parse(&script.name).map_err(failed)?;
    let document = ScriptDocument {
        access: script.access.clone(),
        active: script.active,
        previous: script.previous.and_then(|number| u32::try_from(number).ok()),
        created_at: timestamp(script.created_ms),
        updated_at: timestamp(script.updated_ms),
        versions: versions.iter().map(version).collect(),
    };
    packer.document(Member::Script(name.clone()), &document).await?;
    for version in versions {
        let source = app.source(version).await?;
        packer.file(Member::Source(name.clone(), version.number), source.into_bytes()).await?;
    }
    Ok(())
}

fn version(version: &Version) -> VersionDocument {
    VersionDocument {
        number: version.number,
        message: version.message.clone(),
        author: version.author.clone(),
        smoke_fuel: version.smoke_fuel.map(to_u64),
        created_at: timestamp(version.created_ms),
    }
}

/// How many keys there are, and how many bytes their lines have: a tar archive says that before what it is about. The moment
/// is the same for both, so nothing changes in between.
async fn measure(app: &mut WholeApp, now_ms: u64) -> Result<(u64, u64), StoreError> {
    let (mut keys, mut bytes, mut lines) = (0, 0, Vec::new());
    let mut entries = app.keys(now_ms);
    while let Some((key, entry)) = entries.try_next().await? {
        lines.clear();
        line::write(&mut lines, &key, &entry).map_err(failed)?;
        keys += 1;
        bytes += lines.len() as u64;
    }
    Ok((keys, bytes))
}

async fn pack_keys(packer: &Packer, app: &mut WholeApp, now_ms: u64) -> Result<(), StoreError> {
    let mut lines = Vec::new();
    let mut entries = app.keys(now_ms);
    while let Some((key, entry)) = entries.try_next().await? {
        let key: Arc<str> = key;
        line::write(&mut lines, &key, &entry).map_err(failed)?;
        if lines.len() >= PIECE {
            packer.data(std::mem::take(&mut lines)).await?;
        }
    }
    packer.data(lines).await
}
