//! Sources in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use crate::call::VersionId;
use crate::ports::{Scripts, StoreError};

/// Sources by version.
#[derive(Debug, Default)]
pub struct MemoryScripts(RwLock<HashMap<VersionId, Arc<str>>>);

impl MemoryScripts {
    /// Keep the source of a version, in place of what was kept for it before.
    pub fn insert(&self, version: VersionId, source: impl Into<Arc<str>>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(version, source.into());
    }
}

#[async_trait]
impl Scripts for MemoryScripts {
    async fn source(&self, version: VersionId) -> Result<Option<Arc<str>>, StoreError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(&version).cloned())
    }
}
