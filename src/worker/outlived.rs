//! Counted attempts at isolated messages that the worker outlived.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::store::pool::Pool;

use crate::domain::input::Digest;
use crate::store::delivery_attempts;
use crate::store::error::StoreError;

/// By partition; at most one batch each.
#[derive(Default)]
pub struct Outlived(Mutex<HashMap<i32, Vec<Digest>>>);

impl Outlived {
    /// Records a failed attempt that did not kill the worker.
    pub fn note(&self, partition: i32, fingerprints: Vec<Digest>) {
        self.lock().insert(partition, fingerprints);
    }

    /// Uncounts a partition's attempts. They stay noted if the database fails.
    pub async fn uncount(&self, pool: &Pool, partition: i32) -> Result<(), StoreError> {
        let noted = self.lock().get(&partition).cloned().unwrap_or_default();
        if !noted.is_empty() {
            delivery_attempts::uncount(pool, partition, &noted).await?;
            self.lock().remove(&partition);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Vec<Digest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
