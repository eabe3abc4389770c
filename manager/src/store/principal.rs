//! Principals: who may use the API and call scripts that ask for somebody, and their scopes.

use std::collections::HashMap;

use picloud_host::ports::StoreError;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::scope::{Apps, Permission, Scope, Scopes};
use crate::store::column::{damaged, to_i64, to_u64};
use crate::store::session::{self, Session};
use crate::store::{ChangeError, Store, failed};

/// How [`Scope::Server`] is stored.
const SERVER: &str = "server";

/// What has to be known of a principal to know it again.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Its identity, never used again.
    pub id: i64,
    /// `token` or `user`.
    pub kind: String,
    /// Its name, unique among its kind.
    pub name: String,
    /// The hash of the token.
    pub token_hash: Option<Vec<u8>>,
    /// Where it is logged in, also what is over.
    pub sessions: Vec<Session>,
    /// What it may do.
    pub scopes: Scopes,
    /// From when on it is nobody, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    kind: String,
    name: String,
    token_hash: Option<Vec<u8>>,
    expires_ms: Option<i64>,
}

/// A scope, with the name of its app if it is for one.
#[derive(FromRow)]
struct ScopeRow {
    principal_id: i64,
    app: Option<String>,
    permission: String,
}

impl ScopeRow {
    fn into_scope(self) -> sqlx::Result<Scope> {
        if self.permission == SERVER && self.app.is_none() {
            return Ok(Scope::Server);
        }
        let permission = Permission::parse(&self.permission).ok_or_else(|| damaged("no permission"))?;
        let apps = match self.app {
            None => Apps::All,
            Some(app) => Apps::One(Name::parse(&app).map_err(damaged)?),
        };
        Ok(Scope::App(apps, permission))
    }
}

/// The columns of [`ScopeRow`] and where they come from. Those of apps that were deleted are not among them: their names
/// may be those of other apps.
macro_rules! select_scope {
    ($rest:literal) => {
        concat!(
            "select s.principal_id, app.name as app, s.permission \
             from scope s \
             left join app on app.id = s.app_id \
             where (s.app_id is null or app.deleted_ms is null) ",
            $rest
        )
    };
}

impl Store {
    /// Everybody who is known.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn principals(&self) -> Result<Vec<Principal>, StoreError> {
        let read = async {
            let mut tx = self.database.read.begin().await?;
            let rows: Vec<Row> =
                sqlx::query_as("select id, kind, name, token_hash, expires_ms from principal")
                    .fetch_all(&mut *tx)
                    .await?;
            let scopes: Vec<ScopeRow> =
                sqlx::query_as(select_scope!("order by s.rowid")).fetch_all(&mut *tx).await?;
            let mut by_principal: HashMap<i64, Vec<Scope>> = HashMap::new();
            for row in scopes {
                by_principal.entry(row.principal_id).or_default().push(row.into_scope()?);
            }
            let mut sessions: HashMap<i64, Vec<Session>> = HashMap::new();
            for session in session::all(&mut tx).await? {
                sessions.entry(session.principal_id).or_default().push(session);
            }
            let principals = rows.into_iter().map(|row| Principal {
                id: row.id,
                kind: row.kind,
                name: row.name,
                token_hash: row.token_hash,
                sessions: sessions.remove(&row.id).unwrap_or_default(),
                scopes: Scopes(by_principal.remove(&row.id).unwrap_or_default()),
                expires_ms: row.expires_ms.map(to_u64),
            });
            Ok(principals.collect())
        };
        read.await.map_err(|error: sqlx::Error| failed(error))
    }

    /// Note when a principal was last there, and with which session, if it was one.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn note_use(&self, principal: i64, session: Option<i64>, at_ms: u64) -> Result<(), StoreError> {
        let write = async {
            let mut tx = self.begin().await?;
            note_principal(&mut tx, principal, to_i64(at_ms)).await?;
            sqlx::query("update session set last_used_ms = $1 where id = $2")
                .bind(to_i64(at_ms))
                .bind(session)
                .execute(&mut *tx)
                .await?;
            tx.commit().await
        };
        write.await.map_err(failed)
    }
}

/// Note when a principal was last there.
pub(super) async fn note_principal(
    tx: &mut SqliteConnection,
    principal: i64,
    at_ms: i64,
) -> sqlx::Result<()> {
    let update = "update principal set last_used_ms = $1 where id = $2";
    sqlx::query(update).bind(at_ms).bind(principal).execute(tx).await?;
    Ok(())
}

/// What is read of a principal, to which its scopes come.
pub(super) trait ScopedRow {
    /// What it is with them.
    type Principal;

    /// The identity of the principal.
    fn id(&self) -> i64;

    /// The same with its scopes.
    fn with_scopes(self, scopes: Scopes) -> Self::Principal;
}

/// Read the scopes of each principal of which the rest is read.
pub(super) async fn with_scopes<R: ScopedRow>(
    connection: &mut SqliteConnection,
    rows: Vec<R>,
) -> sqlx::Result<Vec<R::Principal>> {
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let scopes = scopes_of(connection, row.id()).await?;
        all.push(row.with_scopes(scopes));
    }
    Ok(all)
}

/// The scopes of a principal, in the order in which they were given.
pub(super) async fn scopes_of(connection: &mut SqliteConnection, principal: i64) -> sqlx::Result<Scopes> {
    let rows: Vec<ScopeRow> = sqlx::query_as(select_scope!("and s.principal_id = $1 order by s.rowid"))
        .bind(principal)
        .fetch_all(connection)
        .await?;
    rows.into_iter().map(ScopeRow::into_scope).collect::<sqlx::Result<_>>().map(Scopes)
}

/// Replace the scopes of a principal.
///
/// # Errors
///
/// [`ChangeError::NoApp`] when one is for an app that does not exist; the database failed.
pub(super) async fn set_scopes(
    tx: &mut SqliteConnection,
    principal: i64,
    scopes: &[Scope],
) -> Result<(), ChangeError> {
    sqlx::query("delete from scope where principal_id = $1").bind(principal).execute(&mut *tx).await?;
    for scope in scopes {
        let (apps, permission) = match scope {
            Scope::Server => (&Apps::All, SERVER),
            Scope::App(apps, permission) => (apps, permission.as_str()),
        };
        let insert = match apps {
            Apps::All => sqlx::query("insert into scope (principal_id, permission) values ($1, $2)")
                .bind(principal)
                .bind(permission),
            Apps::One(app) => sqlx::query(
                "insert into scope (principal_id, permission, app_id) \
                 select $1, $2, id from app where name = $3 and deleted_ms is null",
            )
            .bind(principal)
            .bind(permission)
            .bind(app.as_str()),
        };
        if insert.execute(&mut *tx).await?.rows_affected() == 0 {
            return Err(ChangeError::NoApp);
        }
    }
    Ok(())
}

/// Refuse a change after which nobody could do everything any more. Tokens and users count, since a user can log in and make
/// a token; but nobody who expires, who is no help later.
pub(super) async fn check_admin_left(tx: &mut SqliteConnection) -> Result<(), ChangeError> {
    let left: i64 = sqlx::query_scalar(
        "select count(*) from scope s join principal p on p.id = s.principal_id \
         where s.permission = 'server' and p.expires_ms is null",
    )
    .fetch_one(tx)
    .await?;
    if left == 0 { Err(ChangeError::LastAdmin) } else { Ok(()) }
}

/// Take away what principals may do with an app that is being deleted. Tokens that may do nothing else go with it; users
/// stay, who are people.
pub(super) async fn remove_app(tx: &mut SqliteConnection, app: i64) -> sqlx::Result<()> {
    for statement in [
        "delete from principal where kind = 'token' and id in (select principal_id from scope where app_id = $1) \
         and not exists (select 1 from scope where principal_id = principal.id and app_id is not $1)",
        "delete from scope where app_id = $1",
    ] {
        sqlx::query(statement).bind(app).execute(&mut *tx).await?;
    }
    Ok(())
}
