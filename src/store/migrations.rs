//! Schema steps, forward only, under an advisory lock.

use anyhow::{Context, Result, ensure};

use super::{pool, roles};

mod embedded {
    refinery::embed_migrations!("schema/migrations");
}

/// Any number, the same for everybody who migrates. refinery itself takes no lock, and two of four
/// concurrent runners failed without one.
const MIGRATION_LOCK: i64 = 0x686f_6c64_6661_7374;

/// Connects outside any pool, without the session limits of workers: a migration may take long.
async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let connected = pool::unlimited(url)?.connect().await;
    let (client, connection) = connected.context("cannot connect to the database")?;
    tokio::spawn(connection);
    Ok(client)
}

/// Applies what is missing and returns the names of the steps that were applied.
pub async fn migrate(url: &str) -> Result<Vec<String>> {
    let mut client = connect(url).await?;
    client.execute("select pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
    // The lock ends with the connection.
    let report = embedded::migrations::runner()
        .set_migration_table_name("schema_migrations")
        .run_async(&mut client)
        .await
        .context("a migration failed")?;
    roles::grant_all(&client).await.context("granting rights on the tables")?;
    Ok(report.applied_migrations().iter().map(ToString::to_string).collect())
}

/// Names the steps that are missing in the database.
pub async fn pending(url: &str) -> Result<Vec<String>> {
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
