//! Tokens for the REST API and for calls. The database knows their hashes only.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use picloud_host::ports::StoreError;
use sha2::{Digest, Sha256};
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::scope::{Scope, Scopes};
use crate::store::column::{to_i64, to_u64};
use crate::store::principal::{ScopedRow, check_admin_left, set_scopes, with_scopes};
use crate::store::{ChangeError, Store, failed};

/// The name of the token that the first start makes.
pub const ADMIN: &str = "admin";

/// How every token begins, so that secret scanners can look for it.
pub const TOKEN_PREFIX: &str = "picloud_";

/// How many characters of a token are shown, so that whoever has it can tell which one it is.
const SHOWN: usize = TOKEN_PREFIX.len() + 6;

/// The most tokens that a server has.
pub const MAX_TOKENS: i64 = 1000;

/// What may be told of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, unique among tokens.
    pub name: String,
    /// How it begins; none for one from before there were scopes.
    pub prefix: Option<String>,
    /// What it opens.
    pub scopes: Scopes,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// From when on it is worth nothing.
    pub expires_ms: Option<u64>,
    /// When it was last used, to the minute.
    pub last_used_ms: Option<u64>,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    name: String,
    token_prefix: Option<String>,
    created_ms: i64,
    expires_ms: Option<i64>,
    last_used_ms: Option<i64>,
}

/// The columns of [`Row`] and where they come from.
macro_rules! select_token {
    ($rest:literal) => {
        concat!(
            "select id, name, token_prefix, created_ms, expires_ms, last_used_ms \
             from principal where kind = 'token' ",
            $rest
        )
    };
}

impl Store {
    /// Make the admin token, unless somebody may do everything already. Its text is in this answer and nowhere else: show
    /// it.
    ///
    /// # Errors
    ///
    /// The database or the system's random source failed.
    pub async fn create_admin_token(&self) -> anyhow::Result<Option<String>> {
        let mut tx = self.begin().await.context("cannot store the admin token")?;
        let there: i64 = sqlx::query_scalar("select count(*) from scope where permission = 'server'")
            .fetch_one(&mut *tx)
            .await
            .context("cannot look for an admin token")?;
        if there > 0 {
            return Ok(None);
        }
        let token = replace(&mut tx, ADMIN, self.now_ms()).await?;
        tx.commit().await.context("cannot store the admin token")?;
        Ok(Some(token))
    }

    /// Make a new admin token; the old one is worth nothing from now on.
    ///
    /// # Errors
    ///
    /// The database or the system's random source failed.
    pub async fn replace_admin_token(&self) -> anyhow::Result<String> {
        let mut tx = self.begin().await.context("cannot store the admin token")?;
        let token = replace(&mut tx, ADMIN, self.now_ms()).await?;
        tx.commit().await.context("cannot store the admin token")?;
        Ok(token)
    }

    /// The name of a token; none when it is not known.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn token_name(&self, token: &str) -> Result<Option<String>, StoreError> {
        // By a hash of something that cannot be guessed: how long this takes tells nothing about it.
        sqlx::query_scalar("select name from principal where token_hash = $1")
            .bind(hash_of(token).to_vec())
            .fetch_optional(&self.database.read)
            .await
            .map_err(failed)
    }

    /// Make a token. Its text is in this answer and nowhere else.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NameTaken`], [`ChangeError::NoApp`] for a scope, [`ChangeError::TooManyTokens`]; the database or the
    /// system's random source failed.
    pub async fn create_token(
        &self,
        name: &Name,
        scopes: &[Scope],
        expires_ms: Option<u64>,
    ) -> Result<(String, Token), ChangeError> {
        let (text, hash) = new_token().map_err(|error| StoreError(format!("{error:#}")))?;
        let mut tx = self.begin().await?;
        let count: i64 = sqlx::query_scalar("select count(*) from principal where kind = 'token'")
            .fetch_one(&mut *tx)
            .await?;
        if count >= MAX_TOKENS {
            return Err(ChangeError::TooManyTokens);
        }
        let id: Option<i64> = sqlx::query_scalar(
            "insert into principal (kind, name, created_ms, expires_ms, token_prefix, token_hash) \
             values ('token', $1, $2, $3, $4, $5) on conflict (kind, name) do nothing returning id",
        )
        .bind(name.as_str())
        .bind(self.now_ms())
        .bind(expires_ms.map(to_i64))
        .bind(&text[..SHOWN])
        .bind(hash.to_vec())
        .fetch_optional(&mut *tx)
        .await?;
        set_scopes(&mut tx, id.ok_or(ChangeError::NameTaken)?, scopes).await?;
        let token = find(&mut tx, name).await?.ok_or(ChangeError::NoToken)?;
        tx.commit().await?;
        Ok((text, token))
    }

    /// Give a token another text; the old one is worth nothing from now on.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoToken`]; the database or the system's random source failed.
    pub async fn rotate_token(&self, name: &Name) -> Result<(String, Token), ChangeError> {
        let mut tx = self.begin().await?;
        let there = find(&mut tx, name).await?.ok_or(ChangeError::NoToken)?;
        let (text, hash) = new_token().map_err(|error| StoreError(format!("{error:#}")))?;
        let prefix = text[..SHOWN].to_owned();
        sqlx::query(
            "update principal set token_hash = $1, token_prefix = $2, last_used_ms = null \
             where kind = 'token' and name = $3",
        )
        .bind(hash.to_vec())
        .bind(&prefix)
        .bind(name.as_str())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok((text, Token { prefix: Some(prefix), last_used_ms: None, ..there }))
    }

    /// Delete a token: it is worth nothing from now on.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoToken`]; [`ChangeError::LastAdmin`] if nobody could do everything any more; the database failed.
    pub async fn delete_token(&self, name: &Name) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let token = find(&mut tx, name).await?.ok_or(ChangeError::NoToken)?;
        let delete = "delete from principal where kind = 'token' and name = $1";
        sqlx::query(delete).bind(name.as_str()).execute(&mut *tx).await?;
        if token.scopes.allow_server() && token.expires_ms.is_none() {
            check_admin_left(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// One token; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn token(&self, name: &Name) -> Result<Option<Token>, StoreError> {
        let mut connection = self.database.read.acquire().await.map_err(failed)?;
        find(&mut connection, name).await.map_err(failed)
    }

    /// At most `limit` tokens in the order of their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn tokens(&self, after: Option<&Name>, limit: u32) -> Result<Vec<Token>, StoreError> {
        let read = async {
            let mut tx = self.database.read.begin().await?;
            let rows: Vec<Row> = sqlx::query_as(select_token!("and name > $1 order by name limit $2"))
                .bind(after.map_or("", Name::as_str))
                .bind(i64::from(limit))
                .fetch_all(&mut *tx)
                .await?;
            with_scopes(&mut tx, rows).await
        };
        read.await.map_err(|error: sqlx::Error| failed(error))
    }
}

async fn find(connection: &mut SqliteConnection, name: &Name) -> sqlx::Result<Option<Token>> {
    let rows: Vec<Row> = sqlx::query_as(select_token!("and name = $1"))
        .bind(name.as_str())
        .fetch_all(&mut *connection)
        .await?;
    Ok(with_scopes(connection, rows).await?.pop())
}

impl ScopedRow for Row {
    type Principal = Token;

    fn id(&self) -> i64 {
        self.id
    }

    fn with_scopes(self, scopes: Scopes) -> Token {
        Token {
            name: self.name,
            prefix: self.token_prefix,
            scopes,
            created_ms: to_u64(self.created_ms),
            expires_ms: self.expires_ms.map(to_u64),
            last_used_ms: self.last_used_ms.map(to_u64),
        }
    }
}

/// Give the name a new token that may do everything.
async fn replace(tx: &mut SqliteConnection, name: &str, now_ms: i64) -> anyhow::Result<String> {
    let (token, hash) = new_token()?;
    let id: i64 = sqlx::query_scalar(
        "insert into principal (kind, name, created_ms, token_prefix, token_hash) values ('token', $1, $2, $3, $4) \
         on conflict (kind, name) do update \
         set token_hash = excluded.token_hash, token_prefix = excluded.token_prefix, expires_ms = null, \
             created_ms = excluded.created_ms, last_used_ms = null \
         returning id",
    )
    .bind(name)
    .bind(now_ms)
    .bind(&token[..SHOWN])
    .bind(hash.to_vec())
    .fetch_one(&mut *tx)
    .await
    .context("cannot store the admin token")?;
    set_scopes(tx, id, &[Scope::Server]).await.context("cannot store the scope of the admin token")?;
    Ok(token)
}

/// 32 random bytes as text, with a prefix, and their hash.
fn new_token() -> anyhow::Result<(String, [u8; 32])> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system has no random numbers")?;
    let token = format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
    let hash = hash_of(&token);
    Ok((token, hash))
}

/// What the database has of a token.
pub(crate) fn hash_of(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Precondition;
    use crate::store::app::AppSettings;
    use crate::store::testing::{TestStore, name};

    #[tokio::test]
    async fn the_first_start_makes_the_token_and_the_second_does_not() {
        let test = TestStore::new().await;
        let token = test.store.create_admin_token().await.unwrap().unwrap();
        assert!(token.starts_with("picloud_") && token.len() == 8 + 43, "{token}");
        let test = test.reopen().await;
        assert_eq!(test.store.create_admin_token().await.unwrap(), None);
        assert_eq!(test.store.token_name(&token).await.unwrap().as_deref(), Some("admin"));
        // Neither does it come back when another one may do everything.
        test.store.create_token(&name("mine"), &[Scope::Server], None).await.unwrap();
        test.store.delete_token(&name("admin")).await.unwrap();
        assert_eq!(test.store.create_admin_token().await.unwrap(), None);
        assert_eq!(test.store.token_name(&token).await.unwrap(), None);
    }

    #[tokio::test]
    async fn other_texts_are_no_tokens() {
        let test = TestStore::new().await;
        assert_eq!(test.store.token_name("").await.unwrap(), None);
        let token = test.store.create_admin_token().await.unwrap().unwrap();
        for text in ["", "picloud_", &token[..token.len() - 1], &format!("{token}a"), &token.to_uppercase()] {
            assert_eq!(test.store.token_name(text).await.unwrap(), None, "{text}");
        }
    }

    #[tokio::test]
    async fn a_replaced_token_is_worth_nothing() {
        let test = TestStore::new().await;
        let old = test.store.create_admin_token().await.unwrap().unwrap();
        let new = test.store.replace_admin_token().await.unwrap();
        assert_eq!(test.store.token_name(&old).await.unwrap(), None);
        assert_eq!(test.store.token_name(&new).await.unwrap().as_deref(), Some("admin"));
        let (rotated, token) = test.store.rotate_token(&name("admin")).await.unwrap();
        assert_eq!(test.store.token_name(&new).await.unwrap(), None);
        assert_eq!(token.prefix.as_deref(), Some(&rotated[..14]));
        assert!(token.scopes.allow_server());
    }

    #[tokio::test]
    async fn the_database_holds_no_token() {
        let test = TestStore::new().await;
        let token = test.store.create_admin_token().await.unwrap().unwrap();
        test.store.database.close().await;
        let file = std::fs::read(test.path()).unwrap();
        let secret = &token.as_bytes()[SHOWN..];
        assert!(!file.windows(secret.len()).any(|bytes| bytes == secret));
    }

    #[tokio::test]
    async fn tokens_have_their_scopes_and_lose_them_with_their_apps() {
        let test = TestStore::new().await;
        test.store.create_admin_token().await.unwrap();
        let none = Precondition::default();
        test.store.put_app(&name("shop"), &AppSettings::default(), &none).await.unwrap();
        let scope = |text: &str| Scope::parse(text).unwrap();
        let both = [scope("app:shop:deploy"), scope("app:default:read")];
        let (_, made) = test.store.create_token(&name("ci"), &both, Some(9)).await.unwrap();
        assert_eq!((made.scopes, made.expires_ms), (Scopes(both.to_vec()), Some(9)));
        test.store.create_token(&name("shop-only"), &both[..1], None).await.unwrap();
        let again = test.store.create_token(&name("ci"), &both, None).await;
        assert!(matches!(again, Err(ChangeError::NameTaken)));
        let nowhere = test.store.create_token(&name("x"), &[scope("app:none:read")], None).await;
        assert!(matches!(nowhere, Err(ChangeError::NoApp)));
        let names = |tokens: Vec<Token>| tokens.into_iter().map(|token| token.name).collect::<Vec<_>>();
        assert_eq!(names(test.store.tokens(None, 10).await.unwrap()), ["admin", "ci", "shop-only"]);
        assert_eq!(names(test.store.tokens(Some(&name("admin")), 1).await.unwrap()), ["ci"]);
        test.store.delete_app(&name("shop"), &none).await.unwrap();
        test.store.put_app(&name("shop"), &AppSettings::default(), &none).await.unwrap();
        assert_eq!(names(test.store.tokens(None, 10).await.unwrap()), ["admin", "ci"]);
        let left = test.store.token(&name("ci")).await.unwrap().unwrap().scopes;
        assert_eq!(left, Scopes(both[1..].to_vec()), "another app of the same name is another app");
    }

    #[tokio::test]
    async fn somebody_must_be_left_who_may_do_everything() {
        let test = TestStore::new().await;
        test.store.create_admin_token().await.unwrap();
        test.store.create_token(&name("soon"), &[Scope::Server], Some(9)).await.unwrap();
        let last = test.store.delete_token(&name("admin")).await;
        assert!(matches!(last, Err(ChangeError::LastAdmin)));
        assert!(test.store.token(&name("admin")).await.unwrap().is_some());
        test.store.delete_token(&name("soon")).await.unwrap();
        assert!(matches!(test.store.delete_token(&name("soon")).await, Err(ChangeError::NoToken)));
        // A server in dev mode has none who may, and its other tokens can be revoked all the same.
        let dev = TestStore::new().await;
        dev.store
            .create_token(&name("ci"), &[Scope::parse("app:default:read").unwrap()], None)
            .await
            .unwrap();
        dev.store.delete_token(&name("ci")).await.unwrap();
    }
}
