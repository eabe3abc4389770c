//! The trigger in the body of a request.

use axum::extract::{FromRequest, Request};
use picloud_host::problem::{Code, Problem};
use picloud_host::trigger::DEFAULT_ATTEMPTS;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::api::State;
use crate::api::body::{app_limits, read_as};
use crate::name::Name;
use crate::schedule::Scheduler;
use crate::store::trigger::{NewTrigger, TriggerConfig};

/// The longest body, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// A trigger to be made: what all kinds have, and what its kind has.
#[derive(ToSchema)]
#[schema(as = TriggerBody)]
#[expect(dead_code, reason = "only described here; what is sent is read by kind")]
pub(crate) struct TriggerBody {
    /// `kv`, `topic`, `queue`, `schedule`, `mqtt` or `webhook`.
    #[schema(example = "kv")]
    kind: String,
    /// The script that is called. It may be uploaded later.
    #[schema(example = "reorder")]
    script: String,
    /// How often an event is tried at most, 1 to 100; 5 when not given.
    attempts: Option<u32>,
    /// One that is not enabled makes no events; true when not given.
    enabled: Option<bool>,
    /// `kv`: what the keys start with; without it every key counts. `webhook` with the scheme `header`: what stands before
    /// the signature, such as `sha256=`; nothing when not given.
    prefix: Option<String>,
    /// `kv`: which changes count: `set`, `delete`, `expire`; without it all three.
    on: Option<Vec<String>>,
    /// `topic` and `mqtt`: which topics. `+` stands for one part between `/`, `#` at the end for any number.
    topic: Option<String>,
    /// `mqtt`: how surely the broker sends them, 0 (at most once) or 1 (at least once); 1 when not given.
    qos: Option<u8>,
    /// `queue`: how many events run at the same time, 1 to 64; 1 when not given.
    concurrency: Option<u16>,
    /// `queue`: how long one attempt may take, in milliseconds, if that is less than the deadline of calls.
    visibility_ms: Option<u64>,
    /// `queue`: the wait before the second attempt, at most, in milliseconds, which doubles with each; 1000 when not
    /// given.
    backoff_ms: Option<u64>,
    /// `schedule`: when, as a cron expression of 5 fields, of 6 with the second before them, or a macro such as `@daily`.
    #[schema(example = "0 7 * * 1-5")]
    cron: Option<String>,
    /// `schedule`: by which clock, a name of the IANA database; `UTC` when not given.
    #[schema(example = "Europe/Berlin")]
    timezone: Option<String>,
    /// `schedule`: what happens when it is due while its last event still waits or runs: `skip` (the default) or `queue`.
    overlap: Option<String>,
    /// `schedule`: what happens about the times at which no server ran: `one` event for all of them (the default), `all`,
    /// an event for each, or `skip`.
    missed: Option<String>,
    /// `schedule`: put each event off by a random time of at most so many milliseconds; 0 when not given.
    jitter_ms: Option<u64>,
    /// `schedule`: what the script sees as `event.data.data`.
    data: Option<Value>,
    /// `webhook`: how a request proves to be genuine: `github`, `stripe`, or `header` for any header with a signature.
    #[schema(example = "github")]
    scheme: Option<String>,
    /// `webhook`: the name of the secret of the app that only the sender knows. Never the secret itself.
    secret: Option<String>,
    /// `webhook` with the scheme `header`: which one has the signature.
    header: Option<String>,
    /// `webhook` with the scheme `header`: how the signature is written: `hex` (the default) or `base64`.
    encoding: Option<String>,
    /// `webhook` with the scheme `header`: which one has the id of the delivery, by which a repetition is recognised.
    id_header: Option<String>,
}

/// A trigger to store, checked.
#[derive(Debug)]
pub(super) struct Body(pub(super) NewTrigger);

impl FromRequest<State> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let limits = app_limits(&mut parts, state).await?;
        let bytes = read_as("application/json", "trigger", &parts.headers, body, MAX_BYTES).await?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
        let Value::Object(members) = value else { return Err(invalid("The body must be a JSON object.")) };
        trigger(members, limits.kv_key_bytes, state.clock.now_ms()).map(Self).map_err(invalid)
    }
}

/// What the members of a body say.
///
/// # Errors
///
/// What is wrong with them.
pub(in crate::api) fn trigger(
    mut members: Map<String, Value>,
    key_bytes: u64,
    now_ms: u64,
) -> Result<NewTrigger, String> {
    if !members.contains_key("kind") {
        return Err("kind must be given: kv, topic, queue, schedule, mqtt or webhook".to_owned());
    }
    let script = match members.remove("script") {
        Some(Value::String(script)) => Name::parse(&script).map_err(|error| format!("script: {error}"))?,
        _ => return Err("script must be the name of a script".to_owned()),
    };
    let attempts = match members.remove("attempts") {
        None => DEFAULT_ATTEMPTS,
        Some(value) => value
            .as_u64()
            .and_then(|attempts| u32::try_from(attempts).ok())
            .ok_or("attempts must be 1 to 100")?,
    };
    let enabled = match members.remove("enabled") {
        None => true,
        Some(Value::Bool(enabled)) => enabled,
        Some(_) => return Err("enabled must be true or false".to_owned()),
    };
    let config: TriggerConfig =
        serde_json::from_value(Value::Object(members)).map_err(|error| error.to_string())?;
    match &config {
        TriggerConfig::Kv { prefix, .. } if prefix.len() as u64 > key_bytes => {
            return Err(format!("prefix is longer than a key may be, {key_bytes} bytes"));
        }
        _ => {}
    }
    let next_ms = Scheduler::next_of(&config, now_ms).map_err(|error| error.to_string())?;
    let new = NewTrigger { attempts, enabled, next_ms, ..NewTrigger::new(script, config) };
    new.check().map_err(|error| error.to_string())?;
    Ok(new)
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::TriggerInvalid).detail(detail)
}
