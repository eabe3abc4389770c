//! Policies for requests to other servers: which ones the scripts of an app may send.

use picloud_host::call::{AppId, SourceHash};
use picloud_host::outbound::policy::HttpPolicy;
use picloud_host::ports::StoreError;

use crate::store::column::damaged;
use crate::store::{ChangeError, Precondition, Store, failed};

/// The tag of a policy: the hash of what is stored of it.
#[must_use]
pub fn tag(policy: &HttpPolicy) -> String {
    SourceHash::of(&write(policy)).to_hex()
}

impl Store {
    /// The policy of an app; one that allows nothing if it was never set.
    ///
    /// # Errors
    ///
    /// The database failed.
    pub async fn http_policy(&self, app: AppId) -> Result<HttpPolicy, StoreError> {
        let stored: Option<Option<String>> = sqlx::query_scalar("select http_policy from app where id = $1")
            .bind(app.0)
            .fetch_optional(&self.database.read)
            .await
            .map_err(failed)?;
        read(stored.flatten().as_deref()).map_err(failed)
    }

    /// Replace the policy of an app.
    ///
    /// # Errors
    ///
    /// [`ChangeError::Precondition`] and [`ChangeError::NoApp`]; the database failed.
    pub async fn put_http_policy(
        &self,
        app: AppId,
        policy: &HttpPolicy,
        precondition: &Precondition,
    ) -> Result<(), ChangeError> {
        let mut tx = self.begin().await?;
        let stored: Option<Option<String>> = sqlx::query_scalar("select http_policy from app where id = $1")
            .bind(app.0)
            .fetch_optional(&mut *tx)
            .await?;
        // One that is damaged has a tag that nobody knows, and can be replaced.
        let before = read(stored.ok_or(ChangeError::NoApp)?.as_deref());
        precondition.check(Some(&before.as_ref().map(tag).unwrap_or_default()))?;
        sqlx::query("update app set http_policy = $1 where id = $2")
            .bind(write(policy))
            .bind(app.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

/// What the column holds.
pub(super) fn read(stored: Option<&str>) -> sqlx::Result<HttpPolicy> {
    stored.map_or_else(|| Ok(HttpPolicy::default()), |json| serde_json::from_str(json).map_err(damaged))
}

/// What the column is to hold.
pub(super) fn write(policy: &HttpPolicy) -> String {
    serde_json::to_string(policy).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use picloud_host::limits::Limits;
    use picloud_host::quota::Quotas;

    use super::*;
    use crate::store::testing::TestStore;
    use crate::store::{Tag, Tags};

    fn allowing(host: &str) -> HttpPolicy {
        let rules = serde_json::json!({ "rules": [{ "hosts": [host], "private": true }] });
        serde_json::from_value::<HttpPolicy>(rules).unwrap().normalised().unwrap()
    }

    fn if_match(policy: &HttpPolicy) -> Precondition {
        let tags = Tags::List(vec![Tag { weak: false, value: tag(policy) }]);
        Precondition { if_match: Some(tags), ..Precondition::default() }
    }

    #[tokio::test]
    async fn nothing_is_allowed_until_somebody_says_so_and_then_after_a_restart() {
        let test = TestStore::new().await;
        assert_eq!(test.store.http_policy(test.app).await.unwrap(), HttpPolicy::default());
        let policy = allowing("example.org");
        test.store.put_http_policy(test.app, &policy, &Precondition::default()).await.unwrap();
        let test = test.reopen().await;
        assert_eq!(test.store.http_policy(test.app).await.unwrap(), policy);
        let set = test.store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
        assert_eq!(*set.apps["default"].http, policy);
    }

    #[tokio::test]
    async fn a_change_can_demand_what_it_replaces() {
        let test = TestStore::new().await;
        let (none, a, b) = (HttpPolicy::default(), allowing("a.org"), allowing("b.org"));
        test.store.put_http_policy(test.app, &a, &if_match(&none)).await.unwrap();
        let lost = test.store.put_http_policy(test.app, &b, &if_match(&none)).await;
        assert!(matches!(lost, Err(ChangeError::Precondition)));
        assert_eq!(test.store.http_policy(test.app).await.unwrap(), a);
        let nowhere = test.store.put_http_policy(AppId(77), &b, &Precondition::default()).await;
        assert!(matches!(nowhere, Err(ChangeError::NoApp)));
    }

    #[tokio::test]
    async fn a_damaged_policy_allows_nothing_and_takes_no_script_along() {
        let test = TestStore::new().await;
        sqlx::raw_sql("update app set http_policy = '{'").execute(&test.database.write).await.unwrap();
        let set = test.store.active_set(&Limits::default(), &Quotas::default()).await.unwrap();
        assert_eq!(*set.apps["default"].http, HttpPolicy::default());
        assert!(test.store.http_policy(test.app).await.is_err());
        let policy = allowing("a.org");
        test.store.put_http_policy(test.app, &policy, &Precondition::default()).await.unwrap();
        assert_eq!(test.store.http_policy(test.app).await.unwrap(), policy);
    }
}
