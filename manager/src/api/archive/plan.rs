//! What an archive says of an app, checked as if it had been sent piece by piece. Nothing is stored yet.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use jiff::Timestamp;
use picloud_host::call::AppId;
use picloud_host::limits::Limits;
use picloud_host::outbound::policy::HttpPolicy;
use picloud_host::problem::{Code, Problem};
use picloud_host::quota::Quotas;
use picloud_host::route::RouteConfig;
use serde::de::DeserializeOwned;

use super::document::{
    AppDocument, Config, FORMAT, FORMAT_VERSION, Head, Manifest, Member, Routes, ScriptDocument, Secrets,
    Triggers, VersionDocument,
};
use super::unpack::{invalid, read_whole, wrong};
use crate::api::State;
use crate::api::apps::check_settings;
use crate::api::body::{json, object};
use crate::api::routes::body::check_address;
use crate::api::scripts::check_message;
use crate::api::triggers::body::trigger;
use crate::name::Name;
use crate::store::app::AppSettings;
use crate::store::archive::NewScript;
use crate::store::config::{MAX_CONFIG_BYTES, MAX_CONFIG_VALUES};
use crate::store::secret::MAX_SECRETS;
use crate::store::trigger::NewTrigger;

/// The longest JSON document, in bytes.
const MAX_DOCUMENT: u64 = 16 << 20;

/// All JSON documents together, in bytes: they are in memory at the same time.
const MAX_DOCUMENTS: u64 = 64 << 20;

/// The largest number of a version. No script gets there by uploads.
const MAX_NUMBER: u32 = 1_000_000_000;

/// The longest name of an author, in bytes.
const MAX_AUTHOR: usize = 254;

/// What there is in an archive.
#[derive(Default)]
pub(super) struct Contents {
    documents: BTreeMap<Member, Vec<u8>>,
    bytes: u64,
    sources: BTreeMap<Name, BTreeSet<u32>>,
    has_keys: bool,
}

impl Contents {
    /// Take note of a file, once.
    pub(super) fn add(&mut self, member: Member, size: u64, data: &mut dyn Read) -> Result<(), Problem> {
        let twice = match &member {
            Member::Keys => std::mem::replace(&mut self.has_keys, true),
            Member::Source(script, number) => {
                !self.sources.entry(script.clone()).or_default().insert(*number)
            }
            document => self.documents.contains_key(document),
        };
        if twice {
            return Err(wrong(&member, "it is there twice"));
        }
        if matches!(member, Member::Keys | Member::Source(..)) {
            return Ok(());
        }
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > MAX_DOCUMENTS {
            return Err(invalid(format!(
                "Its JSON documents have more than {MAX_DOCUMENTS} bytes together."
            )));
        }
        let text = read_whole(&member, size, MAX_DOCUMENT, data)?;
        self.documents.insert(member, text);
        Ok(())
    }

    fn document<T: DeserializeOwned>(&self, member: &Member) -> Result<T, Problem> {
        let text = self.documents.get(member).ok_or_else(|| wrong(member, "it is missing"))?;
        serde_json::from_slice(text).map_err(|error| wrong(member, error))
    }

    /// The same, of one that has members of fixed names.
    fn object<T: DeserializeOwned>(&self, member: &Member) -> Result<T, Problem> {
        let text = self.documents.get(member).ok_or_else(|| wrong(member, "it is missing"))?;
        object(text).map_err(|error| wrong(member, error))
    }
}

/// A script with those of its versions that are kept.
#[derive(Debug)]
pub(super) struct PlannedScript {
    pub(super) script: NewScript,
    pub(super) versions: BTreeMap<u32, VersionDocument>,
}

/// What is to be made.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) settings: AppSettings,
    pub(super) http_policy: HttpPolicy,
    pub(super) scripts: Vec<PlannedScript>,
    /// Each is understood when it is known for which app.
    pub(super) routes: Vec<(Name, RouteConfig)>,
    pub(super) triggers: Vec<(Name, NewTrigger)>,
    pub(super) config: Vec<(Name, String)>,
    /// What has to be set anew.
    pub(super) secrets: Vec<Name>,
    /// The limits that will apply to the app.
    pub(super) limits: Limits,
    /// The quotas that will apply to the app.
    pub(super) quotas: Quotas,
}

impl Plan {
    /// What is to be made of an archive with these contents, under a name.
    ///
    /// # Errors
    ///
    /// `archive-invalid`.
    pub(super) fn new(state: &State, name: &Name, contents: &Contents) -> Result<Self, Problem> {
        let manifest = manifest(contents)?;
        if !contents.has_keys {
            return Err(wrong(&Member::Keys, "it is missing"));
        }
        let app: AppDocument = contents.object(&Member::App)?;
        let settings = AppSettings { description: app.description, limits: app.limits, quotas: app.quotas };
        check_settings(&state.limits, &settings).map_err(|why| wrong(&Member::App, why))?;
        let policy = app.http_policy.normalised().map_err(|why| wrong(&Member::App, why))?;
        let limits = state.limits.narrowed(&settings.limits);
        let quotas = settings.quotas.over(state.publisher.quotas());
        Ok(Self {
            http_policy: policy,
            scripts: scripts(contents, quotas.versions)?,
            routes: routes(contents, &manifest.app, name)?,
            triggers: triggers(contents, &limits, state.clock.now_ms())?,
            config: config(contents)?,
            secrets: secrets(contents)?,
            settings,
            limits,
            quotas,
        })
    }
}

/// A newer format may have anything but the head, and is refused as such.
fn manifest(contents: &Contents) -> Result<Manifest, Problem> {
    let member = Member::Manifest;
    let head: Head = contents.object(&member)?;
    if head.format != FORMAT {
        return Err(wrong(&member, format!("the format must be {FORMAT:?}")));
    }
    if head.format_version > FORMAT_VERSION {
        return Err(invalid(format!(
            "The archive is of format version {} and was made by PiCloud {:.40}. This server reads versions up to \
             {FORMAT_VERSION}: bring it up to date first.",
            head.format_version, head.picloud_version
        )));
    }
    if head.format_version == 0 {
        return Err(wrong(&member, "format_version must be 1 or more"));
    }
    let manifest: Manifest = contents.object(&member)?;
    Name::parse(&manifest.app).map_err(|error| wrong(&member, format!("app: {error}")))?;
    Ok(manifest)
}

fn scripts(contents: &Contents, keep: Option<u64>) -> Result<Vec<PlannedScript>, Problem> {
    let mut scripts = Vec::new();
    for member in contents.documents.keys() {
        let Member::Script(name) = member else { continue };
        let document: ScriptDocument = contents.object(member)?;
        let none = BTreeSet::new();
        let sources = contents.sources.get(name).unwrap_or(&none);
        scripts.push(script(name, document, sources, keep).map_err(|why| wrong(member, why))?);
    }
    let orphan = contents
        .sources
        .iter()
        .find(|(name, _)| !contents.documents.contains_key(&Member::Script((*name).clone())));
    match orphan {
        Some((name, _)) => Err(wrong(&Member::Script(name.clone()), "it is missing")),
        None => Ok(scripts),
    }
}

fn script(
    name: &Name,
    document: ScriptDocument,
    sources: &BTreeSet<u32>,
    keep: Option<u64>,
) -> Result<PlannedScript, String> {
    let ScriptDocument { access, active, previous, created_at, updated_at, versions } = document;
    access.check()?;
    let mut known = BTreeMap::new();
    for version in versions {
        check_version(&version).map_err(|why| format!("version {}: {why}", version.number))?;
        let number = version.number;
        if known.insert(number, version).is_some() {
            return Err(format!("version {number} is there twice"));
        }
    }
    if let Some(number) = known.keys().find(|number| !sources.contains(number)) {
        return Err(format!("version {number} has no source"));
    }
    if let Some(number) = sources.iter().find(|number| !known.contains_key(number)) {
        return Err(format!("version {number} has a source and is not named"));
    }
    if !known.contains_key(&active) {
        return Err("active must be the number of a version".to_owned());
    }
    if previous.is_some_and(|previous| !known.contains_key(&previous)) {
        return Err("previous must be the number of a version".to_owned());
    }
    // As at an upload: the oldest go, but never the active one.
    let most = keep.and_then(|keep| usize::try_from(keep).ok()).unwrap_or(usize::MAX);
    let oldest = known.keys().rev().take(most).next_back().copied().unwrap_or(0);
    known.retain(|number, _| *number >= oldest || *number == active);
    let previous = previous.filter(|number| known.contains_key(number));
    let (created_ms, updated_ms) = (ms(created_at)?, ms(updated_at)?);
    let script = NewScript { name: name.clone(), access, active, previous, created_ms, updated_ms };
    Ok(PlannedScript { script, versions: known })
}

fn check_version(version: &VersionDocument) -> Result<(), String> {
    // There has to be room for those to come.
    if version.number > MAX_NUMBER {
        return Err(format!("the number must be {MAX_NUMBER} at most"));
    }
    check_message(version.message.clone()).map_err(|_| "the message must be text of 1000 bytes at most")?;
    let author = version.author.as_deref().unwrap_or_default();
    if author.len() > MAX_AUTHOR || author.chars().any(char::is_control) {
        return Err(format!("the author must be one line of {MAX_AUTHOR} bytes at most"));
    }
    ms(version.created_at).map(drop)
}

/// A moment as the database has it.
pub(super) fn ms(at: Timestamp) -> Result<u64, String> {
    u64::try_from(at.as_millisecond()).map_err(|_| "a time is before 1970".to_owned())
}

/// The routes. Paths that begin with the name of the app belong to it, and follow its new name.
fn routes(contents: &Contents, old: &str, new: &Name) -> Result<Vec<(Name, RouteConfig)>, Problem> {
    let member = Member::Routes;
    let routes: Routes = contents.document(&member)?;
    let renamed = |path: &str| {
        let rest = path.strip_prefix('/')?.strip_prefix(old)?;
        (rest.is_empty() || rest.starts_with('/')).then(|| format!("/{new}{rest}"))
    };
    let route = |(name, mut config): (String, RouteConfig)| {
        let of = |why: String| wrong(&member, format!("{name}: {why}"));
        let parsed = Name::parse(&name).map_err(|error| of(error.to_string()))?;
        if let Some(path) = renamed(&config.path) {
            config.path = path;
        }
        if let Some(redirect) = &mut config.redirect
            && let Some(location) = renamed(&redirect.location)
        {
            redirect.location = location;
        }
        // Whose it is makes no difference to whether it is understood.
        let understood = config.understood(AppId(0), new.as_str(), &name).map_err(of)?;
        check_address(&understood).map_err(of)?;
        Ok((parsed, config))
    };
    routes.into_iter().map(route).collect()
}

fn triggers(contents: &Contents, limits: &Limits, now_ms: u64) -> Result<Vec<(Name, NewTrigger)>, Problem> {
    let member = Member::Triggers;
    let triggers: Triggers = contents.document(&member)?;
    let planned = triggers.into_iter().map(|(name, members)| {
        let of = |why: String| wrong(&member, format!("{name}: {why}"));
        let parsed = Name::parse(&name).map_err(|error| of(error.to_string()))?;
        let planned = trigger(members, limits.kv_key_bytes, now_ms).map_err(of)?;
        Ok((parsed, planned))
    });
    planned.collect()
}

fn config(contents: &Contents) -> Result<Vec<(Name, String)>, Problem> {
    let member = Member::Config;
    let config: Config = contents.document(&member)?;
    if config.len() as i64 > MAX_CONFIG_VALUES {
        return Err(wrong(&member, format!("an app can have {MAX_CONFIG_VALUES} values at most")));
    }
    let planned = config.into_iter().map(|(name, value)| {
        let of = |why: String| wrong(&member, format!("{name}: {why}"));
        let parsed = Name::parse(&name).map_err(|error| of(error.to_string()))?;
        let text = json(value.get().as_bytes(), Code::ConfigInvalid);
        let text = text.map_err(|_| of("it is no value that JSON can have".to_owned()))?;
        if text.len() as u64 > MAX_CONFIG_BYTES {
            return Err(of(format!("it has more than {MAX_CONFIG_BYTES} bytes")));
        }
        Ok((parsed, text))
    });
    planned.collect()
}

fn secrets(contents: &Contents) -> Result<Vec<Name>, Problem> {
    let member = Member::Secrets;
    let names: Secrets = contents.document(&member)?;
    if names.len() as i64 > MAX_SECRETS {
        return Err(wrong(&member, format!("an app can have {MAX_SECRETS} secrets at most")));
    }
    let names: Result<BTreeSet<Name>, _> = names.iter().map(|name| Name::parse(name)).collect();
    Ok(names.map_err(|error| wrong(&member, error))?.into_iter().collect())
}
