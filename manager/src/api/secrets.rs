//! Secrets of apps over REST: they are set, listed and deleted, and never given out.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::Response;
use http::StatusCode;
use jiff::Timestamp;
use picloud_host::problem::{Code, Problem};
use picloud_host::secret::{MAX_SECRET_BYTES, MIN_SECRET_BYTES, SecretText};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use zeroize::Zeroizing;

use crate::api::State;
use crate::api::auth::{AppAdmin, Reader};
use crate::api::body::read_as;
use crate::api::path::{AppPath, SettingPath};
use crate::api::precondition::answer_put;
use crate::api::query::{List, PageQuery, Query};
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::store::Precondition;
use crate::store::secret::SecretInfo;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default().routes(routes!(list_secrets)).routes(routes!(put_secret, delete_secret))
}

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Secret {
    name: String,
    /// When it was last set.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// False when it was set under another key than the server has now: set it again.
    readable: bool,
}

impl From<SecretInfo> for Secret {
    fn from(stored: SecretInfo) -> Self {
        Self { name: stored.name, updated_at: timestamp(stored.updated_ms), readable: stored.readable }
    }
}

/// List the secrets of an app, by name. Their values are never shown.
#[utoipa::path(
    get, path = "/api/v1/apps/{app}/secrets", tag = "settings", security(("token" = ["app:{app}:read"])), params(AppPath, PageQuery),
    responses(
        (status = 200, description = "A page of the list.", body = List<Secret>),
        (status = 400, description = "`query-invalid`"),
        (status = 404, description = "`app-not-found`"),
    ),
)]
async fn list_secrets(
    _: Reader,
    state: State,
    path: AppPath,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Secret>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|cursor| Name::parse(cursor).ok())?);
    let app = state.app_id(&path.app).await?;
    let secrets = state.store.secrets(app, after.as_ref(), limit + 1).await?;
    Ok(Json(List::new(secrets, limit, |secret: &SecretInfo| secret.name.clone())))
}

/// Set a secret.
///
/// From the answer on, calls that have not used secrets yet see this value. Each change gives a secret another `ETag`, which
/// says nothing of the value; only this answer has it.
#[utoipa::path(
    put, path = "/api/v1/apps/{app}/secrets/{name}", tag = "settings", security(("token" = ["app:{app}:admin"])),
    params(
        SettingPath,
        ("If-Match" = Option<String>, Header, description = "Replace only what has one of these `ETag`s."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: create only."),
    ),
    request_body(
        description = "The value as it is: text of 8 bytes to 16 KiB.",
        content((String = "text/plain")),
    ),
    responses(
        (status = 201, description = "The secret is new.", headers(("ETag" = String))),
        (status = 204, description = "The secret has the value.", headers(("ETag" = String))),
        (status = 400, description = "`name-invalid`"),
        (status = 404, description = "`app-not-found`"),
        (status = 409, description = "`too-many-settings`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`secret-invalid`"),
        (status = 503, description = "`storage-unavailable`"),
    ),
)]
async fn put_secret(
    _: AppAdmin,
    state: State,
    path: SettingPath,
    precondition: Precondition,
    Body(value): Body,
) -> Result<Response, Problem> {
    let app = state.app_id(&path.app).await?;
    let (store, name) = (state.store, path.name);
    let change = async move { store.put_secret(app, &name, &value, &precondition).await };
    let (put, tag) = state.publisher.change(change).await?;
    Ok(answer_put(put, &tag))
}

/// Delete a secret. Calls that have used secrets already go on with it.
#[utoipa::path(
    delete, path = "/api/v1/apps/{app}/secrets/{name}", tag = "settings", security(("token" = ["app:{app}:admin"])),
    params(
        SettingPath,
        ("If-Match" = Option<String>, Header, description = "Delete only what has one of these `ETag`s."),
    ),
    responses(
        (status = 204, description = "The secret is gone."),
        (status = 404, description = "`app-not-found`, `secret-not-found`"),
        (status = 412, description = "`precondition-failed`"),
    ),
)]
async fn delete_secret(
    _: AppAdmin,
    state: State,
    path: SettingPath,
    precondition: Precondition,
) -> Result<StatusCode, Problem> {
    let app = state.app_id(&path.app).await?;
    let (store, name) = (state.store, path.name);
    state.publisher.change(async move { store.delete_secret(app, &name, &precondition).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The value of a secret, checked.
struct Body(SecretText);

impl FromRequest<State> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_as("text/plain", "value", &parts.headers, body, MAX_SECRET_BYTES as u64).await?;
        secret(bytes.into()).map(Self)
    }
}

/// No problem says anything of the value but its length.
fn secret(bytes: Vec<u8>) -> Result<SecretText, Problem> {
    let invalid = |detail: String| Problem::new(Code::SecretInvalid).detail(detail);
    let text = String::from_utf8(bytes).map_err(|_| invalid("The value is not UTF-8.".to_owned()))?;
    let text = Zeroizing::new(text);
    if text.len() < MIN_SECRET_BYTES {
        return Err(invalid(format!(
            "The value has {} bytes, but a secret has {MIN_SECRET_BYTES} at least, so that it can be kept out of logs \
             and answers; what is shorter and no secret belongs into the configuration.",
            text.len()
        )));
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
        let detail = "The value holds a control character other than a tab or a line break.";
        return Err(invalid(detail.to_owned()));
    }
    Ok(SecretText::new(text))
}
