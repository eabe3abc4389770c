//! Secrets of apps. The database knows them encrypted only; the key is in the [`Vault`](crate::vault::Vault).

use picloud_host::call::AppId;
use picloud_host::ports::StoreError;
use picloud_host::secret::SecretText;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::column::to_u64;
use crate::store::script::Put;
use crate::store::{ChangeError, Precondition, Store, failed};
use crate::vault::Sealed;

/// The most secrets that an app can have.
pub const MAX_SECRETS: i64 = 100;

/// What may be told of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// Its name, unique in the app.
    pub name: String,
    /// When it was last set, in milliseconds since the Unix epoch.
    pub updated_ms: u64,
    /// Whether this server's key opens it.
    pub readable: bool,
}

/// A row of the table.
#[derive(FromRow)]
pub(super) struct Row {
    pub(super) app_id: i64,
    pub(super) name: String,
    ciphertext: Vec<u8>,
    nonce: Vec<u8>,
    key_id: String,
    updated_ms: i64,
}

/// The entity tag of a secret, without quotes: its nonce, which is another one each time that it is set. A hash of the value,
/// as others have, would let it be guessed.
fn tag(nonce: &[u8]) -> String {
    nonce.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every secret of every app, as it is stored.
pub(super) async fn all(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as("select app_id, name, ciphertext, nonce, key_id, updated_ms from secret order by app_id")
        .fetch_all(connection)
        .await
}

impl Store {
    /// Set a secret, which then has the tag that is returned. The caller has checked that it is neither too short nor too
    /// long.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Precondition`], [`ChangeError::TooManySettings`] and [`ChangeError::NoApp`]; there is no key, or the
    /// database failed.
    pub async fn put_secret(
        &self,
        app: AppId,
        name: &Name,
        value: &SecretText,
        precondition: &Precondition,
    ) -> Result<(Put, String), ChangeError> {
        let vault =
            self.vault.as_ref().ok_or_else(|| StoreError("there is no key for secrets".to_owned()))?;
        let sealed = vault.seal(app, name.as_str(), value.expose())?;
        let new_tag = tag(&sealed.nonce);
        let mut tx = self.begin().await?;
        let select = sqlx::query_scalar("select nonce from secret where app_id = $1 and name = $2");
        let before: Option<Vec<u8>> = select.bind(app.0).bind(name.as_str()).fetch_optional(&mut *tx).await?;
        precondition.check(before.as_deref().map(tag).as_deref())?;
        if before.is_none() {
            let count = sqlx::query_scalar("select count(*) from secret where app_id = $1").bind(app.0);
            let count: i64 = count.fetch_one(&mut *tx).await?;
            if count >= MAX_SECRETS {
                return Err(ChangeError::TooManySettings);
            }
        }
        sqlx::query(
            "insert into secret (app_id, name, ciphertext, nonce, key_id, created_ms, updated_ms)
             values ($1, $2, $3, $4, $5, $6, $6)
             on conflict (app_id, name) do update
             set    ciphertext = excluded.ciphertext, nonce = excluded.nonce, key_id = excluded.key_id,
                    updated_ms = excluded.updated_ms",
        )
        .bind(app.0)
        .bind(name.as_str())
        .bind(sealed.ciphertext)
        .bind(sealed.nonce)
        .bind(sealed.key_id)
        .bind(self.now_ms())
        .execute(&mut *tx)
        .await
        .map_err(ChangeError::of_insert)?;
        tx.commit().await?;
        Ok((if before.is_some() { Put::Replaced } else { Put::Created }, new_tag))
    }

    /// Delete a secret, also one that cannot be read.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoSecret`] and [`ChangeError::Precondition`]; the database failed.
    pub async fn delete_secret(
        &self,
        app: AppId,
        name: &Name,
        precondition: &Precondition,
    ) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let delete = "delete from secret where app_id = $1 and name = $2 returning nonce";
        let nonce: Option<Vec<u8>> =
            sqlx::query_scalar(delete).bind(app.0).bind(name.as_str()).fetch_optional(&mut *tx).await?;
        precondition.check(Some(&tag(&nonce.ok_or(ChangeError::NoSecret)?)))?;
        tx.commit().await?;
        Ok(())
    }

    /// At most `limit` secrets of an app in the order of their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn secrets(
        &self,
        app: AppId,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<Vec<SecretInfo>, StoreError> {
        let query = "select app_id, name, ciphertext, nonce, key_id, updated_ms
                     from   secret
                     where  app_id = $1 and name > $2
                     order  by name
                     limit  $3";
        let query = sqlx::query_as(query).bind(app.0).bind(after.map_or("", Name::as_str));
        let rows: Vec<Row> =
            query.bind(i64::from(limit)).fetch_all(&self.database.read).await.map_err(failed)?;
        let info = |row: Row| SecretInfo {
            readable: self.opened(&row).is_some(),
            updated_ms: to_u64(row.updated_ms),
            name: row.name,
        };
        Ok(rows.into_iter().map(info).collect())
    }

    /// How many secrets of all apps this server's key does not open.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn unreadable_secrets(&self) -> Result<usize, StoreError> {
        let mut connection = self.database.read.acquire().await.map_err(failed)?;
        let rows = all(&mut connection).await.map_err(failed)?;
        Ok(rows.iter().filter(|row| self.opened(row).is_none()).count())
    }

    /// The value of a secret; none when this server's key does not open it.
    pub(super) fn opened(&self, row: &Row) -> Option<SecretText> {
        let Row { app_id, name, ciphertext, nonce, key_id, .. } = row;
        let (ciphertext, nonce, key_id) = (ciphertext.clone(), nonce.clone(), key_id.clone());
        let sealed = Sealed { ciphertext, nonce, key_id };
        self.vault.as_ref()?.open(AppId(*app_id), name, &sealed).map(SecretText::new)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use picloud_host::limits::Limits;
    use picloud_host::quota::Quotas;
    use zeroize::Zeroizing;

    use super::*;
    use crate::store::testing::{TestStore, name};
    use crate::store::{Tag, Tags};
    use crate::vault::Vault;

    fn text(text: &str) -> SecretText {
        SecretText::new(Zeroizing::new(text.to_owned()))
    }

    /// Set a secret, whatever there is.
    async fn put(store: &Store, app: AppId, secret: &str, value: &str) -> Result<Put, ChangeError> {
        let any = Precondition::default();
        store.put_secret(app, &name(secret), &text(value), &any).await.map(|(put, _)| put)
    }

    /// What scripts would see: `name=value`, and `name` alone for what cannot be read.
    async fn seen(store: &Store) -> Vec<String> {
        let set = store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
        let mut seen: Vec<_> = set.apps["default"]
            .secrets
            .0
            .iter()
            .map(|(name, value)| {
                value.as_ref().map_or_else(|| name.to_string(), |value| format!("{name}={}", value.expose()))
            })
            .collect();
        seen.sort();
        seen
    }

    #[tokio::test]
    async fn a_secret_survives_a_restart_and_is_nowhere_in_the_file() {
        let test = TestStore::new().await;
        assert_eq!(put(&test.store, test.app, "a", "first-value").await.unwrap(), Put::Created);
        assert_eq!(put(&test.store, test.app, "a", "correct-horse").await.unwrap(), Put::Replaced);
        let test = test.reopen().await;
        assert_eq!(seen(&test.store).await, ["a=correct-horse"]);
        for file in std::fs::read_dir(test.path().parent().unwrap()).unwrap() {
            let bytes = std::fs::read(file.unwrap().path()).unwrap();
            assert!(!bytes.windows(13).any(|window| window == b"correct-horse"));
        }
    }

    #[tokio::test]
    async fn another_key_reads_nothing_loses_nothing_and_setting_it_again_heals() {
        let test = TestStore::new().await;
        for secret in ["a", "b"] {
            put(&test.store, test.app, secret, "correct-horse").await.unwrap();
        }
        let other = test.store.clone().with_vault(Arc::new(Vault::new(&[9; 32])));
        assert_eq!(other.unreadable_secrets().await.unwrap(), 2);
        assert_eq!(seen(&other).await, ["a", "b"]);
        let readable = async |store: &Store| {
            let secrets = store.secrets(test.app, None, 10).await.unwrap();
            secrets.into_iter().map(|secret| (secret.name, secret.readable)).collect::<Vec<_>>()
        };
        assert_eq!(readable(&other).await, [("a".to_owned(), false), ("b".to_owned(), false)]);
        assert_eq!(readable(&test.store).await, [("a".to_owned(), true), ("b".to_owned(), true)]);
        put(&other, test.app, "a", "battery-staple").await.unwrap();
        assert_eq!(seen(&other).await, ["a=battery-staple", "b"]);
        let any = Precondition::default();
        other.delete_secret(test.app, &name("b"), &any).await.unwrap();
        let gone = other.delete_secret(test.app, &name("b"), &any).await;
        assert!(matches!(gone, Err(ChangeError::NoSecret)));
    }

    #[tokio::test]
    async fn a_change_can_demand_what_it_replaces_and_nothing_is_lost_then() {
        let test = TestStore::new().await;
        let (store, app, a) = (&test.store, test.app, name("a"));
        let demanding = |tag: &str| {
            let tags = Tags::List(vec![Tag { weak: false, value: tag.to_owned() }]);
            Precondition { if_match: Some(tags), ..Precondition::default() }
        };
        let new = Precondition { if_none_match: Some(Tags::Any), ..Precondition::default() };
        let (_, first) = store.put_secret(app, &a, &text("first-value"), &new).await.unwrap();
        let twice = store.put_secret(app, &a, &text("other-value"), &new).await;
        assert!(matches!(twice, Err(ChangeError::Precondition)));
        let (_, second) = store.put_secret(app, &a, &text("first-value"), &demanding(&first)).await.unwrap();
        assert_ne!(first, second, "the same value has another tag");
        let stale = store.put_secret(app, &a, &text("other-value"), &demanding(&first)).await;
        assert!(matches!(stale, Err(ChangeError::Precondition)));
        let stale = store.delete_secret(app, &a, &demanding(&first)).await;
        assert!(matches!(stale, Err(ChangeError::Precondition)));
        assert_eq!(seen(store).await, ["a=first-value"]);
        store.delete_secret(app, &a, &demanding(&second)).await.unwrap();
        let gone = store.put_secret(app, &a, &text("other-value"), &demanding(&second)).await;
        assert!(matches!(gone, Err(ChangeError::Precondition)));
    }

    #[tokio::test]
    async fn a_row_does_not_pass_for_another() {
        let test = TestStore::new().await;
        for (secret, value) in [("a", "value-of-a"), ("b", "value-of-b")] {
            put(&test.store, test.app, secret, value).await.unwrap();
        }
        let swap = "update secret set name = 'c' where name = 'a';
                    update secret set name = 'a' where name = 'b';
                    update secret set name = 'b' where name = 'c'";
        sqlx::raw_sql(swap).execute(&test.database.write).await.unwrap();
        assert_eq!(seen(&test.store).await, ["a", "b"]);
    }

    #[tokio::test]
    async fn an_app_has_a_bounded_number_of_secrets() {
        let test = TestStore::new().await;
        let nth = async |n: i64| put(&test.store, test.app, &format!("s{n}"), "12345678").await;
        for n in 0..MAX_SECRETS {
            assert_eq!(nth(n).await.unwrap(), Put::Created);
        }
        assert!(matches!(nth(MAX_SECRETS).await, Err(ChangeError::TooManySettings)));
        assert_eq!(nth(0).await.unwrap(), Put::Replaced);
        let nowhere = put(&test.store, AppId(77), "a", "12345678").await;
        assert!(matches!(nowhere, Err(ChangeError::NoApp)));
    }
}
