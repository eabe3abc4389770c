//! The active set as the database has it: what the data plane needs to know of apps and scripts.

use std::collections::HashMap;
use std::sync::Arc;

use picloud_host::active::{ActiveApp, ActiveScript, ActiveSet};
use picloud_host::call::{AppId, ScriptRef, SourceHash, VersionId};
use picloud_host::limits::Limits;
use picloud_host::ports::StoreError;
use sqlx::FromRow;

use crate::store::{Store, failed};

/// An app with one of its scripts, or with none.
#[derive(FromRow)]
struct Row {
    app_id: i64,
    app: String,
    #[sqlx(flatten)]
    script: ScriptColumns,
}

#[derive(FromRow)]
struct ScriptColumns {
    script: Option<String>,
    version_id: Option<i64>,
    number: Option<i64>,
    source_hash: Option<String>,
    handles_requests: Option<bool>,
    handles_events: Option<bool>,
}

impl Store {
    /// Every app with its active scripts, at one moment, with the same limits for each app.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn active_set(&self, limits: &Limits) -> Result<ActiveSet, StoreError> {
        // One statement, so that all of it is from one moment.
        let rows: Vec<Row> = sqlx::query_as(
            "select app.id as app_id, app.name as app, s.name as script, v.id as version_id, v.number, \
                    v.source_hash, v.handles_requests, v.handles_events \
             from app \
             left join script s on s.app_id = app.id \
             left join script_version v on v.id = s.active_version_id",
        )
        .fetch_all(&self.database.read)
        .await
        .map_err(failed)?;
        let mut apps: HashMap<Arc<str>, ActiveApp> = HashMap::new();
        for row in rows {
            let name = apps.get_key_value(&*row.app).map_or_else(|| row.app.into(), |(name, _)| name.clone());
            let app = apps.entry(name.clone()).or_insert_with(|| ActiveApp {
                id: AppId(row.app_id),
                limits: *limits,
                scripts: HashMap::new(),
            });
            if let Some(active) = row.script.into_active(app.id, name) {
                app.scripts.insert(active.script.script.clone(), active);
            }
        }
        Ok(ActiveSet { apps })
    }
}

impl ScriptColumns {
    /// None when the app has no script, or when the row is damaged: one bad row must not take the others along.
    fn into_active(self, app_id: AppId, app: Arc<str>) -> Option<ActiveScript> {
        let script: Arc<str> = self.script?.into();
        let source_hash = self.source_hash.as_deref().and_then(parse_hash);
        let version = self.number.and_then(|number| u32::try_from(number).ok());
        let (Some(version_id), Some(version), Some(source_hash)) = (self.version_id, version, source_hash)
        else {
            tracing::error!(%app, %script, "the script's active version is damaged in the database");
            return None;
        };
        let version_id = VersionId(version_id);
        Some(ActiveScript {
            script: Arc::new(ScriptRef { app_id, app, script, version_id, version, source_hash }),
            handles_requests: self.handles_requests.unwrap_or_default(),
            handles_events: self.handles_events.unwrap_or_default(),
        })
    }
}

fn parse_hash(hex: &str) -> Option<SourceHash> {
    let mut hash = [0; 32];
    if hex.len() != 2 * hash.len() || !hex.is_ascii() {
        return None;
    }
    for (byte, digits) in hash.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(SourceHash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_survive_their_text() {
        let hash = SourceHash::of("fn handle(req) { 1 }");
        assert_eq!(parse_hash(&hash.to_hex()), Some(hash));
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for text in ["", "00", &"g".repeat(64), &"é".repeat(32), &"0".repeat(65)] {
            assert_eq!(parse_hash(text), None, "{text}");
        }
    }
}
