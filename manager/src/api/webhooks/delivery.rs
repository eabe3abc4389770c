//! The event that a delivery becomes: what the script sees of the request, and how a repetition is recognised.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use picloud_host::call::{AppId, EventCall};
use picloud_host::event::{Cause, EventKind, Lane, NewEvent};
use picloud_host::problem::{Code, Problem};
use picloud_host::trigger::{MAX_DEDUPE_KEY_BYTES, Webhook, WebhookScheme, signature_header};
use serde_json::Value;

use crate::api::body::{json, media_type};
use crate::name::Name;

/// GitHub's id of a delivery, the same when it is sent again.
const GITHUB_DELIVERY: &str = "x-github-delivery";

/// The longest id of a delivery, in bytes.
const MAX_ID_BYTES: usize = 128;

/// Headers that are for the server, and not for scripts.
const HIDDEN: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];

/// A request that has proved to be genuine.
pub(super) struct Delivery<'a> {
    pub(super) app: &'a Name,
    pub(super) name: &'a Name,
    pub(super) webhook: &'a Webhook,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

impl Delivery<'_> {
    /// The event to store.
    ///
    /// # Errors
    ///
    /// `event-invalid`: the body is not the JSON that it says it is.
    pub(super) fn event(&self, app: AppId, cause: Cause, now_ms: u64) -> Result<NewEvent, Problem> {
        let target = &self.webhook.target;
        let id = self.id();
        let call = EventCall {
            id: id.clone().unwrap_or_default(),
            source: format!("/{}/webhooks/{}", self.app, self.name),
            kind: "picloud.webhook".to_owned(),
            subject: Some(self.name.to_string()),
            time_ms: now_ms,
            data: self.data()?.into(),
            trigger: EventKind::Webhook,
        };
        let event = target.event(app, Lane::Script(target.script.clone()), call, cause, now_ms);
        Ok(match id {
            None => event.known_by_its_id(),
            Some(id) => {
                // Other webhooks of the same script have ids of their own.
                let key = format!("webhook/{}/{id}", self.name);
                debug_assert!(key.len() <= MAX_DEDUPE_KEY_BYTES, "a name and an id fit");
                NewEvent { dedupe_key: Some(key.into()), ..event }
            }
        })
    }

    /// What the sender calls the delivery, if it does.
    fn id(&self) -> Option<String> {
        let in_header = |name: &str| Some(self.headers.get(name)?.to_str().ok()?.to_owned());
        let id = match &self.webhook.scheme {
            WebhookScheme::GitHub => in_header(GITHUB_DELIVERY),
            WebhookScheme::Stripe => {
                let event: Option<Value> = serde_json::from_slice(self.body).ok();
                event.and_then(|event| Some(event.get("id")?.as_str()?.to_owned()))
            }
            WebhookScheme::Header { id, .. } => id.as_deref().and_then(in_header),
        };
        id.filter(|id| !id.is_empty() && id.len() <= MAX_ID_BYTES)
    }

    /// `{"body", "headers"}`. A body of JSON stays as it is written, so that no number loses digits.
    fn data(&self) -> Result<String, Problem> {
        let headers = serde_json::to_string(&self.visible_headers()).unwrap_or_default();
        Ok(format!("{{\"body\":{},\"headers\":{headers}}}", self.body()?))
    }

    fn body(&self) -> Result<String, Problem> {
        let media_type = media_type(self.headers);
        if self.body.is_empty() {
            return Ok("null".to_owned());
        }
        if media_type == "application/json" || media_type.ends_with("+json") {
            return json(self.body, Code::EventInvalid);
        }
        Ok(match str::from_utf8(self.body) {
            Ok(text) => Value::from(text).to_string(),
            Err(_) => serde_json::json!({ "base64": STANDARD.encode(self.body) }).to_string(),
        })
    }

    fn visible_headers(&self) -> BTreeMap<&str, String> {
        let signature = signature_header(&self.webhook.scheme);
        let mut visible = BTreeMap::<&str, String>::new();
        for (name, value) in self.headers {
            let name = name.as_str();
            if name == signature || HIDDEN.contains(&name) {
                continue;
            }
            let value = String::from_utf8_lossy(value.as_bytes());
            visible
                .entry(name)
                .and_modify(|values| {
                    values.push_str(", ");
                    values.push_str(&value);
                })
                .or_insert_with(|| value.clone().into_owned());
        }
        visible
    }
}
