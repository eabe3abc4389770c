//! Sessions of users who are logged in. The database knows hashes of their texts only.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use picloud_host::ports::StoreError;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::scope::Scopes;
use crate::store::column::{damaged, to_u64};
use crate::store::principal::{note_principal, scopes_of};
use crate::store::token::{TOKEN_PREFIX, hash_of};
use crate::store::user::{StoredPassword, check_password_unchanged};
use crate::store::{ChangeError, Store, failed};

/// How the text of every session begins: as a token does, so that whoever looks for one finds the other.
pub const SESSION_PREFIX: &str = "picloud_session_";

/// The most sessions that a user has; of more the oldest ends.
pub const MAX_SESSIONS: i64 = 20;

const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// How a session is shown with each request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionKind {
    /// In the header `Authorization`, by programs such as the command line.
    Bearer,
    /// In a cookie, by a browser, which sends it on its own.
    Cookie,
}

impl SessionKind {
    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
        }
    }

    fn parse(word: &str) -> sqlx::Result<Self> {
        match word {
            "bearer" => Ok(Self::Bearer),
            "cookie" => Ok(Self::Cookie),
            _ => Err(damaged("no kind of session")),
        }
    }

    /// How long it may last, in milliseconds: a browser's shorter than a program's, since more people come by.
    #[must_use]
    pub fn lifetime_ms(self) -> u64 {
        match self {
            Self::Bearer => 30 * DAY_MS,
            Self::Cookie => 7 * DAY_MS,
        }
    }

    /// How long it may be without use, in milliseconds.
    #[must_use]
    pub fn idle_ms(self) -> u64 {
        match self {
            Self::Bearer => 7 * DAY_MS,
            Self::Cookie => 12 * HOUR_MS,
        }
    }
}

/// What is known of a session.
#[derive(Debug, Clone)]
pub struct Session {
    /// Its identity, never used again.
    pub id: i64,
    /// Whose it is.
    pub principal_id: i64,
    /// The hash of its text.
    pub hash: Vec<u8>,
    /// How it is shown.
    pub kind: SessionKind,
    /// When the user has logged in, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// From when on it is worth nothing, whether it is used or not.
    pub expires_ms: u64,
    /// When it was last used, to the minute.
    pub last_used_ms: u64,
    /// From where the user has logged in.
    pub client_ip: String,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    principal_id: i64,
    hash: Vec<u8>,
    kind: String,
    created_ms: i64,
    expires_ms: i64,
    last_used_ms: i64,
    client_ip: String,
}

impl TryFrom<Row> for Session {
    type Error = sqlx::Error;

    fn try_from(row: Row) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.id,
            principal_id: row.principal_id,
            hash: row.hash,
            kind: SessionKind::parse(&row.kind)?,
            created_ms: to_u64(row.created_ms),
            expires_ms: to_u64(row.expires_ms),
            last_used_ms: to_u64(row.last_used_ms),
            client_ip: row.client_ip,
        })
    }
}

/// The columns of [`Row`] and where they come from.
macro_rules! select_session {
    ($rest:literal) => {
        concat!(
            "select id, principal_id, hash, kind, created_ms, expires_ms, last_used_ms, client_ip from session ",
            $rest
        )
    };
}

impl Store {
    /// Log a user in whose password was right a moment ago. The text of the session is in this answer and nowhere else; with it
    /// comes what the user may do. What is over is swept out meanwhile: there is no timer for it.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoUser`] if the user is gone or has another password by now; the database or the system's random source
    /// failed.
    pub async fn create_session(
        &self,
        user: &StoredPassword,
        kind: SessionKind,
        client_ip: &str,
    ) -> Result<(String, Session, Scopes), ChangeError> {
        let text = new_text().map_err(|error| StoreError(format!("{error:#}")))?;
        let mut tx = self.begin().await?;
        check_password_unchanged(&mut tx, user).await?;
        let now_ms = self.now_ms();
        sweep(&mut tx, user.principal_id, now_ms).await?;
        let row: Row = sqlx::query_as(
            "insert into session (principal_id, hash, kind, created_ms, expires_ms, last_used_ms, client_ip) \
             values ($1, $2, $3, $4, $5, $4, $6) \
             returning id, principal_id, hash, kind, created_ms, expires_ms, last_used_ms, client_ip",
        )
        .bind(user.principal_id)
        .bind(hash_of(&text).to_vec())
        .bind(kind.as_str())
        .bind(now_ms)
        .bind(now_ms.saturating_add_unsigned(kind.lifetime_ms()))
        .bind(client_ip)
        .fetch_one(&mut *tx)
        .await?;
        note_principal(&mut tx, user.principal_id, now_ms).await?;
        let scopes = scopes_of(&mut tx, user.principal_id).await?;
        tx.commit().await?;
        Ok((text, row.try_into()?, scopes))
    }

    /// End a session. One that is over already is none, too.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn delete_session(&self, id: i64) -> Result<(), ChangeError> {
        sqlx::query("delete from session where id = $1").bind(id).execute(&self.database.write).await?;
        Ok(())
    }

    /// End all sessions of a user.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoUser`]; the database failed.
    pub async fn delete_sessions(&self, user: &Name) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let id = user_id(&mut tx, user).await?.ok_or(ChangeError::NoUser)?;
        end_all(&mut tx, id).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The sessions of a user that are not over, the newest first; none when there is no user of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn sessions(&self, user: &Name) -> Result<Option<Vec<Session>>, StoreError> {
        let read = async {
            let mut tx = self.database.read.begin().await?;
            let Some(id) = user_id(&mut tx, user).await? else { return Ok(None) };
            let rows: Vec<Row> = sqlx::query_as(select_session!("where principal_id = $1 order by id desc"))
                .bind(id)
                .fetch_all(&mut *tx)
                .await?;
            let now_ms = to_u64(self.now_ms());
            let sessions: Vec<Session> = rows.into_iter().map(Session::try_from).collect::<Result<_, _>>()?;
            let alive = |session: &Session| {
                now_ms < session.expires_ms && now_ms < session.last_used_ms + session.kind.idle_ms()
            };
            Ok(Some(sessions.into_iter().filter(alive).collect()))
        };
        read.await.map_err(|error: sqlx::Error| failed(error))
    }
}

/// Every session, also those that are over.
pub(super) async fn all(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Session>> {
    let rows: Vec<Row> = sqlx::query_as(select_session!("order by id")).fetch_all(connection).await?;
    rows.into_iter().map(Session::try_from).collect()
}

/// End all sessions of a user.
pub(super) async fn end_all(tx: &mut SqliteConnection, user: i64) -> sqlx::Result<()> {
    sqlx::query("delete from session where principal_id = $1").bind(user).execute(tx).await?;
    Ok(())
}

/// Remove what is over, and make room for one more session of a user.
async fn sweep(tx: &mut SqliteConnection, user: i64, now_ms: i64) -> sqlx::Result<()> {
    for kind in [SessionKind::Bearer, SessionKind::Cookie] {
        sqlx::query("delete from session where kind = $1 and (expires_ms <= $2 or last_used_ms <= $3)")
            .bind(kind.as_str())
            .bind(now_ms)
            .bind(now_ms.saturating_sub_unsigned(kind.idle_ms()))
            .execute(&mut *tx)
            .await?;
    }
    sqlx::query(
        "delete from session where id in \
         (select id from session where principal_id = $1 order by id desc limit -1 offset $2)",
    )
    .bind(user)
    .bind(MAX_SESSIONS - 1)
    .execute(&mut *tx)
    .await?;
    Ok(())
}

async fn user_id(connection: &mut SqliteConnection, user: &Name) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("select id from principal where kind = 'user' and name = $1")
        .bind(user.as_str())
        .fetch_optional(connection)
        .await
}

/// 32 random bytes as text, with a prefix.
fn new_text() -> anyhow::Result<String> {
    const { assert!(SESSION_PREFIX.len() > TOKEN_PREFIX.len()) };
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system has no random numbers")?;
    Ok(format!("{SESSION_PREFIX}{}", URL_SAFE_NO_PAD.encode(random)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Precondition;
    use crate::store::testing::{TestStore, name};

    async fn user(test: &TestStore, user: &str) -> StoredPassword {
        let none = Precondition::default();
        test.store.put_user(&name(user), &[], Some("hash"), &none).await.unwrap();
        test.store.user_password(&name(user)).await.unwrap().unwrap()
    }

    async fn log_in(test: &TestStore, user: &StoredPassword, kind: SessionKind) -> Session {
        test.store.create_session(user, kind, "192.0.2.1").await.unwrap().1
    }

    async fn ids(test: &TestStore, user: &str) -> Vec<i64> {
        let sessions = test.store.sessions(&name(user)).await.unwrap().unwrap();
        sessions.into_iter().map(|session| session.id).collect()
    }

    async fn rows(test: &TestStore) -> i64 {
        sqlx::query_scalar("select count(*) from session").fetch_one(&test.database.read).await.unwrap()
    }

    #[tokio::test]
    async fn the_oldest_session_goes_when_there_are_too_many_and_others_have_their_own() {
        let test = TestStore::new().await;
        let (ann, bob) = (user(&test, "ann").await, user(&test, "bob").await);
        let bobs = log_in(&test, &bob, SessionKind::Bearer).await.id;
        let mut anns = Vec::new();
        for _ in 0..=MAX_SESSIONS {
            anns.push(log_in(&test, &ann, SessionKind::Bearer).await.id);
        }
        anns.reverse();
        anns.pop();
        assert_eq!(ids(&test, "ann").await, anns);
        assert_eq!(ids(&test, "bob").await, [bobs]);
        let there = test.store.user(&name("bob")).await.unwrap().unwrap().last_used_ms;
        assert_eq!(there, Some(to_u64(test.store.now_ms())), "who logs in is there");
        test.store.delete_session(anns[0]).await.unwrap();
        assert_eq!(ids(&test, "ann").await, anns[1..]);
        test.store.delete_sessions(&name("ann")).await.unwrap();
        assert_eq!((ids(&test, "ann").await.len(), ids(&test, "bob").await.len()), (0, 1));
        assert!(matches!(test.store.delete_sessions(&name("eve")).await, Err(ChangeError::NoUser)));
        assert!(test.store.sessions(&name("eve")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_is_over_is_swept_out_at_the_next_login() {
        let test = TestStore::new().await;
        let ann = user(&test, "ann").await;
        log_in(&test, &ann, SessionKind::Cookie).await;
        let bearer = log_in(&test, &ann, SessionKind::Bearer).await.id;
        test.clock.advance(SessionKind::Cookie.idle_ms());
        assert_eq!(ids(&test, "ann").await, [bearer], "it is over for everybody at once");
        assert_eq!(rows(&test).await, 2, "and is there until somebody comes");
        log_in(&test, &ann, SessionKind::Cookie).await;
        assert_eq!(rows(&test).await, 2);
        // Used for ever it ends all the same.
        test.clock.advance(SessionKind::Bearer.lifetime_ms());
        sqlx::query("update session set last_used_ms = $1")
            .bind(test.store.now_ms())
            .execute(&test.database.write)
            .await
            .unwrap();
        assert_eq!(ids(&test, "ann").await.len(), 0);
    }

    #[tokio::test]
    async fn a_password_that_was_changed_in_between_lets_nobody_in() {
        let test = TestStore::new().await;
        let ann = user(&test, "ann").await;
        log_in(&test, &ann, SessionKind::Bearer).await;
        test.store.set_user_password(&name("ann"), "other").await.unwrap();
        assert_eq!(ids(&test, "ann").await.len(), 0, "another password ends what the old one has opened");
        let late = test.store.create_session(&ann, SessionKind::Bearer, "192.0.2.1").await;
        assert!(matches!(late, Err(ChangeError::NoUser)));
        let ann = test.store.user_password(&name("ann")).await.unwrap().unwrap();
        log_in(&test, &ann, SessionKind::Bearer).await;
        test.store.delete_user(&name("ann")).await.unwrap();
        assert_eq!(rows(&test).await, 0);
        let gone = test.store.create_session(&ann, SessionKind::Bearer, "192.0.2.1").await;
        assert!(matches!(gone, Err(ChangeError::NoUser)));
    }

    #[tokio::test]
    async fn the_database_does_not_hold_the_text_of_a_session() {
        let test = TestStore::new().await;
        let ann = user(&test, "ann").await;
        let (text, ..) = test.store.create_session(&ann, SessionKind::Cookie, "192.0.2.1").await.unwrap();
        assert!(text.starts_with(SESSION_PREFIX) && text.starts_with(TOKEN_PREFIX));
        test.store.database.close().await;
        let file = std::fs::read(test.path()).unwrap();
        let secret = &text.as_bytes()[SESSION_PREFIX.len()..];
        assert!(!file.windows(secret.len()).any(|bytes| bytes == secret));
    }
}
