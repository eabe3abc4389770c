//! Calls whose answers are kept: accepting one whose caller does not wait, and answering a repeated request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;
use uuid::Uuid;

use super::repetition::{Claim, UnderWay, to_key};
use crate::answer::{AnswerOp, Idempotency, KeepAnswer, NewAnswer, access_digest};
use crate::call::{Answer, AppId, ExecRequest};
use crate::event::EventOp;
use crate::limits::Limits;
use crate::ports::{Answers, Clock, CommitError, Kv, Transaction};
use crate::problem::{Code, Problem};

/// When to come back if too many calls wait, in seconds. How long they take is for their scripts.
const RETRY_SECONDS: u64 = 10;

/// Tells that an answer is that of an earlier request.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Makes the address of an execution: from the app's name, the id, and the key to its answer.
pub type Locate = fn(&str, Uuid, &str) -> String;

/// What it takes to keep answers.
pub struct KeptCalls {
    kv: Arc<dyn Kv>,
    stored: Arc<dyn Answers>,
    clock: Arc<dyn Clock>,
    locate: Locate,
    under_way: Arc<UnderWay>,
    /// How many calls each app is just accepting, which are not counted in the store yet.
    accepting: Mutex<HashMap<AppId, u64>>,
}

/// What is known of a request with an idempotency key.
pub(super) enum Seen {
    /// Nothing: whoever holds the claim may make the call.
    Never(Claim),
    /// It was there before, and this is the answer.
    Before(Again),
}

/// The answer to a repeated request.
pub(super) enum Again {
    /// The call was accepted, and its caller has been told where the answer will be.
    Accepted(Response),
    /// The answer that was given.
    Answered(Answer),
}

/// A call that is being accepted, until it is dropped.
struct Accepting<'a> {
    kept: &'a KeptCalls,
    app: AppId,
}

impl KeptCalls {
    /// Keep answers with `kv` and find them in `stored`.
    #[must_use]
    pub fn new(kv: Arc<dyn Kv>, stored: Arc<dyn Answers>, clock: Arc<dyn Clock>, locate: Locate) -> Self {
        let (under_way, accepting) = (Arc::default(), Mutex::default());
        Self { kv, stored, clock, locate, under_way, accepting }
    }

    /// Whether a request with this key was there before.
    pub(super) async fn seen(&self, request: &ExecRequest, key: Arc<str>) -> Result<Seen, Problem> {
        // Before the look: whoever gives it back has made everything durable by then.
        let claim = Claim::take(&self.under_way, request, key)?;
        let (app, script) = (request.script.app_id, &request.script.script);
        let Some((before, kept)) = self.stored.repeated(app, script, claim.key()).await? else {
            return Ok(Seen::Never(claim));
        };
        if !claim.is_repetition_of(&kept) {
            return Err(Problem::new(Code::IdempotencyKeyReused));
        }
        if before.access.is_some() {
            let mut response = self.response(request, before.id, &claim.access_key(&kept.salt));
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            return Ok(Seen::Before(Again::Accepted(response)));
        }
        match self.stored.answer(app, before.id).await? {
            Some(mut answer) => {
                answer.headers.insert(REPLAYED, HeaderValue::from_static("true"));
                Ok(Seen::Before(Again::Answered(answer)))
            }
            // It has just expired.
            None => Ok(Seen::Never(claim)),
        }
    }

    /// How the answer of a call is kept whose caller waits for it.
    pub(super) async fn keep(&self, request: &ExecRequest, claim: &Claim) -> Result<KeepAnswer, Problem> {
        self.check_room(request.script.app_id, &request.limits, 0, 0).await?;
        let idempotency = claim.idempotency(random()?);
        Ok(KeepAnswer::New(Box::new(self.new_answer(request, None, Some(idempotency), 0))))
    }

    /// Store a request, and tell where its answer will be; `callback` is told of it. What the answer says is durable.
    pub(super) async fn accept(
        &self,
        request: &ExecRequest,
        claim: Option<&Claim>,
        callback: Option<&str>,
    ) -> Result<Response, Problem> {
        let app = request.script.app_id;
        let event = crate::deferred::to_event(request, callback, self.clock.now_ms());
        let event = event.ok_or_else(|| Problem::new(Code::Internal))?;
        let bytes = event.size() as u64;
        let accepting = self.begin_to_accept(app);
        self.check_room(app, &request.limits, accepting.count(), bytes).await?;
        let random = random()?;
        let key = claim.map_or_else(|| to_key(&random), |claim| claim.access_key(&random));
        let idempotency = claim.map(|claim| claim.idempotency(random));
        let new = self.new_answer(request, Some(&key), idempotency, bytes);
        let mut transaction = Transaction::new(app, self.kv.begin(), event.cause);
        transaction.events = vec![EventOp::Insert(Box::new(event))];
        transaction.answers = vec![AnswerOp::Expect(Box::new(new))];
        self.kv.commit(transaction).await.map_err(|error| match error {
            CommitError::Store(error) => error.into(),
            CommitError::AppGone => Problem::new(Code::AppNotFound),
            CommitError::Quota(exceeded) => exceeded.into(),
            // It has read nothing and watches nothing.
            _ => Problem::new(Code::Internal),
        })?;
        drop(accepting);
        Ok(self.response(request, request.execution_id, &key))
    }

    fn new_answer(
        &self,
        request: &ExecRequest,
        key: Option<&str>,
        idempotency: Option<Idempotency>,
        request_bytes: u64,
    ) -> NewAnswer {
        NewAnswer {
            id: request.execution_id,
            app: request.script.app_id,
            script: request.script.script.clone(),
            accepted_ms: self.clock.now_ms(),
            access: key.map(access_digest),
            idempotency,
            request_bytes,
        }
    }

    /// Whether an app may keep so many more calls and bytes.
    async fn check_room(&self, app: AppId, limits: &Limits, calls: u64, bytes: u64) -> Result<(), Problem> {
        let room = limits.answers_kept_bytes.saturating_sub(bytes);
        let kept = self.stored.totals(app, room).await?;
        let refused =
            |detail: String| Err(Problem::new(Code::Saturated).detail(detail).retry_after(RETRY_SECONDS));
        if calls > 0 && kept.calls + calls > limits.async_calls {
            return refused(format!(
                "{} asynchronous calls of the app wait or run, as many as may",
                kept.calls
            ));
        }
        if kept.bytes > room {
            return refused(format!(
                "the answers that the app keeps, and the requests that wait for theirs, fill the {} bytes there are \
                 for them",
                limits.answers_kept_bytes
            ));
        }
        Ok(())
    }

    fn begin_to_accept(&self, app: AppId) -> Accepting<'_> {
        *self.accepting.lock().unwrap_or_else(PoisonError::into_inner).entry(app).or_default() += 1;
        Accepting { kept: self, app }
    }

    /// 202, with everything that the caller has to know.
    fn response(&self, request: &ExecRequest, id: Uuid, key: &str) -> Response {
        let location = (self.locate)(&request.script.app, id, key);
        let body = json!({ "execution_id": id, "state": "queued", "url": location });
        let mut response = (StatusCode::ACCEPTED, axum::Json(body)).into_response();
        let headers = response.headers_mut();
        for (name, value) in [
            (header::LOCATION, location.as_str()),
            (HeaderName::from_static("picloud-execution-id"), &id.to_string()),
            (HeaderName::from_static("preference-applied"), "respond-async"),
            (header::VARY, "prefer"),
            // The address is as good as the answer.
            (header::CACHE_CONTROL, "no-store"),
            (header::REFERRER_POLICY, "no-referrer"),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl Accepting<'_> {
    /// How many calls the app is accepting, this one included.
    fn count(&self) -> u64 {
        self.kept
            .accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&self.app)
            .copied()
            .unwrap_or(1)
    }
}

impl Drop for Accepting<'_> {
    fn drop(&mut self) {
        let mut accepting = self.kept.accepting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = accepting.get_mut(&self.app) {
            *count -= 1;
            if *count == 0 {
                accepting.remove(&self.app);
            }
        }
    }
}

fn random() -> Result<[u8; 16], Problem> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| {
        tracing::error!(%error, "the system has no random numbers");
        Problem::new(Code::Internal)
    })?;
    Ok(random)
}
