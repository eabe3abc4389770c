//! How much waits where, over REST.

use axum::Json;
use jiff::Timestamp;
use picloud_host::event::Lane;
use picloud_host::problem::Problem;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::Reader;
use crate::api::path::AppPath;
use crate::api::query::List;
use crate::api::timestamp::timestamp;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_queues))
}

/// How much there is in one queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueCounts {
    /// Where they wait: `queue/NAME`, `script/NAME` for what is in no queue, `mqtt` for messages to the
    /// broker, or `callback/HOST` for a host that is told of answers.
    lane: String,
    /// The queue; null for the events of a script that are in none.
    #[schema(required)]
    queue: Option<String>,
    /// The script; null for a queue, whose events may go to several.
    #[schema(required)]
    script: Option<String>,
    waiting: u64,
    running: u64,
    dead: u64,
    /// When the next of those that wait may run; null when none waits.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    next_due_at: Option<Timestamp>,
}

/// List how much waits, runs and is dead: in each queue, and for each script outside of queues.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/queues", tag = "events", security(("token" = ["app:{app}:read"])), params(AppPath),
    responses(
        (status = 200, description = "Where there is anything.", body = List<QueueCounts>),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_queues(_: Reader, state: State, path: AppPath) -> Result<Json<List<QueueCounts>>, Problem> {
    let app = state.app_id(&path.app).await?;
    let lanes = state.store.lanes_of(app).await?;
    let items = lanes.into_iter().map(|counts| {
        let lane = counts.lane.to_text();
        let (queue, script) = match counts.lane {
            Lane::Queue(name) => (Some(name.to_string()), None),
            Lane::Script(name) => (None, Some(name.to_string())),
            Lane::Mqtt | Lane::Callback(_) => (None, None),
        };
        let next_due_at = counts.next_due_ms.map(timestamp);
        let (waiting, running, dead) = (counts.waiting, counts.running, counts.dead);
        QueueCounts { lane, queue, script, waiting, running, dead, next_due_at }
    });
    Ok(Json(List { items: items.collect(), next_cursor: None }))
}
