//! The schema, and what the database takes from outside itself.

use anyhow::Result;
use tokio_postgres::Client;

use super::engines::Engines;
use super::finding::{Check, Finding, bounded};
use crate::cli::context::Context;
use crate::store::admin::conditions::{changed_zone_rules, outdated_collations};
use crate::store::migrations;

const VERSION: Check = Check::new("schema.version", "applied migrations and those of this program");
const TOPOLOGY: Check = Check::new("schema.topology", "the recorded topology");
const COLLATIONS: Check =
    Check::new("schema.collations", "collations, and the versions that indexes were built with");
const ZONES: Check =
    Check::new("schema.zone_rules", "time zone rules, and the stored bounds of quota periods");

pub(super) async fn check(context: &Context, engines: &Engines<'_>) -> Vec<Finding> {
    let Some(database) = &engines.database else {
        return [VERSION, TOPOLOGY, COLLATIONS, ZONES]
            .map(|one| one.needs("the database"))
            .to_vec();
    };
    vec![
        bounded(VERSION, version(context, engines)).await,
        topology(engines),
        bounded(COLLATIONS, collations(database)).await,
        match engines.versions {
            None => ZONES.needs("the schema"),
            Some(_) => bounded(ZONES, zones(database)).await,
        },
    ]
}

async fn version(context: &Context, engines: &Engines<'_>) -> Result<Finding> {
    let pending = match migrations::pending(context.config.database()?).await {
        Ok(pending) => pending,
        Err(error) => {
            return Ok(VERSION.red(
                format!("{error:#}"),
                "use the version of holdfast that made this schema, or newer",
            ));
        }
    };
    let found = engines.versions.as_ref().and_then(|versions| versions.schema);
    let newest = migrations::newest();
    Ok(match (pending.is_empty(), found) {
        (false, _) => VERSION.red(
            format!("missing: {}", pending.join(", ")),
            "run `holdfast migrate` with the account that owns the tables",
        ),
        (true, Some(found)) if found > newest => VERSION.yellow(
            format!("the schema has step {found}, this program knows {newest}"),
            "use the newer version of holdfast, here and for all workers",
        ),
        (true, _) => VERSION.green(format!("up to date, {newest} steps")),
    })
}

fn topology(engines: &Engines<'_>) -> Finding {
    let Some(versions) = &engines.versions else { return TOPOLOGY.needs("the schema") };
    match &versions.topology {
        Some(topology) => TOPOLOGY.green(format!(
            "{} partitions, {} of them open, {} delay levels",
            topology.partitions, topology.open_partitions, topology.delay_levels
        )),
        None => TOPOLOGY.red("none", "run `holdfast topology apply`"),
    }
}

async fn collations(database: &Client) -> Result<Finding> {
    let outdated = outdated_collations(database).await?;
    Ok(COLLATIONS.unless_any(
        &outdated,
        "build the indexes anew with `reindex index`, then `alter database ... refresh collation version`",
        "no index follows one that has changed",
    ))
}

async fn zones(database: &Client) -> Result<Finding> {
    Ok(match changed_zone_rules(database).await? {
        None => ZONES.green("as they were when the bounds were stored"),
        Some(changed) => ZONES
            .yellow(changed, "when all sessions have the new rules, run `holdfast user recount`"),
    })
}
