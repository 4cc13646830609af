//! The access keys of what is sent.

use std::collections::HashMap;

use tracing::warn;
use uuid::Uuid;

use super::context::Context;
use crate::domain::access::Key;
use crate::store::access;
use crate::store::error::StoreError;

/// The keys of confirmed reservations, as far as they have one and this worker the secret.
pub async fn keys(
    context: &Context,
    reservations: &[Uuid],
) -> Result<HashMap<Uuid, Key>, StoreError> {
    let Some(secrets) = context.settings.access.as_deref().filter(|_| !reservations.is_empty())
    else {
        return Ok(HashMap::new());
    };
    let found = access::derive(&context.pool, secrets, reservations).await?;
    let mut keys = HashMap::new();
    for (id, access) in found {
        match secrets.key(id, &access) {
            Some(key) => drop(keys.insert(id, key)),
            None => warn!(
                reservation = %id,
                secret = access.secret,
                "a notice goes without its access key: this worker lacks the secret. Give all workers the \
                 same file; the terminal can ask with `show`"
            ),
        }
    }
    Ok(keys)
}
