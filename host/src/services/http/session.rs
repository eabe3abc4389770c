//! The requests of one call: their number, their bounds, and the policy that they are held against.

use std::sync::Arc;
use std::time::{Duration, Instant};

use picloud_sdk_wit::picloud::sdk::http::{Error, Request, Response};

use crate::active::Active;
use crate::call::{AppId, ExecRequest};
use crate::limits::Limits;
use crate::outbound::policy::HttpPolicy;
use crate::outbound::{Admitted, Allowance, Bounds, Outbound, Outgoing};
use crate::services::{Services, bound};

/// Counts requests and asks the policy.
pub(crate) struct HttpSession {
    outbound: Arc<Outbound>,
    active: Arc<Active>,
    /// Whether a server runs the call: nobody else sends requests.
    server: bool,
    /// None while a script is loaded.
    app: Option<AppId>,
    limits: Arc<Limits>,
    /// The app's policy when the call first needed it: what it may does not change under way.
    policy: Option<Arc<HttpPolicy>>,
    count: u64,
    /// What the responses may still have.
    allowance: Arc<Allowance>,
    sent: bool,
}

/// A request that only has to be sent. Borrows nothing, so that several can be under way.
pub(super) struct Prepared {
    outbound: Arc<Outbound>,
    request: Admitted,
    policy: Arc<HttpPolicy>,
    bounds: Bounds,
}

impl HttpSession {
    /// The session of a call; without one, of a load.
    pub(crate) fn new(services: &Services, request: Option<&ExecRequest>, limits: Arc<Limits>) -> Self {
        Self {
            outbound: services.outbound.clone(),
            active: services.active.clone(),
            server: services.server,
            app: request.map(|request| request.script.app_id),
            policy: None,
            count: 0,
            allowance: Arc::new(Allowance::new(limits.outbound_call_bytes)),
            limits,
            sent: false,
        }
    }

    /// Whether anything was sent. It cannot be taken back, so the call must not run again.
    pub(crate) fn has_sent(&self) -> bool {
        self.sent
    }

    /// Check a request, count it, and ask the policy.
    pub(super) fn prepare(&mut self, request: Request, deadline: Instant) -> Result<Prepared, Error> {
        let app = self.app.ok_or(Error::NoCall)?;
        let most_ms = self.limits.outbound_timeout_ms;
        let timeout = Duration::from_millis(request.timeout_ms.map_or(most_ms, |ms| ms.min(most_ms)));
        let request = self.check(request)?;
        if !self.server {
            return Err(Error::NoServer);
        }
        let policy = self.policy(app);
        let request = request.admit(&policy)?;
        self.sent = true;
        let bounds = Bounds {
            app,
            until: deadline.min(Instant::now() + timeout).into(),
            response_bytes: self.limits.outbound_response_bytes,
            allowance: self.allowance.clone(),
        };
        Ok(Prepared { outbound: self.outbound.clone(), request, policy, bounds })
    }

    /// Check a request and count it.
    pub(super) fn check(&mut self, request: Request) -> Result<Outgoing, Error> {
        self.app.ok_or(Error::NoCall)?;
        self.count = self.count.saturating_add(1);
        if self.count > self.limits.outbound_requests {
            return Err(Error::TooManyRequests(bound(self.limits.outbound_requests)));
        }
        Outgoing::parse(request, self.limits.outbound_request_bytes)
    }

    /// An app that is not in the active set has no policy, and so nothing is allowed.
    fn policy(&mut self, app: AppId) -> Arc<HttpPolicy> {
        let find = || self.active.current().app(app).map(|app| app.http.clone()).unwrap_or_default();
        self.policy.get_or_insert_with(find).clone()
    }
}

impl Prepared {
    pub(super) async fn send(self) -> Result<Response, Error> {
        self.outbound.send(self.request, &self.policy, self.bounds).await
    }
}
