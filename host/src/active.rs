//! The active set: which script version each name leads to. An immutable snapshot that is swapped whole, so that the
//! hot path reads no database and takes no lock, and a call keeps the version it started with.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, LazyLock, OnceLock};

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
    /// Another version that some of the calls go to, to see how it does.
    pub canary: Option<Canary>,
    /// Whether it answers HTTP requests.
    pub handles_requests: bool,
    /// Whether it handles events.
    pub handles_events: bool,
    /// Who has to be there for a request to be taken.
    pub access: Arc<Access>,
}

/// A version that some of the calls of a script go to. It handles whatever the active one does.
#[derive(Debug, Clone)]
pub struct Canary {
    /// The version.
    pub script: Arc<ScriptRef>,
    /// How many of a hundred calls.
    pub percent: u8,
}

impl ActiveScript {
    /// The version that the call with this id goes to. The same one each time for the same id, as long as the server runs; over
    /// many of them as many go to the canary as should. Callers get to know the ids of their calls before they run, and must not
    /// know which version that will be: they could cancel what does not suit them, and so decide how the canary does.
    #[must_use]
    pub fn version_for(&self, execution_id: Uuid) -> &Arc<ScriptRef> {
        static SECRET: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let Some(canary) = &self.canary else { return &self.script };
        let hash = SECRET.hash_one((canary.script.version_id, execution_id));
        // A number below 100.
        let part = (u128::from(hash) * 100) >> 64;
        if part < u128::from(canary.percent) { &canary.script } else { &self.script }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::{SourceHash, VersionId};

    fn version(number: u32) -> Arc<ScriptRef> {
        Arc::new(ScriptRef {
            app_id: AppId(1),
            app: "default".into(),
            script: "a".into(),
            version_id: VersionId(number.into()),
            version: number,
            source_hash: SourceHash::of("1"),
        })
    }

    fn script(canary: Option<u8>) -> ActiveScript {
        let canary = canary.map(|percent| Canary { script: version(2), percent });
        let (handles_requests, handles_events, access) = (true, false, Arc::default());
        ActiveScript { script: version(1), canary, handles_requests, handles_events, access }
    }

    #[test]
    fn as_many_calls_go_to_a_canary_as_should() {
        for percent in [1, 5, 50, 99] {
            let script = script(Some(percent));
            let went = (0..100_000).filter(|_| script.version_for(Uuid::now_v7()).version == 2).count();
            // Five times the standard deviation.
            let off = went.abs_diff(1000 * usize::from(percent));
            assert!(off < 800, "{went} of 100000 with {percent} %");
        }
        let ids = || (0..1000).map(|_| Uuid::now_v7());
        assert!(ids().all(|id| script(None).version_for(id).version == 1));
        assert!(ids().all(|id| script(Some(0)).version_for(id).version == 1));
        assert!(ids().all(|id| script(Some(100)).version_for(id).version == 2));
    }

    #[test]
    fn a_call_goes_to_the_same_version_each_time() {
        let script = script(Some(50));
        let id = Uuid::now_v7();
        assert!((0..100).all(|_| script.version_for(id) == script.version_for(id)));
    }
}
