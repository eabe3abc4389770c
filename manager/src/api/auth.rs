//! What may be done by whom. A handler says in its arguments what it needs: [`Reader`], [`Invoker`], [`Deployer`] or
//! [`AppAdmin`] for the app in its path, [`Admin`] for the server, [`Somebody`] for anybody who is known, or
//! [`ExecutionAccess`]. A test holds every route against what the description of the API says of it.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::request::Parts;
use http::{Method, Uri};
use picloud_host::answer::access_digest;
use picloud_host::call::AppId;
use picloud_host::problem::{Code, Problem};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::api::State;
use crate::api::audit;
use crate::api::caller::Caller;
use crate::api::path::{AppPath, ExecutionPath};
use crate::api::session;
use crate::name::Name;
use crate::scope::Permission;

/// Who may use the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Whoever has a token or a session.
    Token,
    /// Whoever can connect: for `--dev`, on a loopback address and behind [`crate::api::guard`].
    Dev,
}

/// Whether pages of scripts are of the origin at which the API is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// They are: what such a page sends cannot be told from what a page of the control plane sends, so that no cookie may say
    /// who it is.
    Shared,
    /// They are not: the API has a listener of its own.
    Own,
}

/// What a request needs to be allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Needs {
    /// A token or a session, whatever it is for.
    Token,
    /// A session.
    Session,
    /// The scope `admin`.
    Server,
    /// A scope for the app in the path.
    App(Permission),
}

/// A need, as a type.
pub(crate) trait Rule: Send + Sync + 'static {
    const NEEDS: Needs;
}

/// Proof that whoever has sent the request may do it.
#[derive(Debug)]
pub(crate) struct May<R> {
    /// Who that is.
    pub(crate) caller: Caller,
    rule: PhantomData<R>,
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $rule:ident: $needs:expr;)+) => {
        $(
            #[derive(Debug)]
            pub(crate) struct $rule;

            impl Rule for $rule {
                const NEEDS: Needs = $needs;
            }

            $(#[doc = $doc])+
            pub(crate) type $name = May<$rule>;
        )+
    };
}

rules! {
    /// Anybody with a token or a session.
    Somebody = NeedsToken: Needs::Token;
    /// A user who is logged in.
    LoggedIn = NeedsSession: Needs::Session;
    /// Who may do everything.
    Admin = NeedsServer: Needs::Server;
    /// Who may see the app.
    Reader = NeedsRead: Needs::App(Permission::Read);
    /// Who may call the app's scripts and send events.
    Invoker = NeedsInvoke: Needs::App(Permission::Invoke);
    /// Who may change what runs in the app.
    Deployer = NeedsDeploy: Needs::App(Permission::Deploy);
    /// Who may change what the app may do.
    AppAdmin = NeedsAppAdmin: Needs::App(Permission::Admin);
}

impl<R: Rule> FromRequestParts<State> for May<R> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let caller = allowed(parts, state, R::NEEDS).await?;
        Ok(Self { caller, rule: PhantomData })
    }
}

/// Who has sent the request, if they may. What may change something is written down.
async fn allowed(parts: &mut Parts, state: &State, needs: Needs) -> Result<Caller, Problem> {
    let caller = checked(parts, state, needs).await?;
    audit::begin(parts, state, &caller, needs).await?;
    Ok(caller)
}

async fn checked(parts: &mut Parts, state: &State, needs: Needs) -> Result<Caller, Problem> {
    let caller = Caller::of(parts).clone();
    let refused = |detail: &str| Err(Problem::new(Code::Unauthorized).detail(detail));
    let scopes = match &caller {
        Caller::Dev => {
            if let Needs::Session = needs {
                session::of(&caller)?;
            }
            return Ok(caller);
        }
        Caller::Known(known) => &known.scopes,
        Caller::Nobody => return refused("Send a token: Authorization: Bearer TOKEN."),
        Caller::Unknown => return refused("This token or session is not known here, or has expired."),
        Caller::Forged(code) => return Err(Problem::new(*code)),
        Caller::Limited { retry_after_secs } => {
            let detail = "Too many tokens from this address were not known.";
            return Err(Problem::new(Code::TooManyAttempts).detail(detail).retry_after(*retry_after_secs));
        }
    };
    let (allowed, scope) = match needs {
        Needs::Token => (true, String::new()),
        Needs::Session => {
            session::of(&caller)?;
            (true, String::new())
        }
        Needs::Server => (scopes.allow_server(), "admin".to_owned()),
        Needs::App(permission) => {
            // What is told does not depend on whether there is such an app.
            let AppPath { app } = AppPath::from_request_parts(parts, state).await?;
            (scopes.allow(app.as_str(), permission), format!("app:{app}:{}", permission.as_str()))
        }
    };
    if !allowed {
        return Err(Problem::new(Code::Forbidden).detail(format!("This needs the scope {scope}.")));
    }
    Ok(caller)
}

/// Proof that the request may see one execution, read its answer and cancel it: who has sent it may see the app (and for
/// cancelling, change what runs in it), or has the key that the caller was given with the address. The key opens nothing
/// else.
#[derive(Debug)]
pub(crate) struct ExecutionAccess {
    /// The app's name.
    pub(crate) app: Name,
    /// The app.
    pub(crate) app_id: AppId,
    /// The execution.
    pub(crate) id: Uuid,
    /// What has opened it.
    pub(crate) by: Access,
}

/// What opens an execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// A token, for whoever owns the script.
    Token,
    /// The key, for whoever has called it.
    Key,
}

impl FromRequestParts<State> for ExecutionAccess {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Problem> {
        let path = ExecutionPath::from_request_parts(parts, state).await;
        if let (Ok(ExecutionPath { app, id }), Some(key)) = (&path, key(&parts.uri))
            && let Some(app_id) = state.store.app_id(app).await?
            && let Some(call) = state.answers.call(app_id, *id).await?
            && let Some(access) = call.access
            && bool::from(access_digest(key).ct_eq(&access))
        {
            return Ok(Self { app: app.clone(), app_id, id: *id, by: Access::Key });
        }
        let cancels = parts.method == Method::DELETE;
        let permission = if cancels { Permission::Deploy } else { Permission::Read };
        // Without a good token nothing is told about the path either.
        allowed(parts, state, Needs::App(permission)).await?;
        let ExecutionPath { app, id } = path?;
        let app_id = state.app_id(&app).await?;
        Ok(Self { app, app_id, id, by: Access::Token })
    }
}

/// The key in the query. It is of characters that are not encoded.
pub(super) fn key(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|parameter| parameter.strip_prefix("key="))
}
