//! Traces over REST: what one call led to, as a tree.

use std::collections::{HashMap, HashSet};

use axum::Json;
use picloud_host::problem::{Code, Problem};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::api::State;
use crate::api::auth::Reader;
use crate::api::events::Event;
use crate::api::executions::Execution;
use crate::api::path::TracePath;
use crate::store::event::list::Filter as EventFilter;
use crate::store::execution::{self, Filter, Order, Page};
use crate::telemetry::Pending;

/// Most executions, and most events, of a trace.
const MOST: u32 = 1000;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_trace))
}

/// Everything that one call, or one change from outside, has led to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trace {
    /// The `root_execution_id` that all of it has.
    root_id: Uuid,
    /// What nothing in the trace has caused: the root itself, if it was a call and its record is kept.
    roots: Vec<Node>,
    /// Whether there is more than is shown.
    truncated: bool,
}

/// An execution with what it caused, or an event that is still to run or dead.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Node {
    /// The execution; several attempts at one event stand beside each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution: Option<Execution>,
    /// The event that waits, runs or is dead.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Event>,
    /// What the execution caused.
    #[schema(no_recursion)]
    children: Vec<Node>,
}

/// Get everything that one call has led to, as a tree.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/traces/{root}", tag = "executions", security(("token" = ["app:{app}:read"])), params(TracePath),
    responses(
        (status = 200, description = "The tree, of at most 1000 executions and as many events.", body = Trace),
        (status = 404, description = "`app-not-found`, `execution-not-found`"),
    ),
)]
async fn get_trace(_: Reader, state: State, path: TracePath) -> Result<Json<Trace>, Problem> {
    let app = state.app_id(&path.app).await?;
    state.telemetry.flush(Pending::Records).await;
    let filter = Filter { root: Some(path.root), ..Filter::default() };
    let page = Page { after: None, limit: MOST + 1, order: Order::Ascending };
    let mut executions = execution::list(state.telemetry.database()?, app, &filter, page).await?;
    let filter = EventFilter { root: Some(path.root), ..EventFilter::default() };
    let events = state.store.events(app, &filter, None, MOST).await?;
    if executions.is_empty() && events.events.is_empty() {
        let detail = "Nothing with this root was ever there, or its records are no longer kept.";
        return Err(Problem::new(Code::ExecutionNotFound).detail(detail));
    }
    let most = usize::try_from(MOST).unwrap_or(usize::MAX);
    let truncated = executions.len() > most || events.more;
    executions.truncate(most);
    let known: HashSet<Uuid> = executions.iter().map(|execution| execution.id).collect();
    let mut children: HashMap<Option<Uuid>, Vec<Node>> = HashMap::new();
    let place = |parent: Option<Uuid>| parent.filter(|parent| known.contains(parent));
    for event in events.events {
        let parent = place(event.event.cause.parent);
        let node = Node { execution: None, event: Some(event.into()), children: Vec::new() };
        children.entry(parent).or_default().push(node);
    }
    // From the newest to the oldest: whatever an execution has caused began after it, and is complete before it.
    for found in executions.into_iter().rev() {
        let (id, parent) = (found.id, place(found.parent_id));
        let below = children.remove(&Some(id)).unwrap_or_default();
        let node = Node { execution: Some(Execution::new(&path.app, found)), event: None, children: below };
        children.entry(parent).or_default().insert(0, node);
    }
    let roots = children.remove(&None).unwrap_or_default();
    Ok(Json(Trace { root_id: path.root, roots, truncated }))
}
