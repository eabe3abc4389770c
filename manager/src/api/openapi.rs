//! The description of the API for programs, made from the metadata of the routes.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::tag::Tag;
use utoipa::openapi::{Components, Content, InfoBuilder, OpenApi, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema as _, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;

/// The name of the security scheme.
const TOKEN: &str = "token";
/// The name of the security scheme for a single execution.
const KEY: &str = "key";
/// The media type of problem documents.
const PROBLEM_TYPE: &str = "application/problem+json";

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(get_openapi))
}

/// The OpenAPI 3.1 description of everything that [`crate::api::router`] answers.
#[must_use]
pub fn document() -> OpenApi {
    let mut document = crate::api::all_routes().into_openapi();
    document.info = InfoBuilder::new()
        .title("PiCloud")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Every error is a problem document (RFC 9457) with a stable `code`."))
        .build();
    document.tags = Some(vec![
        tag("apps", "The units of isolation and of quota, and all of one in a file."),
        tag("tokens", "What opens this API."),
        tag("users", "People who use this API, and their passwords."),
        tag("session", "Who is logged in."),
        tag("audit", "Who has changed what."),
        tag("backup", "All that a server has."),
        tag("scripts", "Named sources with an address."),
        tag("routes", "Which requests an app takes beside those for its scripts."),
        tag("versions", "Each upload of a script is one."),
        tag("executions", "Records of calls: what they answered, cost and logged."),
        tag("kv", "Keys and values of an app."),
        tag("triggers", "What makes events: changes of keys, topics, queues, schedules, webhooks."),
        tag("webhooks", "Where others deliver what becomes an event."),
        tag("events", "Calls that are still to come, or have failed for good."),
        tag("grants", "Directories of the host that scripts may use."),
        tag("http", "What scripts may request of other servers."),
        tag("settings", "Secrets and configuration of an app, for its scripts."),
        tag("meta", "About this API."),
    ]);
    let components = document.components.get_or_insert_with(Components::new);
    name_list_entries(components);
    components.schemas.insert(ProblemDocument::name().into(), ProblemDocument::schema());
    components.schemas.insert(ProblemPosition::name().into(), ProblemPosition::schema());
    let scheme = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "A token, or that of a session. What an operation needs is given as a scope, with `{app}` for the app in the path. With `--dev` no token is needed.",
        ))
        .build();
    components.security_schemes.insert(TOKEN.into(), RefOr::T(SecurityScheme::Http(scheme)));
    let key = ApiKeyValue::with_description(
        "key",
        "What the address of an asynchronous call ends with: it opens this execution and nothing else.",
    );
    components.security_schemes.insert(KEY.into(), RefOr::T(SecurityScheme::ApiKey(ApiKey::Query(key))));
    document.paths.paths.values_mut().flat_map(operations).for_each(describe_problems);
    document
}

/// Get this description.
#[utoipa::path(
    get, path = "/openapi.json", tag = "meta", security(()),
    responses((status = 200, description = "OpenAPI 3.1.", body = Object, content_type = "application/json")),
)]
async fn get_openapi() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_pretty_json().unwrap_or_default());
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

/// A problem document (RFC 9457).
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "only described here; problems are made in the host")]
pub(crate) struct ProblemDocument {
    /// The path of the page of the code.
    #[schema(example = "/api/v1/errors/script-not-found")]
    r#type: String,
    /// One sentence, the same for every occurrence.
    title: String,
    /// The HTTP status.
    status: u16,
    /// The stable name of what went wrong.
    #[schema(example = "script-not-found")]
    code: String,
    /// What happened this time.
    detail: Option<String>,
    /// The path of the request.
    instance: Option<String>,
    /// Whose fault a failed call was: `script`, `limit` or `platform`.
    fault: Option<String>,
    /// Whether the same request may succeed later; only for failed calls.
    retryable: Option<bool>,
    /// The execution that failed.
    execution_id: Option<String>,
    /// Where in the script's source.
    position: Option<ProblemPosition>,
}

/// A place in a script's source.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described here")]
pub(crate) struct ProblemPosition {
    /// From 1.
    line: u32,
    /// In characters, from 1.
    column: u32,
}

/// Let `List_X` refer to `X`, where utoipa repeats it: clients then get one type for both.
fn name_list_entries(components: &mut Components) {
    let mut entries = Vec::new();
    for (name, schema) in &mut components.schemas {
        if let Some(entry) = name.strip_prefix("List_")
            && let RefOr::T(Schema::Object(list)) = schema
            && let Some(RefOr::T(Schema::Array(array))) = list.properties.get_mut("items")
            && let ArrayItems::RefOrSchema(items) = &mut array.items
        {
            let reference = RefOr::Ref(Ref::from_schema_name(entry));
            entries.push((entry.to_owned(), std::mem::replace(&mut **items, reference)));
        }
    }
    for (name, schema) in entries {
        components.schemas.entry(name).or_insert(schema);
    }
}

fn tag(name: &str, description: &str) -> Tag {
    let mut tag = Tag::new(name);
    tag.description = Some(description.into());
    tag
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// Say that every error is a problem document, so that no route has to.
fn describe_problems(operation: &mut Operation) {
    let parameters = || {
        operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
            RefOr::T(parameter) => Some(parameter),
            RefOr::Ref(_) => None,
        })
    };
    let has_query = parameters().any(|parameter| parameter.parameter_in == ParameterIn::Query);
    let has_precondition = parameters().any(|parameter| parameter.name.starts_with("If-"));
    let has_body = operation.request_body.is_some();
    let problem = || Content::new(Some(Ref::from_schema_name(ProblemDocument::name())));
    let mut add = |status: &str, description: &str| {
        let response = ResponseBuilder::new().description(description).build();
        operation.responses.responses.entry(status.into()).or_insert_with(|| response.into());
    };
    if has_body {
        add("408", "`body-timeout`");
    }
    if has_precondition {
        add("412", "`precondition-failed`");
    }
    let query = if has_query { ", `query-invalid`" } else { "" };
    add("400", &format!("`request-invalid`, `name-invalid`{query}"));
    add("500", "`internal`");
    add("503", "`storage-unavailable`");
    // Without anything that opens it, it is open.
    if operation.security.as_ref().is_none_or(|ways| !ways.contains(&SecurityRequirement::default())) {
        add("401", "`unauthorized`");
        add(
            "403",
            "`forbidden`; of a request with the cookie of a session `origin-forbidden`, `csrf-invalid`",
        );
        add("429", "`too-many-attempts`");
    }
    for (status, response) in &mut operation.responses.responses {
        if let RefOr::T(response) = response
            && status.starts_with(['4', '5'])
        {
            response.content.entry(PROBLEM_TYPE.into()).or_insert_with(|| RefOr::T(problem()));
        }
    }
}
