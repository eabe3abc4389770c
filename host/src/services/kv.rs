//! The interface `kv`: keys and values of the app, in the transaction of the call.

mod session;

pub(crate) use session::{KvSession, Savepoint};

use std::sync::Arc;

use picloud_sdk_wit::picloud::sdk::kv::{Error, Host, Page, Value};

use crate::ports::{KvValue, KvWrite};
use crate::sandbox::CallState;
use crate::services::check;

/// The outer error ends the call: storage failed. The inner one is for the script.
type Answer<T> = wasmtime::Result<Result<T, Error>>;

/// Most entries of one page.
const MAX_PAGE: u32 = 1000;

impl Host for CallState {
    async fn get(&mut self, key: String) -> Answer<Option<Value>> {
        check!(self.kv.operations(1));
        let key = check!(self.kv.key(&key));
        let now = self.clock.now_ms();
        let value = check!(self.kv.get(&key, now).await?);
        Ok(Ok(value.map(to_wit)))
    }

    async fn get_many(&mut self, keys: Vec<String>) -> Answer<Vec<Option<Value>>> {
        check!(self.kv.operations(keys.len()));
        let now = self.clock.now_ms();
        let mut values = Vec::with_capacity(keys.len());
        for key in keys {
            let key = check!(self.kv.key(&key));
            values.push(check!(self.kv.get(&key, now).await?).map(to_wit));
        }
        Ok(Ok(values))
    }

    async fn set(&mut self, key: String, value: Value, ttl_ms: Option<u64>) -> Answer<()> {
        check!(self.kv.operations(1));
        let key = check!(self.kv.key(&key));
        let write = check!(self.write(value, ttl_ms));
        Ok(self.kv.put(key, Some(write)))
    }

    async fn set_many(&mut self, entries: Vec<(String, Value)>, ttl_ms: Option<u64>) -> Answer<()> {
        check!(self.kv.operations(entries.len()));
        let mut writes = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            writes.push((check!(self.kv.key(&key)), check!(self.write(value, ttl_ms))));
        }
        for (key, write) in writes {
            check!(self.kv.put(key, Some(write)));
        }
        Ok(Ok(()))
    }

    async fn delete(&mut self, key: String) -> Answer<bool> {
        check!(self.kv.operations(1));
        let key = check!(self.kv.key(&key));
        let now = self.clock.now_ms();
        let existed = check!(self.kv.get(&key, now).await?).is_some();
        if existed {
            check!(self.kv.put(key, None));
        }
        Ok(Ok(existed))
    }

    async fn exists(&mut self, key: String) -> Answer<bool> {
        check!(self.kv.operations(1));
        let key = check!(self.kv.key(&key));
        let now = self.clock.now_ms();
        Ok(Ok(check!(self.kv.get(&key, now).await?).is_some()))
    }

    async fn incr(&mut self, key: String, by: i64) -> Answer<i64> {
        check!(self.kv.operations(1));
        let key = check!(self.kv.key(&key));
        let now = self.clock.now_ms();
        let (before, expires_ms) = match check!(self.kv.entry(&key, now).await?) {
            Some(entry) => (check!(integer(&entry.value)), entry.expires_ms),
            None => (0, None),
        };
        let after = check!(before.checked_add(by).ok_or(Error::NotAnInteger));
        let value = KvValue::Json(after.to_string().into());
        check!(self.kv.put(key, Some(KvWrite { value, expires_ms })));
        Ok(Ok(after))
    }

    async fn compare_and_swap(
        &mut self,
        key: String,
        expected: Option<Value>,
        new: Option<Value>,
    ) -> Answer<bool> {
        check!(self.kv.operations(1));
        let key = check!(self.kv.key(&key));
        let now = self.clock.now_ms();
        let expected = check!(expected.map(|value| self.kv.value(from_wit(value))).transpose());
        let new = check!(new.map(|value| self.write(value, None)).transpose());
        if check!(self.kv.get(&key, now).await?) != expected {
            return Ok(Ok(false));
        }
        check!(self.kv.put(key, new));
        Ok(Ok(true))
    }

    async fn list(&mut self, prefix: String, limit: u32, cursor: Option<String>) -> Answer<Page> {
        check!(self.kv.operations(1));
        // Both are kept until the commit, so their size is bounded as that of keys is.
        check!(self.kv.prefix(&prefix));
        if cursor.as_ref().is_some_and(|cursor| !cursor.starts_with(&prefix) || self.kv.key(cursor).is_err())
        {
            return Ok(Err(Error::CursorInvalid));
        }
        let now = self.clock.now_ms();
        let limit = limit.clamp(1, MAX_PAGE) as usize;
        let (entries, cursor) =
            check!(self.kv.list(&prefix.into(), cursor.map(Arc::from), limit, now).await?);
        let entries = entries.into_iter().map(|(key, value)| (key.to_string(), to_wit(value))).collect();
        Ok(Ok(Page { entries, cursor: cursor.map(|cursor| cursor.to_string()) }))
    }
}

impl CallState {
    fn write(&self, value: Value, ttl_ms: Option<u64>) -> Result<KvWrite, Error> {
        let value = self.kv.value(from_wit(value))?;
        let expires_ms = match ttl_ms {
            Some(0) => return Err(Error::TtlInvalid),
            Some(ttl) => Some(self.clock.now_ms().saturating_add(ttl).min(i64::MAX.cast_unsigned())),
            None => None,
        };
        Ok(KvWrite { value, expires_ms })
    }
}

fn integer(value: &KvValue) -> Result<i64, Error> {
    match value {
        KvValue::Json(text) => text.parse().map_err(|_| Error::NotAnInteger),
        KvValue::Blob(_) => Err(Error::NotAnInteger),
    }
}

fn to_wit(value: KvValue) -> Value {
    match value {
        KvValue::Json(text) => Value::Json(text.to_string()),
        KvValue::Blob(bytes) => Value::Blob(bytes.to_vec()),
    }
}

fn from_wit(value: Value) -> KvValue {
    match value {
        Value::Json(text) => KvValue::Json(text.into()),
        Value::Blob(bytes) => KvValue::Blob(bytes.into()),
    }
}
