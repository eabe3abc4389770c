//! Apps as a whole, for archives: one as it was at one moment, and one that is put together bit by bit before anybody sees
//! it.

mod load;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::stream::{BoxStream, StreamExt as _};
use picloud_host::outbound::policy::HttpPolicy;
use picloud_host::ports::{KvEntry, StoreError};
use picloud_host::route::Access;
use sqlx::{ConnectOptions as _, FromRow, Row as _, SqliteConnection};

use crate::name::Name;
use crate::store::app::{self, App};
use crate::store::column::to_i64;
use crate::store::config::{self, ConfigValue};
use crate::store::route::{self, StoredRoute};
use crate::store::script::AccessColumn;
use crate::store::trigger::{self, Trigger};
use crate::store::version::{self, Version};
use crate::store::{Store, failed, http_policy, kv};

pub use load::{NewApp, NewScript, NewVersion};

/// How many rows are read ahead: each may be as large as a value can be.
const READ_AHEAD: usize = 2;

/// An app as it was at one moment, whatever happens to it while it is read.
pub struct WholeApp {
    connection: SqliteConnection,
    /// What there is to know of it.
    pub app: App,
}

/// A script with what is not in its versions.
#[derive(Debug, Clone, FromRow)]
pub struct WholeScript {
    /// Its identity in storage.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Who has to be there for a request to be taken.
    #[sqlx(try_from = "AccessColumn")]
    pub access: Access,
    /// The number of the version that is called.
    #[sqlx(try_from = "i64")]
    pub active: u32,
    /// The number of the one that was before it; none when it is not kept.
    pub previous: Option<i64>,
    /// When it was created, in milliseconds since the Unix epoch.
    #[sqlx(try_from = "i64")]
    pub created_ms: u64,
    /// When its active version last changed, in milliseconds since the Unix epoch.
    #[sqlx(try_from = "i64")]
    pub updated_ms: u64,
}

impl Store {
    /// All of an app as it is now; none when there is none of this name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn whole_app(&self, name: &Name) -> Result<Option<WholeApp>, StoreError> {
        let options = self.database.read.connect_options();
        // A connection of its own: none of those that others wait for is taken for as long as this may last.
        let options = options.as_ref().clone().read_only(true).row_buffer_size(READ_AHEAD);
        let mut connection = options.connect().await.map_err(failed)?;
        // Ends with the connection. The first statement is the moment.
        sqlx::raw_sql("begin").execute(&mut connection).await.map_err(failed)?;
        let app = app::find(&mut connection, name).await.map_err(failed)?;
        Ok(app.map(|app| WholeApp { connection, app }))
    }

    /// A file for something large, beside the database and without a name: it goes when it is closed, however that comes.
    /// Those of the same `kind` are made one at a time.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub async fn nameless_file(&self, kind: &str) -> Result<File, StoreError> {
        let mut path = self.database.write.connect_options().get_filename().as_os_str().to_owned();
        path.push(format!(".{kind}"));
        let made = tokio::task::spawn_blocking(move || nameless(&PathBuf::from(path))).await;
        made.map_err(failed)?.map_err(failed)
    }
}

fn nameless(path: &PathBuf) -> std::io::Result<File> {
    match std::fs::remove_file(path) {
        // What a crash has left.
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

impl WholeApp {
    /// Which requests it may send to other servers.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn http_policy(&mut self) -> Result<HttpPolicy, StoreError> {
        let select = sqlx::query_scalar("select http_policy from app where id = $1").bind(self.app.id.0);
        let stored: Option<String> = select.fetch_one(&mut self.connection).await.map_err(failed)?;
        http_policy::read(stored.as_deref()).map_err(failed)
    }

    /// Its scripts, by name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn scripts(&mut self) -> Result<Vec<WholeScript>, StoreError> {
        sqlx::query_as(SCRIPTS).bind(self.app.id.0).fetch_all(&mut self.connection).await.map_err(failed)
    }

    /// The versions of a script, by number.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn versions(&mut self, script: &WholeScript) -> Result<Vec<Version>, StoreError> {
        version::all_of(&mut self.connection, script.id).await.map_err(failed)
    }

    /// The source of a version.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn source(&mut self, version: &Version) -> Result<String, StoreError> {
        let select = sqlx::query_scalar("select source from script_version where id = $1").bind(version.id);
        select.fetch_one(&mut self.connection).await.map_err(failed)
    }

    /// Its routes, by name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn routes(&mut self) -> Result<Vec<StoredRoute>, StoreError> {
        route::all_of(&mut self.connection, self.app.id).await.map_err(failed)
    }

    /// Its triggers, by name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn triggers(&mut self) -> Result<Vec<Trigger>, StoreError> {
        trigger::all_of(&mut self.connection, self.app.id).await.map_err(failed)
    }

    /// Its configuration values, by name.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn config(&mut self) -> Result<Vec<ConfigValue>, StoreError> {
        config::all_of(&mut self.connection, self.app.id).await.map_err(failed)
    }

    /// The names of its secrets.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn secrets(&mut self) -> Result<Vec<String>, StoreError> {
        let select = sqlx::query_scalar("select name from secret where app_id = $1 order by name");
        select.bind(self.app.id.0).fetch_all(&mut self.connection).await.map_err(failed)
    }

    /// Its keys with their values, in byte order, but for those that have expired at `now_ms`.
    pub fn keys(&mut self, now_ms: u64) -> BoxStream<'_, Result<(Arc<str>, KvEntry), StoreError>> {
        let rows = sqlx::query(KEYS).bind(self.app.id.0).bind(to_i64(now_ms)).fetch(&mut self.connection);
        let entries = rows.map(|row| {
            let row = row.map_err(failed)?;
            let key: &str = row.try_get(0).map_err(failed)?;
            Ok((key.into(), kv::entry_of(&row).map_err(failed)?))
        });
        entries.boxed()
    }
}

const SCRIPTS: &str = "
    select s.id, s.name, s.access, active.number as active, previous.number as previous, s.created_ms, s.updated_ms
    from   script s
    join   script_version active on active.id = s.active_version_id
    left   join script_version previous on previous.id = s.previous_version_id
    where  s.app_id = $1
    order  by s.name";

const KEYS: &str = "
    select key, kind, json, blob, version, expires_ms
    from   kv
    where  app_id = $1 and (expires_ms is null or expires_ms > $2)
    order  by key";

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _, Write as _};

    use crate::store::Precondition;
    use crate::store::testing::{TestStore, name, upload};

    #[tokio::test]
    async fn a_whole_app_is_of_one_moment() {
        let test = TestStore::new().await;
        let none = Precondition::default();
        test.store.put_script(test.app, &name("a"), &upload("1"), &none).await.unwrap();
        let mut whole = test.store.whole_app(&name("default")).await.unwrap().unwrap();
        test.store.put_script(test.app, &name("a"), &upload("2"), &none).await.unwrap();
        test.store.put_script(test.app, &name("b"), &upload("3"), &none).await.unwrap();
        test.store.put_config(test.app, &name("c"), "1", &none).await.unwrap();
        test.store.delete_app(&name("default"), &none).await.unwrap();
        let scripts = whole.scripts().await.unwrap();
        assert_eq!(
            scripts.iter().map(|script| (&*script.name, script.active)).collect::<Vec<_>>(),
            [("a", 1)]
        );
        let versions = whole.versions(&scripts[0]).await.unwrap();
        assert_eq!((versions.len(), whole.source(&versions[0]).await.unwrap()), (1, "1".to_owned()));
        assert_eq!(whole.config().await.unwrap(), []);
        assert!(test.store.whole_app(&name("default")).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_nameless_file_is_nowhere_and_takes_the_place_of_what_a_crash_has_left() {
        let test = TestStore::new().await;
        let place = test.path().with_file_name("picloud.db.archive");
        std::fs::write(&place, "left").unwrap();
        let mut file = test.store.nameless_file("archive").await.unwrap();
        assert!(!place.exists());
        file.write_all(b"text").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "text");
    }
}
