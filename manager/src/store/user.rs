//! Users: principals who are known by a password, of which the database has the hash only.

use picloud_host::call::SourceHash;
use picloud_host::ports::StoreError;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::scope::{Scope, Scopes};
use crate::store::column::to_u64;
use crate::store::principal::{ScopedRow, check_admin_left, set_scopes, with_scopes};
use crate::store::script::Put;
use crate::store::session::end_all;
use crate::store::{ChangeError, Precondition, Store, failed};

/// The most users that a server has.
pub const MAX_USERS: i64 = 1000;

/// What may be told of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Its identity, never used again.
    pub id: i64,
    /// Its name, unique among users.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When its password was set.
    pub password_changed_ms: u64,
    /// When it was last there, to the minute.
    pub last_used_ms: Option<u64>,
}

impl User {
    /// The entity tag, without quotes. It is another one for another user of the same name.
    #[must_use]
    pub fn tag(&self) -> String {
        SourceHash::of(&serde_json::json!([self.id, self.scopes.texts()]).to_string()).to_hex()
    }
}

/// What is known of somebody who has a password.
#[derive(Debug, Clone, FromRow)]
pub struct StoredPassword {
    /// The user.
    pub principal_id: i64,
    /// A PHC string.
    pub hash: String,
}

#[derive(FromRow)]
struct Row {
    id: i64,
    name: String,
    created_ms: i64,
    changed_ms: i64,
    last_used_ms: Option<i64>,
}

/// The columns of [`Row`] and where they come from.
macro_rules! select_user {
    ($rest:literal) => {
        concat!(
            "select p.id, p.name, p.created_ms, w.changed_ms, p.last_used_ms \
             from principal p \
             join user_password w on w.principal_id = p.id \
             where p.kind = 'user' ",
            $rest
        )
    };
}

impl Store {
    /// Make a user, or replace what it may do. With the hash of a password that is its password from now on, and
    /// all of its sessions end.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoPassword`] for a new one without; [`ChangeError::NoApp`] for a scope, [`ChangeError::TooManyUsers`],
    /// [`ChangeError::LastAdmin`], [`ChangeError::Precondition`]; the database failed.
    pub async fn put_user(
        &self,
        name: &Name,
        scopes: &[Scope],
        password: Option<&str>,
        precondition: &Precondition,
    ) -> Result<(Put, User), ChangeError> {
        let mut tx = self.begin().await?;
        let there = find(&mut tx, name).await?;
        precondition.check(there.as_ref().map(User::tag).as_deref())?;
        let (put, id) = match &there {
            Some(user) => (Put::Replaced, user.id),
            None => (Put::Created, insert(&mut tx, name, self.now_ms(), password.is_some()).await?),
        };
        if let Some(hash) = password {
            set_password(&mut tx, id, hash, self.now_ms()).await?;
        }
        set_scopes(&mut tx, id, scopes).await?;
        if there.is_some_and(|user| user.scopes.allow_server()) && !scopes.contains(&Scope::Server) {
            check_admin_left(&mut tx).await?;
        }
        let user = find(&mut tx, name).await?.ok_or(ChangeError::NoUser)?;
        tx.commit().await?;
        Ok((put, user))
    }

    /// Give a user another password, of which this is the hash. All of its sessions end.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoUser`]; the database failed.
    pub async fn set_user_password(&self, name: &Name, hash: &str) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let user = find(&mut tx, name).await?.ok_or(ChangeError::NoUser)?;
        set_password(&mut tx, user.id, hash, self.now_ms()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// The same, if what was known of it still holds: somebody may have set another password or made another user of this name
    /// while this one was hashed, and that must not be undone.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoUser`]: it does not hold any more; the database failed.
    pub async fn replace_user_password(
        &self,
        before: &StoredPassword,
        hash: &str,
    ) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        check_password_unchanged(&mut tx, before).await?;
        set_password(&mut tx, before.principal_id, hash, self.now_ms()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Delete a user with everything that it has.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoUser`]; [`ChangeError::LastAdmin`] if nobody could do everything any more; the database failed.
    pub async fn delete_user(&self, name: &Name) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let user = find(&mut tx, name).await?.ok_or(ChangeError::NoUser)?;
        sqlx::query("delete from principal where id = $1").bind(user.id).execute(&mut *tx).await?;
        if user.scopes.allow_server() {
            check_admin_left(&mut tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// One user; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn user(&self, name: &Name) -> Result<Option<User>, StoreError> {
        let mut connection = self.database.read.acquire().await.map_err(failed)?;
        find(&mut connection, name).await.map_err(failed)
    }

    /// At most `limit` users in the order of their names, from the one after `after` on.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn users(&self, after: Option<&Name>, limit: u32) -> Result<Vec<User>, StoreError> {
        let read = async {
            let mut tx = self.database.read.begin().await?;
            let rows: Vec<Row> = sqlx::query_as(select_user!("and p.name > $1 order by p.name limit $2"))
                .bind(after.map_or("", Name::as_str))
                .bind(i64::from(limit))
                .fetch_all(&mut *tx)
                .await?;
            with_scopes(&mut tx, rows).await
        };
        read.await.map_err(|error: sqlx::Error| failed(error))
    }

    /// What is stored of the password of a user; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn user_password(&self, name: &Name) -> Result<Option<StoredPassword>, StoreError> {
        sqlx::query_as(
            "select w.principal_id, w.hash from principal p join user_password w on w.principal_id = p.id \
             where p.kind = 'user' and p.name = $1",
        )
        .bind(name.as_str())
        .fetch_optional(&self.database.read)
        .await
        .map_err(failed)
    }
}

async fn insert(
    tx: &mut SqliteConnection,
    name: &Name,
    now_ms: i64,
    has_password: bool,
) -> Result<i64, ChangeError> {
    if !has_password {
        return Err(ChangeError::NoPassword);
    }
    let count: i64 =
        sqlx::query_scalar("select count(*) from principal where kind = 'user'").fetch_one(&mut *tx).await?;
    if count >= MAX_USERS {
        return Err(ChangeError::TooManyUsers);
    }
    let insert = "insert into principal (kind, name, created_ms) values ('user', $1, $2) returning id";
    Ok(sqlx::query_scalar(insert).bind(name.as_str()).bind(now_ms).fetch_one(&mut *tx).await?)
}

/// Refuse what was decided by a password that is not the user's any more, or of a user who is gone.
///
/// # Errors
///
/// [`ChangeError::NoUser`]; the database failed.
pub(super) async fn check_password_unchanged(
    tx: &mut SqliteConnection,
    known: &StoredPassword,
) -> Result<(), ChangeError> {
    let unchanged: Option<i64> =
        sqlx::query_scalar("select 1 from user_password where principal_id = $1 and hash = $2")
            .bind(known.principal_id)
            .bind(&known.hash)
            .fetch_optional(tx)
            .await?;
    unchanged.map(|_| ()).ok_or(ChangeError::NoUser)
}

/// Set a password, and end every session that another one has opened.
async fn set_password(tx: &mut SqliteConnection, user: i64, hash: &str, now_ms: i64) -> sqlx::Result<()> {
    end_all(tx, user).await?;
    sqlx::query(
        "insert into user_password (principal_id, hash, changed_ms) values ($1, $2, $3) \
         on conflict (principal_id) do update set hash = excluded.hash, changed_ms = excluded.changed_ms",
    )
    .bind(user)
    .bind(hash)
    .bind(now_ms)
    .execute(tx)
    .await?;
    Ok(())
}

async fn find(connection: &mut SqliteConnection, name: &Name) -> sqlx::Result<Option<User>> {
    let rows: Vec<Row> = sqlx::query_as(select_user!("and p.name = $1"))
        .bind(name.as_str())
        .fetch_all(&mut *connection)
        .await?;
    Ok(with_scopes(connection, rows).await?.pop())
}

impl ScopedRow for Row {
    type Principal = User;

    fn id(&self) -> i64 {
        self.id
    }

    fn with_scopes(self, scopes: Scopes) -> User {
        User {
            id: self.id,
            name: self.name,
            scopes,
            created_ms: to_u64(self.created_ms),
            password_changed_ms: to_u64(self.changed_ms),
            last_used_ms: self.last_used_ms.map(to_u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::app::AppSettings;
    use crate::store::testing::{TestStore, name};

    fn scopes(texts: &[&str]) -> Vec<Scope> {
        texts.iter().map(|text| Scope::parse(text).unwrap()).collect()
    }

    async fn put(
        test: &TestStore,
        user: &str,
        texts: &[&str],
        hash: Option<&str>,
    ) -> Result<Put, ChangeError> {
        let put = test.store.put_user(&name(user), &scopes(texts), hash, &Precondition::default()).await?;
        Ok(put.0)
    }

    #[tokio::test]
    async fn a_password_is_replaced_only_while_it_is_the_one_that_was_checked() {
        let test = TestStore::new().await;
        put(&test, "ann", &[], Some("h1")).await.unwrap();
        let checked = async || test.store.user_password(&name("ann")).await.unwrap().unwrap();
        let before = checked().await;
        test.store.set_user_password(&name("ann"), "of an admin").await.unwrap();
        let late = test.store.replace_user_password(&before, "h2").await;
        assert!(matches!(late, Err(ChangeError::NoUser)));
        assert_eq!(checked().await.hash, "of an admin");
        // Another user of the same name, even with the same hash.
        let before = checked().await;
        test.store.delete_user(&name("ann")).await.unwrap();
        put(&test, "ann", &["app:default:read"], Some("of an admin")).await.unwrap();
        let late = test.store.replace_user_password(&before, "h2").await;
        assert!(matches!(late, Err(ChangeError::NoUser)));
        test.store.replace_user_password(&checked().await, "h3").await.unwrap();
        assert_eq!(checked().await.hash, "h3");
    }

    #[tokio::test]
    async fn a_user_is_made_with_a_password_and_keeps_it_when_its_scopes_change() {
        let test = TestStore::new().await;
        let without = put(&test, "ann", &[], None).await;
        assert!(matches!(without, Err(ChangeError::NoPassword)));
        assert_eq!(put(&test, "ann", &["app:default:read"], Some("h1")).await.unwrap(), Put::Created);
        assert_eq!(put(&test, "ann", &["app:default:deploy"], None).await.unwrap(), Put::Replaced);
        let hash =
            async |user: &str| test.store.user_password(&name(user)).await.unwrap().map(|stored| stored.hash);
        assert_eq!(hash("ann").await.as_deref(), Some("h1"));
        let ann = test.store.user(&name("ann")).await.unwrap().unwrap();
        assert_eq!(ann.scopes, Scopes(scopes(&["app:default:deploy"])));
        test.clock.advance(5);
        test.store.set_user_password(&name("ann"), "h2").await.unwrap();
        assert_eq!(hash("ann").await.as_deref(), Some("h2"));
        let later = test.store.user(&name("ann")).await.unwrap().unwrap();
        assert_eq!(later.password_changed_ms, ann.password_changed_ms + 5);
        assert_eq!(later.tag(), ann.tag(), "a password is not what may be replaced here");
        let nowhere = put(&test, "ann", &["app:none:read"], None).await;
        assert!(matches!(nowhere, Err(ChangeError::NoApp)));
        test.store.delete_user(&name("ann")).await.unwrap();
        assert_eq!(hash("ann").await, None);
        assert!(matches!(test.store.delete_user(&name("ann")).await, Err(ChangeError::NoUser)));
        put(&test, "ann", &["app:default:deploy"], Some("h3")).await.unwrap();
        assert_ne!(test.store.user(&name("ann")).await.unwrap().unwrap().tag(), ann.tag());
    }

    #[tokio::test]
    async fn a_token_and_a_user_of_the_same_name_are_two() {
        let test = TestStore::new().await;
        test.store.create_token(&name("ann"), &scopes(&["app:default:read"]), None).await.unwrap();
        put(&test, "ann", &[], Some("h")).await.unwrap();
        put(&test, "bob", &[], Some("h")).await.unwrap();
        let users = test.store.users(None, 10).await.unwrap();
        assert_eq!(users.iter().map(|user| &*user.name).collect::<Vec<_>>(), ["ann", "bob"]);
        assert_eq!(test.store.users(Some(&name("ann")), 10).await.unwrap().len(), 1);
        test.store.delete_token(&name("ann")).await.unwrap();
        assert!(test.store.user(&name("ann")).await.unwrap().is_some());
        assert!(matches!(test.store.delete_token(&name("bob")).await, Err(ChangeError::NoToken)));
    }

    #[tokio::test]
    async fn a_user_outlives_the_only_app_that_it_is_for() {
        let test = TestStore::new().await;
        let none = Precondition::default();
        test.store.put_app(&name("shop"), &AppSettings::default(), &none).await.unwrap();
        put(&test, "ann", &["app:shop:admin"], Some("h")).await.unwrap();
        test.store.delete_app(&name("shop"), &none).await.unwrap();
        let ann = test.store.user(&name("ann")).await.unwrap().unwrap();
        assert_eq!(ann.scopes, Scopes::default());
    }

    #[tokio::test]
    async fn tokens_and_users_who_may_do_everything_count_together() {
        let test = TestStore::new().await;
        test.store.create_admin_token().await.unwrap();
        put(&test, "ann", &["admin"], Some("h")).await.unwrap();
        test.store.delete_token(&name("admin")).await.unwrap();
        assert!(matches!(test.store.delete_user(&name("ann")).await, Err(ChangeError::LastAdmin)));
        let less = put(&test, "ann", &["app:*:admin"], None).await;
        assert!(matches!(less, Err(ChangeError::LastAdmin)));
        assert!(test.store.user(&name("ann")).await.unwrap().unwrap().scopes.allow_server());
        assert_eq!(test.store.create_admin_token().await.unwrap(), None, "somebody may do everything");
        put(&test, "bob", &["admin"], Some("h")).await.unwrap();
        test.store.delete_user(&name("ann")).await.unwrap();
        // One that expires is no help later.
        test.store.create_token(&name("soon"), &[Scope::Server], Some(9)).await.unwrap();
        assert!(matches!(test.store.delete_user(&name("bob")).await, Err(ChangeError::LastAdmin)));
        test.store.create_token(&name("new"), &[Scope::Server], None).await.unwrap();
        test.store.delete_user(&name("bob")).await.unwrap();
    }

    #[tokio::test]
    async fn what_was_demanded_decides() {
        let test = TestStore::new().await;
        let new = Precondition { if_none_match: Some(crate::store::Tags::Any), ..Precondition::default() };
        test.store.put_user(&name("ann"), &[], Some("h"), &new).await.unwrap();
        let again = test.store.put_user(&name("ann"), &[], Some("other"), &new).await;
        assert!(matches!(again, Err(ChangeError::Precondition)));
        assert_eq!(test.store.user_password(&name("ann")).await.unwrap().unwrap().hash, "h");
    }
}
