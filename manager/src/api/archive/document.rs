//! What is in an archive: which files there are, and what those of them say that are JSON documents.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use picloud_host::limits::OwnLimits;
use picloud_host::outbound::policy::HttpPolicy;
use picloud_host::quota::Quotas;
use picloud_host::route::{Access, RouteConfig};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::name::Name;

/// What tells an archive of an app from other archives.
pub(super) const FORMAT: &str = "picloud-app";

/// The format that is written, and the newest that is read.
pub(super) const FORMAT_VERSION: u32 = 1;

/// A file of an archive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Member {
    /// What it is an archive of.
    Manifest,
    /// Settings of the app.
    App,
    /// Its routes, by name.
    Routes,
    /// Its triggers, by name.
    Triggers,
    /// Its configuration values, by name.
    Config,
    /// The names of its secrets.
    Secrets,
    /// Its keys and values, one a line.
    Keys,
    /// A script with what there is to know of its versions.
    Script(Name),
    /// The source of a version.
    Source(Name, u32),
}

impl Member {
    /// Those that every archive has, but for the keys all JSON documents.
    pub(super) const ALWAYS: [Self; 7] =
        [Self::Manifest, Self::App, Self::Routes, Self::Triggers, Self::Config, Self::Secrets, Self::Keys];

    /// What a file of this name is; none when no archive has such a file. A name is compared and never used as a path.
    pub(super) fn parse(path: &str) -> Option<Self> {
        if let Some(found) = Self::ALWAYS.into_iter().find(|member| member.to_string() == path) {
            return Some(found);
        }
        let (script, file) = path.strip_prefix("scripts/")?.split_once('/')?;
        let script = Name::parse(script).ok()?;
        let member = match file.strip_suffix(".rhai") {
            Some(number) => Self::Source(script, number.parse().ok().filter(|number| *number > 0)?),
            None => Self::Script(script),
        };
        // There is one way to write each: no leading zeros, no other file beside them.
        (member.to_string() == path).then_some(member)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manifest => f.write_str("manifest.json"),
            Self::App => f.write_str("app.json"),
            Self::Routes => f.write_str("routes.json"),
            Self::Triggers => f.write_str("triggers.json"),
            Self::Config => f.write_str("config.json"),
            Self::Secrets => f.write_str("secrets.json"),
            Self::Keys => f.write_str("kv.ndjson"),
            Self::Script(script) => write!(f, "scripts/{script}/script.json"),
            Self::Source(script, number) => write!(f, "scripts/{script}/{number}.rhai"),
        }
    }
}

/// `manifest.json`. Only the format and the name of the app are read again.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: String,
    pub(super) format_version: u32,
    pub(super) picloud_version: String,
    pub(super) app: String,
    pub(super) created_at: Timestamp,
    pub(super) counts: Counts,
    /// What of the app is not in the archive, for whoever unpacks it.
    pub(super) not_in_it: Vec<String>,
}

/// What of a manifest is the same in every version of the format.
#[derive(Debug, Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    pub(super) format: String,
    #[serde(default)]
    pub(super) format_version: u32,
    #[serde(default)]
    pub(super) picloud_version: String,
}

/// How much is in the archive.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counts {
    pub(super) scripts: u64,
    pub(super) versions: u64,
    pub(super) routes: u64,
    pub(super) triggers: u64,
    pub(super) config: u64,
    pub(super) secrets: u64,
    pub(super) keys: u64,
}

/// `app.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AppDocument {
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) limits: OwnLimits,
    #[serde(default)]
    pub(super) quotas: Quotas,
    #[serde(default)]
    pub(super) http_policy: HttpPolicy,
}

/// `scripts/NAME/script.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScriptDocument {
    #[serde(default)]
    pub(super) access: Access,
    /// The number of the version that is called.
    pub(super) active: u32,
    /// The number of the one before it.
    #[serde(default)]
    pub(super) previous: Option<u32>,
    pub(super) created_at: Timestamp,
    pub(super) updated_at: Timestamp,
    /// By number.
    pub(super) versions: Vec<VersionDocument>,
}

/// What there is to know of a version beside its source.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct VersionDocument {
    pub(super) number: u32,
    #[serde(default)]
    pub(super) message: Option<String>,
    #[serde(default)]
    pub(super) author: Option<String>,
    #[serde(default)]
    pub(super) smoke_fuel: Option<u64>,
    pub(super) created_at: Timestamp,
}

/// `routes.json`: what is sent to make each, by name.
pub(super) type Routes = BTreeMap<String, RouteConfig>;

/// `triggers.json`: what is sent to make each, by name.
pub(super) type Triggers = BTreeMap<String, Map<String, Value>>;

/// `config.json`: values as they were written, by name.
pub(super) type Config = BTreeMap<String, Box<RawValue>>;

/// `secrets.json`: names.
pub(super) type Secrets = Vec<String>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_has_one_name_and_is_found_by_it() {
        let script = Name::parse("a-b_1").unwrap();
        let more = [Member::Script(script.clone()), Member::Source(script, u32::MAX)];
        for member in Member::ALWAYS.into_iter().chain(more) {
            assert_eq!(Member::parse(&member.to_string()), Some(member));
        }
    }

    #[test]
    fn no_other_name_is_a_file_of_an_archive() {
        for path in [
            "",
            "/app.json",
            "App.json",
            "app.json/",
            "scripts",
            "scripts/a",
            "scripts/a/",
            "scripts/a/script.json/x",
            "scripts/../script.json",
            "scripts/A/script.json",
            "scripts/a/0.rhai",
            "scripts/a/01.rhai",
            "scripts/a/+1.rhai",
            "scripts/a/-1.rhai",
            "scripts/a/4294967296.rhai",
            "scripts/a/x.rhai",
            "scripts/a/1.rhai.rhai",
            "../../etc/passwd",
            "scripts/a/../../app.json",
        ] {
            assert_eq!(Member::parse(path), None, "{path}");
        }
    }
}
