//! Faults of rules that the database takes from its system.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio_postgres::Client;

use super::Chaos;
use crate::operator::{self, Ended};
use crate::pick::Pick;

/// Bound on a command that looks at the database.
const TOLD_WITHIN: Duration = Duration::from_secs(60);

/// An index of somebody else, which follows the locale.
const INDEX: &str = "chaos_servers_by_url";

/// Gives the database's locale other rules under the same name and restarts the database, as an upgrade of
/// its system does. Our keys compare bytewise. An index that follows the locale must be named.
pub async fn collation(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    let database = chaos.installation.database().await?;
    let before = a_is_before_b(&database).await?;
    let index = format!("create index if not exists {INDEX} on servers (connection_url)");
    database.batch_execute(&index).await?;
    let changed = chaos.engines()?.change_locale(&chaos.installation).await;
    let database = chaos.installation.database().await?;
    let named = named(chaos, &database).await;
    let forget = format!(
        "drop index {INDEX}; alter database \"{}\" refresh collation version",
        chaos.installation.name
    );
    database.batch_execute(&forget).await?;
    changed?;
    ensure!(a_is_before_b(&database).await? != before, "the order is what it was");
    if !named? {
        chaos.setting.tally.failed("`migrate --check` does not name an index".to_owned());
    }
    Ok(format!("a is {} b", if before { "behind" } else { "before" }))
}

async fn a_is_before_b(database: &Client) -> Result<bool> {
    Ok(database.query_one("select 'a' < 'b'", &[]).await?.get(0))
}

/// Whether `migrate --check` names the index. An error if it fails for another reason.
async fn named(chaos: &Chaos, database: &Client) -> Result<bool> {
    // To PostgreSQL, the version of a locale's rules is that of the C library, which stays the same here.
    let version =
        "update pg_database set datcollversion = 'before' where datname = current_database()";
    database.batch_execute(version).await?;
    let (environment, words) = (chaos.installation.environment()?, ["migrate", "--check"]);
    let ended = operator::end_of(&chaos.program, environment, &words, TOLD_WITHIN).await?;
    let Ended { status, complaints, .. } = ended.context("`migrate --check` hangs")?;
    let named = complaints.contains(INDEX);
    ensure!(named || status.success(), "{status}: {complaints}");
    Ok(named)
}
