//! Tokens for the REST API. The database knows their hashes only.

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use picloud_host::ports::StoreError;
use sha2::{Digest, Sha256};
use sqlx::FromRow;
use subtle::ConstantTimeEq as _;

use crate::store::{Store, failed};

/// The name of the token that the first start makes.
const ADMIN: &str = "admin";

#[derive(FromRow)]
struct Row {
    name: String,
    hash: Vec<u8>,
}

impl Store {
    /// Make the admin token, unless there is one already. Its text is in this answer and nowhere else: show it.
    ///
    /// # Errors
    ///
    /// The database or the system's random source failed.
    pub async fn create_admin_token(&self) -> anyhow::Result<Option<String>> {
        let (token, hash) = new_token()?;
        let done = sqlx::query(
            "insert into token (name, hash, created_ms) values ($1, $2, $3) on conflict (name) do nothing",
        )
        .bind(ADMIN)
        .bind(hash)
        .bind(self.now_ms())
        .execute(&self.database.write)
        .await
        .context("cannot store the admin token")?;
        Ok((done.rows_affected() == 1).then_some(token))
    }

    /// Make a new admin token; the old one is worth nothing from now on.
    ///
    /// # Errors
    ///
    /// The database or the system's random source failed.
    pub async fn replace_admin_token(&self) -> anyhow::Result<String> {
        let (token, hash) = new_token()?;
        sqlx::query(
            "insert into token (name, hash, created_ms) values ($1, $2, $3) \
             on conflict (name) do update set hash = excluded.hash, created_ms = excluded.created_ms",
        )
        .bind(ADMIN)
        .bind(hash)
        .bind(self.now_ms())
        .execute(&self.database.write)
        .await
        .context("cannot store the admin token")?;
        Ok(token)
    }

    /// The name of a token; none when it is not known.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn token_name(&self, token: &str) -> Result<Option<String>, StoreError> {
        let hash = hash_of(token);
        let rows: Vec<Row> = sqlx::query_as("select name, hash from token")
            .fetch_all(&self.database.read)
            .await
            .map_err(failed)?;
        // Every hash is compared, each in constant time: the time tells nothing about them.
        let mut name = None;
        for row in rows {
            if bool::from(row.hash.as_slice().ct_eq(&hash)) {
                name = Some(row.name);
            }
        }
        Ok(name)
    }
}

/// 32 random bytes as text, with a prefix that secret scanners can look for, and their hash.
fn new_token() -> anyhow::Result<(String, Vec<u8>)> {
    let mut random = [0; 32];
    getrandom::fill(&mut random).context("the system has no random numbers")?;
    let token = format!("picloud_{}", URL_SAFE_NO_PAD.encode(random));
    let hash = hash_of(&token);
    Ok((token, hash))
}

fn hash_of(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn the_first_start_makes_the_token_and_the_second_does_not() {
        let test = TestStore::new().await;
        let token = test.store.create_admin_token().await.unwrap().unwrap();
        assert!(token.starts_with("picloud_") && token.len() == 8 + 43, "{token}");
        let test = test.reopen().await;
        assert_eq!(test.store.create_admin_token().await.unwrap(), None);
        assert_eq!(test.store.token_name(&token).await.unwrap().as_deref(), Some("admin"));
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
    }

    #[tokio::test]
    async fn the_database_holds_no_token() {
        let test = TestStore::new().await;
        let token = test.store.create_admin_token().await.unwrap().unwrap();
        test.store.database.close().await;
        let file = std::fs::read(test.path()).unwrap();
        let secret = token.trim_start_matches("picloud_").as_bytes();
        assert!(!file.windows(secret.len()).any(|bytes| bytes == secret));
    }
}
