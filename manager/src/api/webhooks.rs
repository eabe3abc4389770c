//! Webhooks: requests of others that prove to be genuine, and become events.

mod delivery;

use std::sync::Arc;

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use picloud_host::event::{Cause, EventOp};
use picloud_host::ports::Transaction;
use picloud_host::problem::{Code, Problem};
use picloud_host::trigger::SignatureClaim;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::events::{Accepted, commit_failed};
use crate::api::path::TriggerPath;
use delivery::Delivery;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(post_webhook))
}

/// Deliver a webhook. It needs no token, but a signature, as its trigger says.
///
/// When the answer arrives, the event is stored; what the script makes of it comes later. The body can be anything.
#[utoipa::path(
    post, path = "/api/v1/apps/{app}/webhooks/{name}", tag = "webhooks", security(()), params(TriggerPath),
    request_body(
        description = "What the sender sends.",
        content((serde_json::Value = "application/json"), (String = "text/plain")),
    ),
    responses(
        (status = 202, description = "The event is stored.", body = Accepted),
        (status = 400, description = "`name-invalid`, `event-invalid`"),
        (status = 401, description = "`signature-invalid`"),
        (status = 404, description = "`app-not-found`, `webhook-not-found`"),
        (status = 413, description = "`event-too-large`"),
        (status = 503, description = "`webhook-unavailable`, `saturated`, `storage-unavailable`"),
        (status = 507, description = "`events-quota-exceeded`"),
    ),
)]
async fn post_webhook(state: State, path: TriggerPath, request: Request) -> Result<Response, Problem> {
    // Nothing but what is in memory is asked before the signature holds: anybody can send a request.
    let set = Arc::clone(&state.active.current());
    let app = set.apps.get(path.app.as_str()).ok_or_else(|| Problem::new(Code::AppNotFound))?;
    let webhook = set.triggers.get(&app.id).and_then(|triggers| triggers.webhooks.get(path.name.as_str()));
    let webhook = webhook.ok_or_else(|| Problem::new(Code::WebhookNotFound))?;
    let secret = app.secrets.0.get(&webhook.secret).and_then(Option::as_ref);
    let secret = secret.ok_or_else(|| {
        // Anybody can send a request, so this must not fill the log.
        tracing::debug!(app = %path.app, webhook = %path.name, secret = %webhook.secret, "a webhook has no secret");
        Problem::new(Code::WebhookUnavailable).retry_after(60)
    })?;
    let refused = |detail: String| Problem::new(Code::SignatureInvalid).detail(detail);
    let (parts, body) = request.into_parts();
    let claim = SignatureClaim::read(&webhook.scheme, &parts.headers).map_err(refused)?;
    let held =
        state.bodies.read(body, app.limits.event_bytes).await.map_err(|problem| match problem.code() {
            Code::BodyTooLarge => {
                let detail = format!("More than {} bytes.", app.limits.event_bytes);
                Problem::new(Code::EventTooLarge).detail(detail)
            }
            Code::Saturated => problem.retry_after(1),
            _ => problem,
        })?;
    let now_ms = state.clock.now_ms();
    claim.holds(secret, &held.body, now_ms).map_err(|why| refused(why.to_owned()))?;

    let delivery =
        Delivery { app: &path.app, name: &path.name, webhook, headers: &parts.headers, body: &held.body };
    let cause = Cause::outside();
    let event = delivery.event(app.id, cause, now_ms)?;
    if event.call.data.len() as u64 > app.limits.event_bytes {
        let (bytes, limit) = (event.call.data.len(), app.limits.event_bytes);
        let detail = format!("The data with the headers has {bytes} bytes, but may have {limit}.");
        return Err(Problem::new(Code::EventTooLarge).detail(detail));
    }
    let ids = vec![event.id];
    let mut transaction = Transaction::new(app.id, state.kv.begin(), cause);
    transaction.events.push(EventOp::Insert(Box::new(event)));
    state.kv.commit(transaction).await.map_err(commit_failed)?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { ids })).into_response())
}
