//! `holdfast topology verify`.

use anyhow::Result;
use serde_json::json;
use tokio_postgres::Client;

use super::routes::{found_routes, recorded, wanted_routes};
use crate::broker::connection::Connection;
use crate::broker::declare;
use crate::broker::delay_probe::{self, Probe};
use crate::broker::routes::{self, Difference, Route};
use crate::cli::context::Context;
use crate::cli::exit::CliError;
use crate::store::registry::load_installation;

pub(super) async fn run(context: &Context) -> Result<()> {
    let database = context.database().await?;
    let shape = recorded(&database).await?;
    let connection = context.own_broker(&database, "topology").await?;
    let installation = load_installation(&database).await?;
    let mut missing = declare::missing(&connection, installation, shape).await?;
    let mut surplus = Vec::new();
    if missing.is_empty() {
        let difference = compare(context, &database, &connection).await?;
        missing.extend(difference.missing.iter().map(|route| format!("binding of {route}")));
        surplus.extend(difference.surplus.iter().map(|route| format!("binding of {route}")));
    }
    if !missing.is_empty() || !surplus.is_empty() {
        context.output.print(&json!({ "missing": missing, "surplus": surplus }), || {
            let missing = missing.iter().map(|name| format!("missing: {name}"));
            let surplus = surplus.iter().map(|name| format!("too many: {name}"));
            missing.chain(surplus).collect::<Vec<_>>().join("\n")
        })?;
        let message = format!(
            "on the broker, missing: {}, too many: {}; `holdfast topology apply` mends it",
            missing.len(),
            surplus.len()
        );
        return Err(CliError::CheckFailed(message).into());
    }
    let took = probe_ladder(&connection, shape.delay_levels).await?;
    let value = json!({ "missing": missing, "surplus": surplus, "delay_probe_ms": took });
    context.output.print(&value, || format!("complete; the delay probe arrived after {took} ms"))
}

/// A move between the two reads shows as a difference for a moment.
async fn compare(
    context: &Context,
    database: &Client,
    connection: &Connection,
) -> Result<Difference> {
    let wanted = wanted_routes(database).await?;
    if let Some(found) = found_routes(context).await? {
        return Ok(Difference::between(&wanted, &found));
    }
    let servers: Vec<String> = wanted.iter().map(|route| route.server.clone()).collect();
    let unreachable = routes::unreachable(connection, &servers).await?;
    let missing = |route: &Route| unreachable.contains(&route.server);
    Ok(Difference { missing: wanted.into_iter().filter(missing).collect(), surplus: Vec::new() })
}

async fn probe_ladder(connection: &Connection, levels: u32) -> Result<u128> {
    match delay_probe::send(connection, levels).await? {
        Probe::Arrived(after) => Ok(after.as_millis()),
        Probe::Early { after, due } => {
            let message =
                format!("the delay probe arrived after {after:?}; expected at least {due:?}");
            Err(CliError::CheckFailed(message).into())
        }
        Probe::Lost => {
            let message = "the delay probe did not arrive in time; check the arguments of the queues \
                           reservation.delay.v1.*. Until the ladder works, the sweep settles \
                           deadlines, late";
            Err(CliError::CheckFailed(message.to_owned()).into())
        }
    }
}
