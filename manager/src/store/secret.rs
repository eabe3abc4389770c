//! Secrets of apps. The database knows them encrypted only; the key is in the [`Vault`](crate::vault::Vault).

use picloud_host::call::AppId;
use picloud_host::ports::StoreError;
use picloud_host::secret::SecretText;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::column::to_u64;
use crate::store::script::Put;
use crate::store::{ChangeError, Store, failed};
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

/// Every secret of every app, as it is stored.
pub(super) async fn all(connection: &mut SqliteConnection) -> sqlx::Result<Vec<Row>> {
    sqlx::query_as("select app_id, name, ciphertext, nonce, key_id, updated_ms from secret order by app_id")
        .fetch_all(connection)
        .await
}

impl Store {
    /// Set a secret. The caller has checked that it is neither too short nor too long.
    ///
    /// # Errors
    ///
    /// [`ChangeError::TooManySettings`] and [`ChangeError::NoApp`]; there is no key, or the database failed.
    pub async fn put_secret(&self, app: AppId, name: &Name, value: &SecretText) -> Result<Put, ChangeError> {
        let vault =
            self.vault.as_ref().ok_or_else(|| StoreError("there is no key for secrets".to_owned()))?;
        let sealed = vault.seal(app, name.as_str(), value.expose())?;
        let mut tx = self.begin().await?;
        let exists: Option<i64> = sqlx::query_scalar("select 1 from secret where app_id = $1 and name = $2")
            .bind(app.0)
            .bind(name.as_str())
            .fetch_optional(&mut *tx)
            .await?;
        if exists.is_none() {
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
        Ok(if exists.is_some() { Put::Replaced } else { Put::Created })
    }

    /// Delete a secret, also one that cannot be read.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoSecret`]; the database failed.
    pub async fn delete_secret(&self, app: AppId, name: &Name) -> Result<(), ChangeError> {
        let delete = sqlx::query("delete from secret where app_id = $1 and name = $2");
        let done = delete.bind(app.0).bind(name.as_str()).execute(&self.database.write).await?;
        if done.rows_affected() == 0 { Err(ChangeError::NoSecret) } else { Ok(()) }
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
    use zeroize::Zeroizing;

    use super::*;
    use crate::store::testing::{TestStore, name};
    use crate::vault::Vault;

    fn text(text: &str) -> SecretText {
        SecretText::new(Zeroizing::new(text.to_owned()))
    }

    /// What scripts would see: `name=value`, and `name` alone for what cannot be read.
    async fn seen(store: &Store) -> Vec<String> {
        let set = store.active_set(&Limits::default()).await.unwrap();
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
        assert_eq!(
            test.store.put_secret(test.app, &name("a"), &text("first-value")).await.unwrap(),
            Put::Created
        );
        let again = test.store.put_secret(test.app, &name("a"), &text("correct-horse")).await.unwrap();
        assert_eq!(again, Put::Replaced);
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
            test.store.put_secret(test.app, &name(secret), &text("correct-horse")).await.unwrap();
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
        other.put_secret(test.app, &name("a"), &text("battery-staple")).await.unwrap();
        assert_eq!(seen(&other).await, ["a=battery-staple", "b"]);
        other.delete_secret(test.app, &name("b")).await.unwrap();
        let gone = other.delete_secret(test.app, &name("b")).await;
        assert!(matches!(gone, Err(ChangeError::NoSecret)));
    }

    #[tokio::test]
    async fn a_row_does_not_pass_for_another() {
        let test = TestStore::new().await;
        for (secret, value) in [("a", "value-of-a"), ("b", "value-of-b")] {
            test.store.put_secret(test.app, &name(secret), &text(value)).await.unwrap();
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
        let put =
            async |n: i64| test.store.put_secret(test.app, &name(&format!("s{n}")), &text("12345678")).await;
        for n in 0..MAX_SECRETS {
            assert_eq!(put(n).await.unwrap(), Put::Created);
        }
        assert!(matches!(put(MAX_SECRETS).await, Err(ChangeError::TooManySettings)));
        assert_eq!(put(0).await.unwrap(), Put::Replaced);
        let nowhere = test.store.put_secret(AppId(77), &name("a"), &text("12345678")).await;
        assert!(matches!(nowhere, Err(ChangeError::NoApp)));
    }
}
