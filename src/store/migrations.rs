//! Schema steps, forward only, under an advisory lock, while workers go on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use tokio_postgres::Client;
use tracing::warn;

use super::url::DatabaseUrl;
use super::{error, pool, roles};

mod embedded {
    refinery::embed_migrations!("schema/migrations");
}

/// Any number, the same for everybody who migrates. refinery itself takes no lock, and two of four
/// concurrent runners failed without one.
const MIGRATION_LOCK: i64 = 0x686f_6c64_6661_7374;

/// How long a step waits for a table. Whoever comes for the table after it waits behind it, so this
/// is also how long a step can hold the workers up: less than they bear (`lock_timeout` in [`pool`]).
const LOCK_TIMEOUT: &str = "set lock_timeout = '2s'";

/// Tries before giving up, some minutes: a dump or a report may stand in the way.
const TRIES_MAX: u32 = 100;

/// Most that passes between two tries. Workers catch up meanwhile.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Connects outside any pool, without the session limits of workers: a migration may take long.
async fn connect(url: &DatabaseUrl) -> Result<Client> {
    let connected = pool::unlimited(url).connect().await;
    let (client, connection) = connected.context("cannot connect to the database")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Applies what is missing and returns the names of the steps that were applied.
///
/// Each step is a transaction of its own. One that has to wait for a table too long, or ends in a
/// deadlock, is undone and tried again.
pub async fn migrate(url: &DatabaseUrl) -> Result<Vec<String>> {
    let mut client = connect(url).await?;
    // Before the timeout: others that migrate are waited for. The lock ends with the connection.
    client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    client.batch_execute(LOCK_TIMEOUT).await?;
    let applied = apply(&mut client).await?;
    roles::grant_all(&client).await.context("granting rights on the tables")?;
    Ok(applied)
}

async fn apply(client: &mut Client) -> Result<Vec<String>> {
    let mut applied = Vec::new();
    let mut tries = 0;
    loop {
        tries += 1;
        let mut runner = embedded::migrations::runner();
        runner.set_migration_table_name("schema_migrations");
        let outcome = runner.run_async(client).await;
        let report = outcome.as_ref().map_or_else(refinery::Error::report, Some);
        let steps = report.into_iter().flat_map(refinery::Report::applied_migrations);
        applied.extend(steps.map(ToString::to_string));
        match outcome {
            Ok(_) => return Ok(applied),
            Err(error) if tries < TRIES_MAX && is_contention(&error) => {
                warn!(tries, "a step found others in its way and is tried again");
                let pause = rand::rng().random_range(Duration::ZERO..=PAUSE_MAX);
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(error).context("a migration failed"),
        }
    }
}

/// Whether a step was only in somebody's way, or somebody in its way.
fn is_contention(error: &refinery::Error) -> bool {
    let refinery::error::Kind::Connection(_, source) = error.kind() else { return false };
    source.downcast_ref().and_then(tokio_postgres::Error::code).is_some_and(error::is_contention)
}

/// Names the steps that are missing in the database.
pub async fn pending(url: &DatabaseUrl) -> Result<Vec<String>> {
    let mut client = connect(url).await?;
    let mut runner = embedded::migrations::runner();
    runner.set_migration_table_name("schema_migrations");
    let exists: bool =
        client.query_one("select to_regclass('schema_migrations') is not null", &[]).await?.get(0);
    let applied = if exists {
        runner.get_applied_migrations_async(&mut client).await.context("cannot read the steps")?
    } else {
        Vec::new()
    };
    let mut missing = Vec::new();
    for step in runner.get_migrations() {
        match applied.iter().find(|done| done.version() == step.version()) {
            None => missing.push(step.to_string()),
            Some(done) => ensure!(
                done.checksum() == step.checksum(),
                "step {step} in the database differs from this program's"
            ),
        }
    }
    Ok(missing)
}
