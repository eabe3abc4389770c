//! Canaries: versions that some of the calls of their scripts go to, and how that ended.

use picloud_host::call::AppId;
use picloud_host::ports::StoreError;
use sqlx::{FromRow, SqliteConnection};

use crate::name::Name;
use crate::store::script::Put;
use crate::store::{ChangeError, Store, failed};

/// How many calls go to a canary, and what it takes to go back.
#[derive(Debug, Clone, Copy, PartialEq, FromRow)]
pub struct Rules {
    /// How many of a hundred calls, 1 to 99.
    #[sqlx(try_from = "i64")]
    pub percent: u8,
    /// Nothing is concluded from fewer calls of either version.
    #[sqlx(try_from = "i64")]
    pub min_calls: u32,
    /// How many more of a hundred calls may fail than of the active version's.
    pub max_faults_percent: f64,
    /// How much more fuel a typical call may take, in percent of the active version's; none: any.
    pub max_fuel_percent: Option<f64>,
}

impl Rules {
    /// What holds where nothing else is said.
    pub const DEFAULT: Self =
        Self { percent: 10, min_calls: 20, max_faults_percent: 1.0, max_fuel_percent: Some(20.0) };
}

/// A canary.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Canary {
    /// Its identity, never used again. It stays while only the rules change.
    pub id: i64,
    /// The app's name.
    pub app: String,
    /// The script's name.
    pub script: String,
    /// The version in storage.
    pub version_id: i64,
    /// The number of the version.
    #[sqlx(try_from = "i64")]
    pub version: u32,
    /// The version that it is compared with, in storage.
    pub active_version_id: i64,
    /// The number of that.
    #[sqlx(try_from = "i64")]
    pub active_version: u32,
    /// What holds for it.
    #[sqlx(flatten)]
    pub rules: Rules,
    /// When it began, in milliseconds since the Unix epoch.
    #[sqlx(try_from = "i64")]
    pub started_ms: u64,
    /// When it ended, in milliseconds since the Unix epoch; none while it runs.
    pub ended_ms: Option<i64>,
    /// How: one of [`Ending`]'s words.
    pub outcome: Option<String>,
    /// What was counted until then, as JSON, if somebody has written it down.
    pub result: Option<String>,
}

/// How a canary ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is the active version now.
    Promoted,
    /// Somebody has stopped it, or made another version the active one.
    Stopped,
    /// It did worse than the active version.
    RolledBack,
}

impl Ending {
    /// The word in the database and in answers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Stopped => "stopped",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// The columns of [`Canary`] and where they come from.
macro_rules! select_canary {
    ($rest:literal) => {
        concat!(
            "select c.id, app.name as app, s.name as script, c.version_id, v.number as version, c.active_version_id, \
                    c.active_number as active_version, c.percent, c.min_calls, c.max_faults_percent, \
                    c.max_fuel_percent, c.started_ms, c.ended_ms, c.outcome, c.result \
             from canary c \
             join script_version v on v.id = c.version_id \
             join script s on s.id = c.script_id \
             join app on app.id = s.app_id ",
            $rest
        )
    };
}

impl Store {
    /// The last canary of a script; none when there was none, or there is no such script.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn canary(&self, app: AppId, name: &Name) -> Result<Option<Canary>, StoreError> {
        sqlx::query_as(select_canary!("where s.app_id = $1 and s.name = $2"))
            .bind(app.0)
            .bind(name.as_str())
            .fetch_optional(&self.database.read)
            .await
            .map_err(failed)
    }

    /// All canaries that run.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn running_canaries(&self) -> Result<Vec<Canary>, StoreError> {
        sqlx::query_as(select_canary!("where c.ended_ms is null and app.deleted_ms is null"))
            .fetch_all(&self.database.read)
            .await
            .map_err(failed)
    }

    /// Let some of the calls of a script go to a version of it. If they do already only the rules are changed: what was counted
    /// goes on to count. By identity and not by number: the version that was looked at.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoVersion`]; [`ChangeError::Canary`] when it is the active one, or does not handle what that handles; the
    /// database failed.
    pub async fn put_canary(&self, version: i64, rules: &Rules) -> Result<(Put, Canary), ChangeError> {
        let mut tx = self.begin().await?;
        let found: Option<Sides> = sqlx::query_as(
            "select s.id as script_id, a.id as active_id, a.number as active_number, \
                    (a.handles_requests and not v.handles_requests) or (a.handles_events and not v.handles_events) as lacks, \
                    c.id as running \
             from script_version v \
             join script s on s.id = v.script_id \
             join script_version a on a.id = s.active_version_id \
             left join canary c on c.script_id = s.id and c.version_id = v.id and c.ended_ms is null \
             where v.id = $1",
        )
        .bind(version)
        .fetch_optional(&mut *tx)
        .await?;
        let sides = found.ok_or(ChangeError::NoVersion)?;
        if sides.active_id == version {
            return Err(ChangeError::Canary("this version is the active one already"));
        }
        if sides.lacks {
            return Err(ChangeError::Canary("this version does not handle all that the active one handles"));
        }
        let put = match sides.running {
            Some(id) => {
                change(&mut tx, id, rules).await?;
                Put::Replaced
            }
            None => {
                insert(&mut tx, version, &sides, rules, self.now_ms()).await?;
                Put::Created
            }
        };
        let canary = sqlx::query_as(select_canary!("where c.script_id = $1"))
            .bind(sides.script_id)
            .fetch_one(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok((put, canary))
    }

    /// End a canary that runs, if it is still the same one. All calls go to the active version again.
    ///
    /// # Errors
    ///
    /// [`ChangeError::NoCanary`]; the database failed.
    pub async fn end_canary(
        &self,
        canary: i64,
        outcome: Ending,
        result: Option<&str>,
    ) -> Result<(), ChangeError> {
        let ended = sqlx::query(
            "update canary set ended_ms = $1, outcome = $2, result = $3 where id = $4 and ended_ms is null",
        )
        .bind(self.now_ms())
        .bind(outcome.as_str())
        .bind(result)
        .bind(canary)
        .execute(&self.database.write)
        .await?;
        if ended.rows_affected() == 0 { Err(ChangeError::NoCanary) } else { Ok(()) }
    }

    /// Keep what was counted of a canary that ended with the activation of a version.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn keep_canary_result(&self, canary: i64, result: &str) -> Result<(), StoreError> {
        sqlx::query(
            "update canary set result = $1 where id = $2 and ended_ms is not null and result is null",
        )
        .bind(result)
        .bind(canary)
        .execute(&self.database.write)
        .await
        .map_err(failed)?;
        Ok(())
    }
}

/// A version that is to be a canary, and what it stands beside.
#[derive(FromRow)]
struct Sides {
    script_id: i64,
    active_id: i64,
    active_number: i64,
    lacks: bool,
    running: Option<i64>,
}

async fn change(tx: &mut SqliteConnection, id: i64, rules: &Rules) -> sqlx::Result<()> {
    sqlx::query(
        "update canary set percent = $1, min_calls = $2, max_faults_percent = $3, max_fuel_percent = $4 where id = $5",
    )
    .bind(i64::from(rules.percent))
    .bind(i64::from(rules.min_calls))
    .bind(rules.max_faults_percent)
    .bind(rules.max_fuel_percent)
    .bind(id)
    .execute(tx)
    .await?;
    Ok(())
}

async fn insert(
    tx: &mut SqliteConnection,
    version: i64,
    sides: &Sides,
    rules: &Rules,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query("delete from canary where script_id = $1").bind(sides.script_id).execute(&mut *tx).await?;
    sqlx::query(
        "insert into canary (script_id, version_id, active_version_id, active_number, percent, min_calls, \
                             max_faults_percent, max_fuel_percent, started_ms) \
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(sides.script_id)
    .bind(version)
    .bind(sides.active_id)
    .bind(sides.active_number)
    .bind(i64::from(rules.percent))
    .bind(i64::from(rules.min_calls))
    .bind(rules.max_faults_percent)
    .bind(rules.max_fuel_percent)
    .bind(now_ms)
    .execute(tx)
    .await?;
    Ok(())
}

/// What becomes of the canary of a script when a version of it is made the active one.
pub(super) async fn end_at_activation(
    tx: &mut SqliteConnection,
    script_id: i64,
    version_id: i64,
    now_ms: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "update canary set ended_ms = $1, outcome = case when version_id = $2 then $3 else $4 end \
         where script_id = $5 and ended_ms is null",
    )
    .bind(now_ms)
    .bind(version_id)
    .bind(Ending::Promoted.as_str())
    .bind(Ending::Stopped.as_str())
    .bind(script_id)
    .execute(tx)
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use picloud_host::limits::Limits;
    use picloud_host::quota::Quotas;

    use super::*;
    use crate::store::Precondition;
    use crate::store::testing::{TestStore, name, upload};

    const RULES: Rules = Rules::DEFAULT;

    /// A script with two versions, of which the first is active. Returns the second.
    async fn two_versions(test: &TestStore) -> i64 {
        let none = Precondition::default();
        test.store.put_script(test.app, &name("a"), &upload("1"), &none).await.unwrap();
        let second = crate::store::script::Upload { activate: false, ..upload("2") };
        test.store.add_version(test.app, &name("a"), &second, &none).await.unwrap().1.id
    }

    async fn published(test: &TestStore) -> Option<(u32, u8)> {
        let set = test.store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
        let canary = set.apps["default"].scripts["a"].canary.as_ref()?;
        Some((canary.script.version, canary.percent))
    }

    #[tokio::test]
    async fn a_canary_runs_until_it_is_ended() {
        let test = TestStore::new().await;
        let second = two_versions(&test).await;
        assert_eq!(published(&test).await, None);
        let (put, canary) = test.store.put_canary(second, &RULES).await.unwrap();
        assert_eq!((put, canary.version, canary.active_version), (Put::Created, 2, 1));
        let test = test.reopen().await;
        assert_eq!(published(&test).await, Some((2, 10)));
        assert_eq!(test.store.running_canaries().await.unwrap(), std::slice::from_ref(&canary));

        let (put, changed) = test.store.put_canary(second, &Rules { percent: 50, ..RULES }).await.unwrap();
        assert_eq!((put, changed.id, changed.started_ms), (Put::Replaced, canary.id, canary.started_ms));
        assert_eq!(published(&test).await, Some((2, 50)));

        test.store.end_canary(canary.id, Ending::RolledBack, Some("{}")).await.unwrap();
        assert_eq!(published(&test).await, None);
        assert!(test.store.running_canaries().await.unwrap().is_empty());
        let ended = test.store.canary(test.app, &name("a")).await.unwrap().unwrap();
        assert_eq!((ended.outcome.as_deref(), ended.result.as_deref()), (Some("rolled-back"), Some("{}")));
        let again = test.store.end_canary(canary.id, Ending::Stopped, None).await;
        assert!(matches!(again, Err(ChangeError::NoCanary)));
        let (put, anew) = test.store.put_canary(second, &RULES).await.unwrap();
        assert!(put == Put::Created && anew.id > canary.id && anew.outcome.is_none());
    }

    #[tokio::test]
    async fn an_activation_ends_it() {
        for (activated, outcome) in [("2", "promoted"), ("3", "stopped")] {
            let test = TestStore::new().await;
            let second = two_versions(&test).await;
            test.store.put_canary(second, &RULES).await.unwrap();
            if activated == "2" {
                let version = picloud_host::call::VersionId(second);
                test.store.activate(version, &Precondition::default()).await.unwrap();
            } else {
                let third = upload(activated);
                test.store.put_script(test.app, &name("a"), &third, &Precondition::default()).await.unwrap();
            }
            let canary = test.store.canary(test.app, &name("a")).await.unwrap().unwrap();
            assert_eq!(canary.outcome.as_deref(), Some(outcome));
            assert_eq!(published(&test).await, None);
        }
    }

    #[tokio::test]
    async fn what_is_active_or_handles_less_is_no_canary() {
        let test = TestStore::new().await;
        let second = two_versions(&test).await;
        let refused = async |version| match test.store.put_canary(version, &RULES).await {
            Err(ChangeError::Canary(why)) => why,
            other => panic!("{other:?}"),
        };
        let active = test.store.version(test.app, &name("a"), 1).await.unwrap().unwrap();
        assert!(refused(active.id).await.contains("active one already"));
        sqlx::query("update script_version set handles_requests = false where id = $1")
            .bind(second)
            .execute(&test.database.write)
            .await
            .unwrap();
        assert!(refused(second).await.contains("does not handle"));
        assert!(matches!(test.store.put_canary(-1, &RULES).await, Err(ChangeError::NoVersion)));
    }

    #[tokio::test]
    async fn it_is_kept_when_old_versions_go_and_goes_with_its_script() {
        let test = TestStore::new().await;
        let second = two_versions(&test).await;
        test.store.put_canary(second, &RULES).await.unwrap();
        let none = Precondition::default();
        for source in ["3", "4", "5"] {
            let more = crate::store::script::Upload { activate: false, keep: Some(1), ..upload(source) };
            test.store.add_version(test.app, &name("a"), &more, &none).await.unwrap();
        }
        assert_eq!(published(&test).await, Some((2, 10)));
        let version = test.store.version(test.app, &name("a"), 2).await.unwrap().unwrap();
        assert_eq!(version.canary_percent, Some(10));
        assert_eq!(test.store.version(test.app, &name("a"), 3).await.unwrap(), None);
        test.store.delete_script(test.app, &name("a"), &none).await.unwrap();
        assert!(test.store.running_canaries().await.unwrap().is_empty());
    }
}
