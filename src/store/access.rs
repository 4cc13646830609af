//! Access keys, as far as the database knows them: epochs, secrets' fingerprints, and hashes.

use std::collections::{BTreeMap, HashMap};

use tokio_postgres::Client;
use uuid::Uuid;

use super::error::StoreError;
use super::pool::{Pool, Session, bounded};
use super::rows::read_access;
use super::sql;
use crate::domain::access::{Access, Secret, Secrets};
use crate::domain::id::ServerId;

/// Keys of one batch's confirmations.
pub struct NewKeys {
    /// The id of the secret that they are derived of.
    pub secret: String,
    /// SHA-256 of each reservation's key, in lock order.
    pub hashes: BTreeMap<Uuid, [u8; 32]>,
}

/// How a worker's secrets stand to those that others have started with.
pub struct Recorded {
    /// Ids under which another secret is recorded.
    pub differing: Vec<String>,
    /// Ids that are recorded, and that this worker does not have.
    pub lacking: Vec<String>,
}

/// Records the fingerprints of a worker's secrets, and compares them with those of others.
pub async fn record_secrets(client: &Client, secrets: &[Secret]) -> Result<Recorded, StoreError> {
    for secret in secrets {
        let fingerprint = secret.fingerprint();
        client
            .execute(sql!("insert_access_secret"), &[&secret.id, &fingerprint.as_slice()])
            .await?;
    }
    let mut recorded = Recorded { differing: Vec::new(), lacking: Vec::new() };
    for row in client.query(sql!("load_access_secrets"), &[]).await? {
        let (id, fingerprint): (String, &[u8]) = (row.try_get(0)?, row.try_get(1)?);
        match secrets.iter().find(|secret| secret.id == id) {
            None => recorded.lacking.push(id),
            Some(secret) if secret.fingerprint().as_slice() != fingerprint => {
                recorded.differing.push(id);
            }
            Some(_) => {}
        }
    }
    Ok(recorded)
}

/// Whether any worker has started with a secret.
pub async fn has_secrets(client: &Client) -> Result<bool, StoreError> {
    Ok(!client.query(sql!("load_access_secrets"), &[]).await?.is_empty())
}

/// Of which the keys of these reservations are derived. Those that were rotated are derived now, of the newest
/// secret, and gates are told.
pub async fn derive(
    pool: &Pool,
    secrets: &Secrets,
    reservations: &[Uuid],
) -> Result<HashMap<Uuid, Access>, StoreError> {
    bounded("deriving access keys", async {
        let session = Session::take(pool).await?;
        let mut found = load(&session, reservations).await?;
        let rotated: Vec<(Uuid, i32)> = found
            .iter()
            .filter(|(_, access)| access.secret.is_none())
            .map(|(id, access)| (*id, access.epoch))
            .collect();
        if !rotated.is_empty() {
            store(&session, secrets.newest(), &rotated).await?;
            // Another worker may have been first, with another secret.
            found = load(&session, reservations).await?;
        }
        session.finish();
        Ok(found)
    })
    .await
}

async fn load(
    session: &Session,
    reservations: &[Uuid],
) -> Result<HashMap<Uuid, Access>, StoreError> {
    let statement = session.client().prepare_cached(sql!("load_access")).await?;
    let rows = session.client().query(&statement, &[&reservations]).await?;
    let mut found = HashMap::new();
    for row in &rows {
        if let Some(access) = read_access(row)? {
            found.insert(row.try_get("reservation_id")?, access);
        }
    }
    Ok(found)
}

async fn store(
    session: &Session,
    secret: &Secret,
    rotated: &[(Uuid, i32)],
) -> Result<(), StoreError> {
    let client = session.client();
    let ids: Vec<Uuid> = rotated.iter().map(|(id, _)| *id).collect();
    let epochs: Vec<i32> = rotated.iter().map(|(_, epoch)| *epoch).collect();
    let hashes: Vec<Vec<u8>> =
        rotated.iter().map(|(id, epoch)| secret.key(*id, *epoch).hash().to_vec()).collect();
    let statement = client.prepare_cached(sql!("update_access")).await?;
    let rows = client.query(&statement, &[&ids, &epochs, &hashes, &secret.id]).await?;
    let servers: Vec<&str> = rows.iter().map(|row| row.get(0)).collect();
    notify_in(session, &servers).await
}

/// Tells gates that something has changed for these servers. They find it some hundred milliseconds later
/// anyway, so a notification that is lost costs no more than that. After the commit: PostgreSQL lets no two
/// transactions that notify commit at a time.
pub async fn notify(pool: &Pool, servers: &[ServerId]) -> Result<(), StoreError> {
    bounded("notifying gates", async {
        let session = Session::take(pool).await?;
        let servers: Vec<&str> = servers.iter().map(ServerId::as_str).collect();
        notify_in(&session, &servers).await?;
        session.finish();
        Ok(())
    })
    .await
}

async fn notify_in(session: &Session, servers: &[&str]) -> Result<(), StoreError> {
    let statement = session.client().prepare_cached(sql!("notify_gates")).await?;
    session.client().execute(&statement, &[&servers]).await?;
    Ok(())
}
