//! Puts an app together that nobody sees yet: loads its versions, and writes its keys through the sequencer, which numbers
//! them in the order of all commits and knows when the next one expires.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read};
use std::sync::Arc;

use picloud_host::call::AppId;
use picloud_host::event::Cause;
use picloud_host::limits::Limits;
use picloud_host::loader::{Load, LoadError};
use picloud_host::ports::{KvWrite, StoreError, Transaction};
use picloud_host::problem::Problem;
use picloud_host::quota::StorageQuota;
use serde::Serialize;
use tokio::sync::mpsc;
use utoipa::ToSchema;

use super::document::{Member, VersionDocument};
use super::line;
use super::plan::{Plan, PlannedScript, ms};
use super::unpack::{read_whole, unreadable, walk, wrong};
use crate::api::State;
use crate::api::problems::of_load_failure;
use crate::name::Name;
use crate::store::archive::{NewScript, NewVersion};
use crate::store::failed;

/// How many items are read before those that came first are stored.
const WAITING: usize = 2;

/// Keys and values, or sources, of one transaction, in bytes; what goes over it is the last.
const BATCH_BYTES: usize = 1 << 20;

/// Keys, versions or scripts of one transaction: others write in between.
const BATCH: usize = 512;

/// What was loaded.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) versions: u64,
    pub(super) keys: u64,
    pub(super) expired_keys: u64,
    pub(super) left_out: Vec<LeftOut>,
}

/// A version that does not load here.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LeftOutVersion)]
pub(crate) struct LeftOut {
    /// The script.
    script: String,
    /// The number of the version.
    number: u32,
    /// The code of the problem that it would be to upload it.
    #[schema(example = "compile-failed")]
    code: &'static str,
    /// What is wrong with it.
    detail: String,
}

/// Keys with what is to be written of them.
type Keys = Vec<(Arc<str>, Option<KvWrite>)>;

enum Item {
    Source(Name, u32, String),
    Keys(Keys),
}

/// Load everything that can be as large as it likes.
///
/// # Errors
///
/// `archive-invalid`, `kv-quota-exceeded`, those of loading an active version; `storage-unavailable`.
pub(super) async fn load(state: &State, file: File, plan: &Plan, app: AppId) -> Result<Loaded, Problem> {
    let new: Vec<NewScript> = plan.scripts.iter().map(|planned| planned.script.clone()).collect();
    let mut ids = Vec::with_capacity(new.len());
    for some in new.chunks(BATCH) {
        ids.extend(state.store.add_scripts(app, some).await?);
    }
    let scripts =
        plan.scripts.iter().zip(&ids).map(|(planned, id)| (planned.script.name.clone(), (*id, planned)));
    let mut loading = Loading {
        state,
        limits: &plan.limits,
        app,
        scripts: scripts.collect(),
        batch: Vec::new(),
        bytes: 0,
        loaded: Loaded::default(),
    };
    let (sender, mut items) = mpsc::channel(WAITING);
    let mut reader = Reader::new(plan, state.clock.now_ms(), sender);
    let reading = tokio::task::spawn_blocking(move || reader.read(file));
    while let Some(item) = items.recv().await {
        // If it cannot be stored, nobody takes the next one either, and the reader ends.
        loading.take(item).await?;
    }
    let (keys, expired_keys) = reading.await.map_err(failed)??;
    loading.flush().await?;
    let loaded = loading.loaded;
    let scripts: Vec<(i64, NewScript)> = ids.into_iter().zip(new).collect();
    for some in scripts.chunks(BATCH) {
        state.store.activate_all(some).await?;
    }
    Ok(Loaded { keys, expired_keys, ..loaded })
}

/// Stores what is read.
struct Loading<'a> {
    state: &'a State,
    limits: &'a Limits,
    app: AppId,
    scripts: BTreeMap<Name, (i64, &'a PlannedScript)>,
    batch: Vec<NewVersion>,
    bytes: usize,
    loaded: Loaded,
}

impl Loading<'_> {
    async fn take(&mut self, item: Item) -> Result<(), Problem> {
        match item {
            Item::Source(script, number, source) => self.version(&script, number, source).await,
            Item::Keys(keys) => self.keys(keys).await,
        }
    }

    async fn version(&mut self, name: &Name, number: u32, source: String) -> Result<(), Problem> {
        let Some((script_id, planned)) = self.scripts.get(name).copied() else { return Ok(()) };
        let Some(version) = planned.versions.get(&number) else { return Ok(()) };
        let load = Load { app: self.app, source: &source, limits: self.limits, quotas: None };
        let report = match self.state.loader.load(load).await {
            Ok(report) => report,
            Err(LoadError::Quota(exceeded)) => return Err(exceeded.into()),
            Err(LoadError::Failed(mut failure)) => {
                let detail = failure.message.clone();
                failure.message = format!("{}: {detail}", Member::Source(name.clone(), number));
                let code = failure.code.as_str();
                let problem = of_load_failure(failure);
                if number == planned.script.active || problem.status() >= 500 {
                    return Err(problem);
                }
                // Nobody can go back to what does not run here: that is no reason to have nothing of the app.
                self.loaded.left_out.push(LeftOut { script: name.to_string(), number, code, detail });
                return Ok(());
            }
        };
        let VersionDocument { message, author, smoke_fuel, created_at, .. } = version.clone();
        let created_ms = ms(created_at).unwrap_or(0);
        self.bytes += source.len();
        self.loaded.versions += 1;
        let message = message.filter(|message| !message.is_empty());
        let version =
            NewVersion { script_id, number, source, report, message, author, smoke_fuel, created_ms };
        self.batch.push(version);
        if self.bytes >= BATCH_BYTES || self.batch.len() >= BATCH {
            self.flush().await?;
        }
        Ok(())
    }

    /// Store the versions that were loaded.
    async fn flush(&mut self) -> Result<(), StoreError> {
        self.state.store.add_versions(&self.batch).await?;
        self.batch.clear();
        self.bytes = 0;
        Ok(())
    }

    async fn keys(&mut self, keys: Keys) -> Result<(), Problem> {
        let kv = &self.state.kv;
        let mut transaction = Transaction::new(self.app, kv.begin(), Cause::outside());
        transaction.writes = keys;
        // It has read nothing that could have changed, and of an app that nobody knows no quota is known either.
        kv.commit(transaction).await.map_err(|error| StoreError(error.to_string()))?;
        Ok(())
    }
}

/// Reads what is to be stored, on a thread of its own.
struct Reader {
    /// The versions that are kept of each script.
    kept: BTreeMap<Name, Vec<u32>>,
    limits: Limits,
    /// The quota `kv_bytes`.
    most: Option<u64>,
    now_ms: u64,
    items: mpsc::Sender<Item>,
    keys: u64,
    expired: u64,
}

impl Reader {
    fn new(plan: &Plan, now_ms: u64, items: mpsc::Sender<Item>) -> Self {
        let kept = plan
            .scripts
            .iter()
            .map(|planned| (planned.script.name.clone(), planned.versions.keys().copied().collect()));
        let (limits, most) = (plan.limits, plan.quotas.kv_bytes);
        Self { kept: kept.collect(), limits, most, now_ms, items, keys: 0, expired: 0 }
    }

    /// Returns how many keys there are, and how many have expired.
    fn read(&mut self, mut file: File) -> Result<(u64, u64), Problem> {
        walk(&mut file, |member, size, data| match &member {
            Member::Source(script, number) => {
                if self.kept.get(script).is_none_or(|kept| kept.binary_search(number).is_err()) {
                    return Ok(());
                }
                let source = read_whole(&member, size, self.limits.source_bytes, data)?;
                let source = String::from_utf8(source).map_err(|_| wrong(&member, "it is not UTF-8"))?;
                self.send(Item::Source(script.clone(), *number, source))
            }
            Member::Keys => self.lines(size, data),
            _ => Ok(()),
        })?;
        Ok((self.keys, self.expired))
    }

    fn send(&self, item: Item) -> Result<(), Problem> {
        let sent = self.items.blocking_send(item);
        // Whoever takes no more has said why.
        Ok(sent.map_err(|_| StoreError("what was read is not taken".to_owned()))?)
    }

    fn lines(&mut self, size: u64, data: &mut dyn Read) -> Result<(), Problem> {
        let longest = line::longest(&self.limits);
        let (mut text, mut line, mut number, mut read) = (BufReader::new(data), Vec::new(), 0_u64, 0);
        let (mut last, mut stored): (Option<Arc<str>>, u64) = (None, 0);
        let (mut batch, mut bytes) = (Keys::new(), 0);
        loop {
            line.clear();
            number += 1;
            let of = |why: &str| wrong(&Member::Keys, format!("line {number}: {why}"));
            let count =
                (&mut text).take(longest + 1).read_until(b'\n', &mut line).map_err(unreadable)? as u64;
            if count > longest {
                return Err(of("it is longer than any key with its value may be"));
            }
            read += count;
            if count == 0 {
                break;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            let (key, write) = line::read(&line, &self.limits).map_err(|why| of(&why))?;
            if last.is_some_and(|last| *last >= *key) {
                return Err(of("keys must be in the order of their bytes, and each there once"));
            }
            last = Some(Arc::clone(&key));
            if write.expires_ms.is_some_and(|at| at <= self.now_ms) {
                self.expired += 1;
                continue;
            }
            let length = key.len() + write.value.len();
            stored += length as u64;
            if let Some(most) = self.most.filter(|most| stored > *most) {
                return Err(StorageQuota::KvBytes(most).into());
            }
            self.keys += 1;
            bytes += length;
            batch.push((key, Some(write)));
            if bytes >= BATCH_BYTES || batch.len() >= BATCH {
                bytes = 0;
                self.send(Item::Keys(std::mem::take(&mut batch)))?;
            }
        }
        if read != size {
            return Err(wrong(&Member::Keys, "it ends early"));
        }
        if batch.is_empty() { Ok(()) } else { self.send(Item::Keys(batch)) }
    }
}
