//! Tokens over REST: make, list, rotate, revoke.

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
use crate::api::path::TokenPath;
use crate::api::query::{List, PageQuery, Query};
use crate::api::timestamp::timestamp;
use crate::name::Name;
use crate::scope::Scope;
use crate::store::token;

/// The longest body, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// The most scopes of a token.
const MAX_SCOPES: usize = 100;

pub(crate) fn router() -> OpenApiRouter<State> {
    OpenApiRouter::default()
        .routes(routes!(list_tokens, create_token))
        .routes(routes!(get_token, delete_token))
        .routes(routes!(rotate_token))
}

/// A token, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    /// Its name, unique among tokens.
    name: String,
    /// How it begins, so that whoever has it can tell which one it is; null for one from before there were scopes.
    #[schema(required, example = "picloud_h3Jk9w")]
    prefix: Option<String>,
    /// What it opens.
    #[schema(example = json!(["app:shop:deploy"]))]
    scopes: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// From when on it is worth nothing; null if it does not expire.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    expires_at: Option<Timestamp>,
    /// When it was last used, to the minute; null if it never was.
    #[schema(value_type = Option<String>, format = DateTime, required)]
    last_used_at: Option<Timestamp>,
}

impl From<token::Token> for Token {
    fn from(token: token::Token) -> Self {
        Self {
            name: token.name,
            prefix: token.prefix,
            scopes: token.scopes.texts(),
            created_at: timestamp(token.created_ms),
            expires_at: token.expires_ms.map(timestamp),
            last_used_at: token.last_used_ms.map(timestamp),
        }
    }
}

/// A token with its text, which is in this answer and nowhere else.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NewToken {
    /// The text: `Authorization: Bearer TOKEN`.
    token: String,
    #[serde(flatten)]
    about: Token,
}

/// A token to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenBody {
    /// Its name: lower-case letters, digits, `-` and `_`, 63 at most, the first a letter or digit.
    #[schema(example = "ci")]
    name: String,
    /// What it opens: `admin`, or `app:NAME:PERMISSION` with `read`, `invoke`, `deploy` or `admin`, and `*` for every app.
    #[schema(min_items = 1, max_items = 100, example = json!(["app:shop:deploy"]))]
    scopes: Vec<String>,
    /// From when on it is worth nothing; never when not given.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A token that may be made.
#[derive(Debug)]
struct Body {
    name: Name,
    scopes: Vec<Scope>,
    expires_ms: Option<u64>,
}

/// What a principal is to open: `least` scopes at least.
///
/// # Errors
///
/// Says what is wrong.
pub(super) fn parse_scopes(texts: &[String], least: usize) -> Result<Vec<Scope>, String> {
    if !(least..=MAX_SCOPES).contains(&texts.len()) {
        return Err(format!("scopes must have {least} to {MAX_SCOPES} entries"));
    }
    texts.iter().map(|text| Scope::parse(text).map_err(|error| format!("{text:?}: {error}"))).collect()
}

impl FromRequest<State> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &State) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let bytes = read_as("application/json", "token", &parts.headers, body, MAX_BYTES).await?;
        let TokenBody { name, scopes, expires_at } =
            object(&bytes).map_err(|error| invalid(error.to_string()))?;
        let scopes = parse_scopes(&scopes, 1).map_err(invalid)?;
        let expires_ms = expires_at.map(|at| u64::try_from(at.as_millisecond()).unwrap_or(0));
        if expires_ms.is_some_and(|expires_ms| expires_ms <= state.clock.now_ms()) {
            return Err(invalid("expires_at is not in the future"));
        }
        Ok(Self { name: Name::parse(&name)?, scopes, expires_ms })
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(Code::TokenInvalid).detail(detail)
}

/// List the tokens, in the order of their names.
#[utoipa::path(
    get, path = "/api/v1/tokens", tag = "tokens", security(("token" = ["admin"])), params(PageQuery),
    responses((status = 200, description = "A page of the list.", body = List<Token>)),
)]
async fn list_tokens(
    _: Admin,
    state: State,
    Query(page): Query<PageQuery>,
) -> Result<Json<List<Token>>, Problem> {
    let (limit, after) = (page.limit()?, page.cursor(|name| Name::parse(name).ok())?);
    let tokens = state.store.tokens(after.as_ref(), limit + 1).await?;
    Ok(Json(List::new(tokens, limit, |token| token.name.clone())))
}

/// Make a token.
///
/// The answer has its text, which is stored nowhere: whoever loses it rotates the token.
#[utoipa::path(
    post, path = "/api/v1/tokens", tag = "tokens", security(("token" = ["admin"])),
    request_body(description = "The token.", content((TokenBody = "application/json"))),
    responses(
        (status = 201, description = "The token.", body = NewToken, headers(("Location" = String))),
        (status = 400, description = "`name-invalid`"),
        (status = 404, description = "`app-not-found`: a scope is for an app that does not exist"),
        (status = 409, description = "`name-taken`, `too-many-tokens`"),
        (status = 413, description = "`body-too-large`"),
        (status = 415, description = "`media-type-unsupported`"),
        (status = 422, description = "`token-invalid`"),
    ),
)]
async fn create_token(_: Admin, state: State, body: Body) -> Result<Response, Problem> {
    let store = state.store;
    let change = async move { store.create_token(&body.name, &body.scopes, body.expires_ms).await };
    let (text, token) = state.publisher.change(change).await?;
    let location = format!("/api/v1/tokens/{}", token.name);
    let answer = Json(NewToken { token: text, about: token.into() });
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], [NOT_STORED], answer).into_response())
}

/// No cache on the way may keep the text of a token.
const NOT_STORED: (header::HeaderName, &str) = (header::CACHE_CONTROL, "no-store");

/// Get a token, without its text.
#[utoipa::path(
    get, path = "/api/v1/tokens/{name}", tag = "tokens", security(("token" = ["admin"])), params(TokenPath),
    responses(
        (status = 200, description = "The token.", body = Token),
        (status = 404, description = "`token-not-found`"),
    ),
)]
async fn get_token(_: Admin, state: State, path: TokenPath) -> Result<Json<Token>, Problem> {
    let token = state.store.token(&path.name).await?.ok_or_else(|| Problem::new(Code::TokenNotFound))?;
    Ok(Json(token.into()))
}

/// Give a token another text.
///
/// The old one is worth nothing from the answer on.
#[utoipa::path(
    post, path = "/api/v1/tokens/{name}/rotate", tag = "tokens", security(("token" = ["admin"])), params(TokenPath),
    responses(
        (status = 200, description = "The token with its new text.", body = NewToken),
        (status = 404, description = "`token-not-found`"),
    ),
)]
async fn rotate_token(_: Admin, state: State, path: TokenPath) -> Result<Response, Problem> {
    let store = state.store;
    let change = async move { store.rotate_token(&path.name).await };
    let (text, token) = state.publisher.change(change).await?;
    Ok(([NOT_STORED], Json(NewToken { token: text, about: token.into() })).into_response())
}

/// Revoke a token.
///
/// It is worth nothing from the answer on.
#[utoipa::path(
    delete, path = "/api/v1/tokens/{name}", tag = "tokens", security(("token" = ["admin"])), params(TokenPath),
    responses(
        (status = 204, description = "The token is gone."),
        (status = 404, description = "`token-not-found`"),
        (status = 409, description = "`last-admin`"),
    ),
)]
async fn delete_token(_: Admin, state: State, path: TokenPath) -> Result<StatusCode, Problem> {
    let store = state.store;
    state.publisher.change(async move { store.delete_token(&path.name).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
