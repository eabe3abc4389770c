//! The active set: which script version each name leads to. An immutable snapshot that is swapped whole, so that the
//! hot path reads no database and takes no lock, and a call keeps the version it started with.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use uuid::Uuid;

use crate::call::{AppId, EventCall, ScriptRef};
use crate::event::{Cause, Lane, NewEvent};
use crate::limits::Limits;
use crate::outbound::policy::HttpPolicy;
use crate::quota::Quotas;
use crate::route::{Access, RouteTable};
use crate::secret::{AppConfig, AppSecrets};
use crate::trigger::{AppTriggers, DEFAULT_ATTEMPTS};

/// Every app with its active scripts, at one moment.
#[derive(Debug, Default)]
pub struct ActiveSet {
    /// By name.
    pub apps: HashMap<Arc<str>, ActiveApp>,
    /// The triggers of the apps that have any.
    pub triggers: HashMap<AppId, AppTriggers>,
    /// The routes of all apps.
    pub routes: RouteTable,
    /// The names of the apps by their identities: made when the first is looked for, to be left as it is until then.
    pub names: OnceLock<HashMap<AppId, Arc<str>>>,
}

impl ActiveSet {
    /// An event for a queue of an app, or for a script if there is no queue of this name; none if there is neither.
    #[must_use]
    pub fn event_for(
        &self,
        app: AppId,
        target: &str,
        call: EventCall,
        cause: Cause,
        now_ms: u64,
    ) -> Option<NewEvent> {
        let queue = self.triggers.get(&app).and_then(|triggers| triggers.queues.get_key_value(target));
        let Some((name, queue)) = queue else {
            return self.event_for_script(app, target, call, cause, now_ms);
        };
        let call = EventCall { subject: Some(target.to_owned()), ..call };
        Some(queue.target.event(app, Lane::Queue(name.clone()), call, cause, now_ms))
    }

    /// An event for a script of an app; none if there is none of this name.
    #[must_use]
    pub fn event_for_script(
        &self,
        app: AppId,
        script: &str,
        call: EventCall,
        cause: Cause,
        now_ms: u64,
    ) -> Option<NewEvent> {
        let (name, _) = self.app(app)?.scripts.get_key_value(script)?;
        Some(NewEvent {
            id: Uuid::now_v7(),
            app,
            trigger: None,
            lane: Lane::Script(name.clone()),
            script: name.clone(),
            call,
            due_ms: now_ms,
            max_attempts: DEFAULT_ATTEMPTS,
            dedupe_key: None,
            cause,
        })
    }

    /// An app by its identity.
    #[must_use]
    pub fn app(&self, id: AppId) -> Option<&ActiveApp> {
        let names = || self.apps.iter().map(|(name, app)| (app.id, name.clone())).collect();
        self.apps.get(self.names.get_or_init(names).get(&id)?)
    }
}

/// An app in the active set.
#[derive(Debug)]
pub struct ActiveApp {
    /// Its identity in storage.
    pub id: AppId,
    /// The limits of its calls.
    pub limits: Arc<Limits>,
    /// What it may have of what all apps share. None is no bound.
    pub quotas: Arc<Quotas>,
    /// Which requests its scripts may send.
    pub http: Arc<HttpPolicy>,
    /// What only its scripts can read.
    pub secrets: Arc<AppSecrets>,
    /// What was set for its scripts.
    pub config: Arc<AppConfig>,
    /// By name.
    pub scripts: HashMap<Arc<str>, ActiveScript>,
}

/// A script in the active set.
#[derive(Debug, Clone)]
pub struct ActiveScript {
    /// The version that is called.
    pub script: Arc<ScriptRef>,
    /// Whether it answers HTTP requests.
    pub handles_requests: bool,
    /// Whether it handles events.
    pub handles_events: bool,
    /// Who has to be there for a request to be taken.
    pub access: Arc<Access>,
}

/// The current active set, shared between the control plane, which publishes, and the data plane, which reads.
#[derive(Debug, Default)]
pub struct Active {
    set: ArcSwap<ActiveSet>,
    changed: watch::Sender<()>,
}

impl Active {
    /// Replace the set. Calls under way are not touched.
    pub fn publish(&self, set: ActiveSet) {
        self.set.store(Arc::new(set));
        self.changed.send_replace(());
    }

    /// The set of this moment.
    pub fn current(&self) -> arc_swap::Guard<Arc<ActiveSet>> {
        self.set.load()
    }

    /// Tells when there is another set.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
