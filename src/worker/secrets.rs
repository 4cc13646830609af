//! Whether all workers derive access keys of the same secrets.

use anyhow::Result;
use tokio_postgres::Client;
use tracing::{info, warn};

use crate::domain::access::Secrets;
use crate::store::access::{self, Recorded};

/// A worker has another secret than the others under the same id: each would derive keys that the others' hashes
/// do not know.
#[derive(Debug, thiserror::Error)]
#[error(
    "HOLDFAST_ACCESS_SECRET (--access-secret): the secret {id} is another one than workers have started with \
     before; give all workers the same file, and a new secret a new id, on the first line"
)]
pub struct OtherSecret {
    id: String,
}

/// Fails if other workers have started with another secret under the same id.
pub(super) async fn check(client: &Client, secrets: Option<&Secrets>) -> Result<()> {
    let own = secrets.map_or(&[][..], Secrets::all);
    let Recorded { differing, lacking } = access::record_secrets(client, own).await?;
    if let Some(id) = differing.into_iter().next() {
        return Err(OtherSecret { id }.into());
    }
    match secrets {
        None if lacking.is_empty() => {}
        None => warn!(
            "other workers derive access keys and this one has no secret: what it confirms gets no key; set \
             HOLDFAST_ACCESS_SECRET_FILE"
        ),
        Some(secrets) => {
            info!(secret = secrets.newest().id, older = own.len() - 1, "access keys are derived");
            if !lacking.is_empty() {
                info!(?lacking, "access keys of these secrets are not told here any more");
            }
        }
    }
    Ok(())
}
