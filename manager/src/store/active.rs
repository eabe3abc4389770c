//! The active set as the database has it: what the data plane needs to know of apps, scripts, triggers and policies.

use std::collections::HashMap;
use std::sync::Arc;

use picloud_host::active::{ActiveApp, ActiveScript, ActiveSet, Canary};
use picloud_host::call::{AppId, ScriptRef, SourceHash, VersionId};
use picloud_host::limits::{Limits, OwnLimits};
use picloud_host::mqtt::MqttFilter;
use picloud_host::ports::StoreError;
use picloud_host::quota::Quotas;
use picloud_host::route::RouteTable;
use picloud_host::secret::AppSecrets;
use picloud_host::trigger::{
    AppTriggers, KvChanges, KvTrigger, MqttTrigger, Queue, Target, TopicFilter, TopicTrigger, Webhook,
};
use sqlx::FromRow;

use crate::store::app::own;
use crate::store::http_policy;
use crate::store::route;
use crate::store::script::access_of;
use crate::store::secret;
use crate::store::trigger::config::KeyChange;
use crate::store::trigger::{self, Trigger, TriggerConfig, select_trigger};
use crate::store::{Store, failed};

/// An app with one of its scripts, or with none.
#[derive(FromRow)]
struct Row {
    app_id: i64,
    app: String,
    limits: Option<String>,
    quotas: Option<String>,
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
    access: Option<String>,
    canary_version_id: Option<i64>,
    canary_number: Option<i64>,
    canary_source_hash: Option<String>,
    percent: Option<i64>,
}

impl Store {
    /// Every app with its active scripts, its triggers, its policy, its secrets and its configuration, at one moment. `limits` and
    /// `quotas` are the server's: an app can narrow the limits, and has quotas of its own in their place.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn active_set(&self, limits: &Limits, quotas: &Quotas) -> Result<ActiveSet, StoreError> {
        self.read_active_set(limits, quotas).await.map_err(failed)
    }

    fn add_secrets(&self, set: &mut ActiveSet, rows: &[secret::Row]) {
        for rows in rows.chunk_by(|row, next| row.app_id == next.app_id) {
            let secrets = rows.iter().map(|row| (row.name.as_str().into(), self.opened(row)));
            if let Some(app) = set.apps.values_mut().find(|app| app.id.0 == rows[0].app_id) {
                app.secrets = Arc::new(AppSecrets(secrets.collect()));
            }
        }
    }

    async fn read_active_set(&self, limits: &Limits, quotas: &Quotas) -> Result<ActiveSet, sqlx::Error> {
        // One transaction, so that all statements see the same moment.
        let mut tx = self.database.read.begin().await?;
        let scripts: Vec<Row> = sqlx::query_as(SCRIPTS).fetch_all(&mut *tx).await?;
        let triggers: Vec<trigger::Row> = sqlx::query_as(TRIGGERS).fetch_all(&mut *tx).await?;
        let policies: Vec<(i64, String)> = sqlx::query_as(POLICIES).fetch_all(&mut *tx).await?;
        let routes: Vec<route::Row> = sqlx::query_as(route::ALL).fetch_all(&mut *tx).await?;
        let secrets = secret::all(&mut tx).await?;
        let config: Vec<(i64, String, String)> = sqlx::query_as(CONFIG).fetch_all(&mut *tx).await?;
        tx.commit().await?;
        let (mut set, limits, quotas) = (ActiveSet::default(), Arc::new(*limits), Arc::new(*quotas));
        for row in scripts {
            add_script(&mut set, row, &limits, &quotas);
        }
        for trigger in triggers.into_iter().filter_map(trigger::Row::into_trigger) {
            add_trigger(&mut set, trigger);
        }
        for (app, policy) in policies {
            add_policy(&mut set, AppId(app), &policy);
        }
        set.routes = RouteTable::new(routes.into_iter().filter_map(route::Row::into_route).collect());
        self.add_secrets(&mut set, &secrets);
        add_config(&mut set, config);
        Ok(set)
    }
}

const SCRIPTS: &str = "
    select app.id as app_id, app.name as app, app.limits, app.quotas, s.name as script, v.id as version_id, v.number, v.source_hash,
           v.handles_requests, v.handles_events, s.access,
           cv.id as canary_version_id, cv.number as canary_number, cv.source_hash as canary_source_hash, c.percent
    from   app
    left   join script s on s.app_id = app.id
    left   join script_version v on v.id = s.active_version_id
    left   join canary c on c.script_id = s.id and c.ended_ms is null
    left   join script_version cv on cv.id = c.version_id
    where  app.deleted_ms is null";

// Schedules make their events in the control plane.
const TRIGGERS: &str = select_trigger!(
    "where  t.enabled and t.kind in ('kv', 'topic', 'queue', 'mqtt', 'webhook')
    order  by t.id"
);

// Not with the scripts: each of them would repeat it.
const POLICIES: &str = "select id, http_policy from app where http_policy is not null";

const CONFIG: &str = "select app_id, name, value from config_value order by app_id";

fn add_script(set: &mut ActiveSet, row: Row, limits: &Arc<Limits>, quotas: &Arc<Quotas>) {
    let name =
        set.apps.get_key_value(&*row.app).map_or_else(|| row.app.as_str().into(), |(name, _)| name.clone());
    let app = set.apps.entry(name.clone()).or_insert_with(|| ActiveApp {
        id: AppId(row.app_id),
        limits: of_app(&row, limits),
        quotas: quotas_of(&row, quotas),
        http: Arc::default(),
        secrets: Arc::default(),
        config: Arc::default(),
        scripts: HashMap::new(),
    });
    if let Some(active) = row.script.into_active(app.id, name) {
        app.scripts.insert(active.script.script.clone(), active);
    }
}

/// The limits of an app. What is damaged narrows nothing.
fn of_app(row: &Row, limits: &Arc<Limits>) -> Arc<Limits> {
    match own::<OwnLimits>(row.limits.as_deref()) {
        Ok(own) if own.is_empty() => limits.clone(),
        Ok(own) => Arc::new(limits.narrowed(&own)),
        Err(error) => {
            tracing::error!(app = row.app, %error, "the app's limits are damaged in the database");
            limits.clone()
        }
    }
}

/// The quotas of an app. Where its own are damaged it has those of every app.
fn quotas_of(row: &Row, quotas: &Arc<Quotas>) -> Arc<Quotas> {
    match own::<Quotas>(row.quotas.as_deref()) {
        Ok(own) if own == Quotas::default() => quotas.clone(),
        Ok(own) => Arc::new(own.over(quotas)),
        Err(error) => {
            tracing::error!(app = row.app, %error, "the app's quotas are damaged in the database");
            quotas.clone()
        }
    }
}

fn add_trigger(set: &mut ActiveSet, trigger: Trigger) {
    let app =
        set.apps.get_key_value(&*trigger.app).map_or_else(|| (&*trigger.app).into(), |(app, _)| app.clone());
    let triggers = set.triggers.entry(trigger.app_id).or_default();
    if !add_to(triggers, &trigger, app) {
        tracing::error!(app = trigger.app, trigger = trigger.name, "the trigger is damaged in the database");
    }
}

/// A policy that is damaged allows nothing.
fn add_policy(set: &mut ActiveSet, id: AppId, policy: &str) {
    let Some((name, app)) = set.apps.iter_mut().find(|(_, app)| app.id == id) else { return };
    match http_policy::read(Some(policy)) {
        Ok(policy) => app.http = Arc::new(policy),
        Err(error) => {
            tracing::error!(app = %name, %error, "the app's HTTP policy is damaged in the database")
        }
    }
}

/// One statement for all apps: few have many.
fn add_config(set: &mut ActiveSet, rows: Vec<(i64, String, String)>) {
    for rows in rows.chunk_by(|(app, ..), (next, ..)| app == next) {
        let values = rows.iter().map(|(_, name, value)| (name.as_str().into(), value.as_str().into()));
        if let Some(app) = set.apps.values_mut().find(|app| app.id.0 == rows[0].0) {
            app.config = Arc::new(values.collect());
        }
    }
}

/// False when the trigger is nothing that could have been stored.
fn add_to(triggers: &mut AppTriggers, trigger: &Trigger, app: Arc<str>) -> bool {
    let Trigger { id, name, script, config, attempts, .. } = trigger;
    if config.check().is_err() {
        return false;
    }
    let target = Target { id: *id, app, script: script.as_str().into(), attempts: *attempts };
    match config {
        TriggerConfig::Kv { prefix, on } => {
            let on = KvChanges {
                set: on.contains(&KeyChange::Set),
                delete: on.contains(&KeyChange::Delete),
                expire: on.contains(&KeyChange::Expire),
            };
            triggers.kv.push(KvTrigger { target, prefix: prefix.as_str().into(), on });
        }
        TriggerConfig::Topic { topic } => {
            let Some(filter) = TopicFilter::parse(topic) else { return false };
            triggers.topics.push(TopicTrigger { target, filter });
        }
        TriggerConfig::Mqtt { topic, qos } => {
            let Some(filter) = MqttFilter::parse(topic) else { return false };
            triggers.mqtt.push(MqttTrigger { target, filter, qos: *qos });
        }
        TriggerConfig::Queue { concurrency, visibility_ms, backoff_ms } => {
            let (concurrency, visibility_ms, backoff_ms) =
                (usize::from(*concurrency), *visibility_ms, *backoff_ms);
            let queue = Queue { target, concurrency, visibility_ms, backoff_ms };
            triggers.queues.insert(name.as_str().into(), queue);
        }
        TriggerConfig::Webhook(webhook) => {
            let Ok(scheme) = webhook.scheme() else { return false };
            let secret = webhook.secret.as_str().into();
            triggers.webhooks.insert(name.as_str().into(), Webhook { target, secret, scheme });
        }
        TriggerConfig::Schedule { .. } => return false,
    }
    true
}

impl ScriptColumns {
    /// None when the app has no script, or when the row is damaged: one bad row must not take the others along.
    fn into_active(self, app_id: AppId, app: Arc<str>) -> Option<ActiveScript> {
        let script: Arc<str> = self.script?.into();
        let version = |id: Option<i64>, number: Option<i64>, hash: Option<&str>| {
            Some(Arc::new(ScriptRef {
                app_id,
                app: app.clone(),
                script: script.clone(),
                version_id: VersionId(id?),
                version: u32::try_from(number?).ok()?,
                source_hash: parse_hash(hash?)?,
            }))
        };
        let Some(active) = version(self.version_id, self.number, self.source_hash.as_deref()) else {
            tracing::error!(%app, %script, "the script's active version is damaged in the database");
            return None;
        };
        let canary = version(self.canary_version_id, self.canary_number, self.canary_source_hash.as_deref());
        let percent = self.percent.and_then(|percent| u8::try_from(percent).ok());
        let canary = canary.zip(percent).map(|(script, percent)| Canary { script, percent });
        // Nobody may call a script of which it is not known who may.
        let access = match access_of(self.access.as_deref()) {
            Ok(access) => Arc::new(access),
            Err(error) => {
                tracing::error!(%app, %script, %error, "the script's access is damaged in the database");
                return None;
            }
        };
        Some(ActiveScript {
            script: active,
            canary,
            handles_requests: self.handles_requests.unwrap_or_default(),
            handles_events: self.handles_events.unwrap_or_default(),
            access,
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
