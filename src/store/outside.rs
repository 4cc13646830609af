//! What the database takes from outside itself, and whether it has changed: zone rules and collations.

use tokio_postgres::Client;

use super::error::StoreError;
use super::sql;

/// Sentences for people, each with the next step; empty if nothing has changed.
pub(crate) async fn changes(client: &Client) -> Result<Vec<String>, StoreError> {
    let changed = zone_rules(client).await?.into_iter();
    Ok(changed.chain(collations(client).await?).collect())
}

/// Indexes that follow a collation which has changed since they were built.
pub(crate) async fn collations(client: &Client) -> Result<Vec<String>, StoreError> {
    let mut changes = Vec::new();
    for row in client.query(sql!("load_outdated_collations"), &[]).await? {
        let (table, index, collation): (String, String, String) =
            (row.get("of_table"), row.get("index_name"), row.get("collation_name"));
        changes.push(format!(
            "index {index} of {table}: its collation, {collation}, has changed since it was built, \
             so it may miss rows and admit duplicates; build it anew with `reindex index {index}`"
        ));
    }
    Ok(changes)
}

/// What the zone rules of this session say otherwise than the stored bounds of quota periods.
pub(crate) async fn zone_rules(client: &Client) -> Result<Option<String>, StoreError> {
    let row = client.query_one(sql!("load_changed_bounds"), &[]).await?;
    let changed: i64 = row.get("changed");
    if changed == 0 {
        return Ok(None);
    }
    let (zone, stored_at, computed_at): (String, String, String) =
        (row.get("zone"), row.get("stored_at"), row.get("computed_at"));
    Ok(Some(format!(
        "zone {zone}: its rules have changed, and put {changed} starts of quota periods elsewhere than \
         the stored ones, which remain in force; the first is {stored_at}, and would be {computed_at}. \
         When all sessions have the new rules, run `holdfast user recount`"
    )))
}
