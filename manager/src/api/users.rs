//! Users over REST: make, list, change what they may do, set passwords, delete.

use axum::Json;
use axum::extract::{FromRequest, Request};
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use picloud_host::problem::{Code, Problem};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::State;
use crate::api::auth::Admin;
use crate::api::body::{object, read_as};
use crate::api::path::UserPath;
use crate::api::precondition::{answer, etag};
use crate::api::query::{List, PageQuery, Query};
use crate::api::timestamp::timestamp;
use crate::api::tokens::parse_scopes;
use crate::name::Name;
use crate::password::{MAX_BYTES, MIN_BYTES, Password};
use crate::scope::Scope;
use crate::store::script::Put;
use crate::store::{Precondition, user};

/// The longest body, in bytes.
const MAX_BODY_BYTES: u64 = 64 << 10;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(list_users))
        .routes(routes!(get_user, put_user, delete_user))
        .routes(routes!(set_password))
}

/// A user, without its password.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    /// Its name, unique among users.
    name: String,
    /// What it may do.
    #[schema(example = json!(["app:shop:deploy"]))]
    scopes: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When its password was set.
    #[schema(value_type = String, format = DateTime)]
    password_changed_at: Timestamp,
    /// When it was last there, to the minute; null if it never was.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    last_used_at: Option<Timestamp>,
}

impl From<user::User> for User {
    fn from(user: user::User) -> Self {
        Self {
            name: user.name,
            scopes: user.scopes.texts(),
            created_at: timestamp(user.created_ms),
            password_changed_at: timestamp(user.password_changed_ms),
            last_used_at: user.last_used_ms.map(timestamp),
        }
    }
}

/// A user to be made or changed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserBody {
    /// All that it may do: `admin`, or `app:NAME:PERMISSION` with `read`, `invoke`, `deploy` or `admin`, and `*` for every
    /// app. With none it can only log in.
    #[schema(max_items = 100, example = json!(["app:shop:deploy"]))]
    scopes: Vec<String>,
    /// Its password, of 12 to 1024 bytes. Needed for a new user; without it one that is there keeps its own.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password, min_length = 12, max_length = 1024)]
    password: Option<Password>,
}

/// A password to be set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PasswordBody {
    /// The password, of 12 to 1024 bytes.
    #[schema(value_type = String, format = Password, min_length = 12, max_length = 1024)]
    password: Password,
}

/// A user that may be.
#[derive(Debug)]
struct Body {
    scopes: Vec<Scope>,
    password: Option<Password>,
}

impl FromRequest<State> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_as("application/json", "user", &parts.headers, body, MAX_BODY_BYTES).await?;
        let UserBody { scopes, password } = object(&bytes).map_err(|error| invalid(error.to_string()))?;
        let scopes = parse_scopes(&scopes, 0).map_err(invalid)?;
        Ok(Self { scopes, password: password.map(chosen).transpose()? })
    }
}

/// A password that may be set.
#[derive(Debug)]
struct NewPassword(Password);

impl FromRequest<State> for NewPassword {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_as("application/json", "password", &parts.headers, body, MAX_BODY_BYTES).await?;
        let PasswordBody { password } = object(&bytes).map_err(|error| invalid(error.to_string()))?;
        chosen(password).map(Self)
    }
}

/// A password, if somebody may choose it.
///
/// # Errors
///
/// `password-invalid`.
pub(super) fn chosen(password: Password) -> Result<Password, Problem> {
    if password.may_be_chosen() {
        return Ok(password);
    }
    let detail = format!("A password has {MIN_BYTES} to {MAX_BYTES} bytes.");
    Err(Problem::new(Code::PasswordInvalid).detail(detail))
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::UserInvalid).detail(detail)
}

/// List the users, in the order of their names.
#[utoipa::path(
    get, path = "/api/v1/users", tag = "users", security(("token" = ["admin"])), params(PageQuery),
    responses((status = 200, description = "A page of the list.", body = List<User>)),
)]
async fn list_users(
    _: Admin,
    state: State,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<User>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|name| Name::parse(name).ok())?);
    let users = state.store.users(after.as_ref(), limit + 1).await?;
    Ok(Json(List::new(users, limit, |user| user.name.clone())))
}

/// Get a user.
#[utoipa::path(
    get, path = "/api/v1/users/{name}", tag = "users", security(("token" = ["admin"])),
    params(UserPath, ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the client has.")),
    responses(
        (status = 200, description = "The user.", body = User, headers(("ETag" = String))),
        (status = 304, description = "The user is as the client has it."),
        (status = 404, description = "`user-not-found`"),
    ),
)]
async fn get_user(
    _: Admin,
    state: State,
    path: UserPath,
    precondition: Precondition,
) -> Result<Response, Problem> {
    let user = state.store.user(&path.name).await?.ok_or_else(|| Problem::new(Code::UserNotFound))?;
    answer(&precondition, &user.tag(), Json(User::from(user)))
}

/// Make a user, or replace what it may do.
///
/// What it may do counts from the answer on, also where it is logged in. A password that is given is its password from then on.
#[utoipa::path(
    put, path = "/api/v1/users/{name}", tag = "users", security(("token" = ["admin"])),
    params(
        UserPath,
        ("If-Match" = Option<String>, Header, description = "Change only what has one of these `ETag`s."),
        ("If-None-Match" = Option<String>, Header, description = "`*`: make only."),
    ),
    request_body(description = "The user.", content((UserBody = "application/json"))),
    responses(
        (status = 200, description = "The user is so now.", body = User, headers(("ETag" = String))),
        (status = 201, description = "The user is new.", body = User,
         headers(("ETag" = String), ("Location" = String))),
        (status = 404, description = "`app-not-found`, for a scope"),
        (status = 409, description = "`too-many-users`, `last-admin`"),
        (status = 412, description = "`precondition-failed`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`user-invalid`, `password-invalid`"),
        (status = 503, description = "`saturated`, `storage-unavailable`"),
    ),
)]
async fn put_user(
    _: Admin,
    state: State,
    path: UserPath,
    precondition: Precondition,
    Body { scopes, password }: Body,
) -> Result<Response, Problem> {
    let hash = match password {
        Some(password) => Some(state.passwords.hash(password).await?),
        None => None,
    };
    let location = format!("/api/v1/users/{}", path.name);
    let store = state.store;
    let change = async move { store.put_user(&path.name, &scopes, hash.as_deref(), &precondition).await };
    let (put, user) = state.publisher.change(change).await?;
    let answer = ([(header::ETAG, etag(&user.tag()))], Json(User::from(user)));
    Ok(match put {
        Put::Created => (StatusCode::CREATED, [(header::LOCATION, location)], answer).into_response(),
        Put::Replaced | Put::Unchanged => answer.into_response(),
    })
}

/// Set the password of a user.
#[utoipa::path(
    put, path = "/api/v1/users/{name}/password", tag = "users", security(("token" = ["admin"])), params(UserPath),
    request_body(description = "The password.", content((PasswordBody = "application/json"))),
    responses(
        (status = 204, description = "It is the password now, and no other is."),
        (status = 404, description = "`user-not-found`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`user-invalid`, `password-invalid`"),
        (status = 503, description = "`saturated`, `storage-unavailable`"),
    ),
)]
async fn set_password(
    _: Admin,
    state: State,
    path: UserPath,
    NewPassword(password): NewPassword,
) -> Result<StatusCode, Problem> {
    let (hash, store) = (state.passwords.hash(password).await?, state.store);
    state.publisher.change(async move { store.set_user_password(&path.name, &hash).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete a user.
#[utoipa::path(
    delete, path = "/api/v1/users/{name}", tag = "users", security(("token" = ["admin"])), params(UserPath),
    responses(
        (status = 204, description = "The user is gone."),
        (status = 404, description = "`user-not-found`"),
        (status = 409, description = "`last-admin`"),
    ),
)]
async fn delete_user(_: Admin, state: State, path: UserPath) -> Result<StatusCode, Problem> {
    let store = state.store;
    state.publisher.change(async move { store.delete_user(&path.name).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
