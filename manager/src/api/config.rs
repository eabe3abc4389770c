//! Configuration values of apps over REST.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use http::{StatusCode, header};
use jiff::Timestamp;
use picloud_host::problem::{Code, Problem};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::{AppAdmin, Reader};
use crate::api::body::{json, read_as};
use crate::api::path::{AppPath, SettingPath};
use crate::api::precondition::{answer, answer_put};
use crate::api::query::{List, PageQuery, Query};
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::store::Precondition;
use crate::store::config::{ConfigValue, MAX_CONFIG_BYTES, tag};

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_config)).routes(routes!(
        get_config,
        put_config,
        delete_config
    ))
}

/// A configuration value with its name.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConfigValue)]
pub(crate) struct Value {
    name: String,
    #[schema(value_type = serde_json::Value)]
    value: Box<RawValue>,
    /// When it was last set.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<ConfigValue> for Value {
    fn from(stored: ConfigValue) -> Self {
        // Whatever is stored was checked to be JSON.
        let value = RawValue::from_string(stored.value).unwrap_or_else(|_| RawValue::NULL.to_owned());
        Self { name: stored.name, value, updated_at: timestamp(stored.updated_ms) }
    }
}

/// List the configuration values of an app, by name.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/config", tag = "settings", security(("token" = ["app:{app}:read"])), params(AppPath, PageQuery),
    responses(
        (status = 200, description = "A page of the list.", body = List<Value>),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_config(
    _: Reader,
    state: State,
    path: AppPath,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Value>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|cursor| Name::parse(cursor).ok())?);
    let app = state.app_id(&path.app).await?;
    let values = state.store.config_values(app, after.as_ref(), limit + 1).await?;
    Ok(Json(List::new(values, limit, |value: &ConfigValue| value.name.clone())))
}

/// Get a configuration value, as it is.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/config/{name}", tag = "settings", security(("token" = ["app:{app}:read"])),
    params(SettingPath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The value.", body = serde_json::Value, headers(("ETag" = String))),
        (status = 304, description = "The value is the one that the client has."),
        (status = 404, description = "`app-not-found`, `config-not-found`"),
    ),
)]
async fn get_config(
    _: Reader,
    state: State,
    path: SettingPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let found = state.store.config_value(app, &path.name).await?;
    let found = found.ok_or_else(|| Problem::new(Code::ConfigNotFound))?;
    let tag = found.tag();
    answer(&precondition, &tag, ([(header::CONTENT_TYPE, "application/json")], found.value))
}

/// Set a configuration value.
///
/// From the answer on, calls that have not used the configuration yet see this value.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/config/{name}", tag = "settings", security(("token" = ["app:{app}:admin"])),
    params(
        SettingPath,
        ("If-Match" = Option<String>, Header, description = "Replace only what has one of these `ETag`s."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
    ),
    request_body(description = "The value, 64 KiB at most.", content((serde_json::Value = "application/json"))),
    responses(
        (status = 201, description = "The name is new.", headers(("ETag" = String))),
        (status = 204, description = "The name has the value.", headers(("ETag" = String))),
        (status = 400, description = "`name-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 409, description = "`too-many-settings`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`config-invalid`"),
    ),
)]
async fn put_config(
    _: AppAdmin,
    state: State,
    path: SettingPath,
    precondition: Precondition,
    Body(value): Body,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let (store, name) = (state.store, path.name);
    let tag = tag(&value);
    let change = async move { store.put_config(app, &name, &value, &precondition).await };
    Ok(answer_put(state.publisher.change(change).await?, &tag))
}

/// Delete a configuration value.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/config/{name}", tag = "settings", security(("token" = ["app:{app}:admin"])),
    params(
        SettingPath,
        ("If-Match" = Option<String>, Header, description = "Delete only what has one of these `ETag`s."),
    ),
    responses(
        (status = 204, description = "The value is gone."),
        (status = 404, description = "`app-not-found`, `config-not-found`"),
        (status = 412, description = "`precondition-failed`"),
    ),
)]
async fn delete_config(
    _: AppAdmin,
    state: State,
    path: SettingPath,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    let app = state.app_id(&path.app).await?;
    let (store, name) = (state.store, path.name);
    state.publisher.change(async move { store.delete_config(app, &name, &precondition).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A value to store: JSON text, compact.
struct Body(String);

impl FromRequest<State> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_as("application/json", "value", &parts.headers, body, MAX_CONFIG_BYTES).await?;
        json(&bytes, Code::ConfigInvalid).map(Self)
    }
}
