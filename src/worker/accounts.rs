//! The broker accounts of this installation's workers.
//!
//! Internal messages are believed from all of them, so that an account can be replaced while messages of
//! the former one wait. A worker records its account before it publishes anything: what comes from an
//! account that was not recorded when the message arrived comes from no worker.

use std::collections::BTreeSet;
use std::sync::RwLock;

use crate::message::envelope::Received;
use crate::store::error::StoreError;
use crate::store::pool::Pool;
use crate::store::registry;

pub struct WorkerAccounts(RwLock<BTreeSet<String>>);

impl WorkerAccounts {
    pub fn new(accounts: BTreeSet<String>) -> Self {
        Self(RwLock::new(accounts))
    }

    pub fn contains(&self, account: &str) -> bool {
        self.0.read().expect("nothing panics with it").contains(account)
    }

    /// Whether the accounts must be read again to tell what this message is.
    pub fn may_lack_sender_of(&self, message: &Received) -> bool {
        message.claims_to_be_internal()
            && message.user_id.as_deref().is_some_and(|account| !self.contains(account))
    }

    /// Reads the accounts again.
    pub async fn reload(&self, pool: &Pool) -> Result<(), StoreError> {
        let accounts = registry::reload_worker_accounts(pool).await?;
        *self.0.write().expect("nothing panics with it") = accounts;
        Ok(())
    }
}
