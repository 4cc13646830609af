//! `holdfast topology verify`.

use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use tokio_postgres::Client;

use super::policies::{REMEDY, lines, policies, shortened, terminal_ids};
use super::routes::{found_routes, recorded, wanted_routes};
use crate::broker::BrokerError;
use crate::broker::connection::Connection;
use crate::broker::delay_probe::{self, Probe};
use crate::broker::policies::Deviation;
use crate::broker::routes::{self, Difference, Route};
use crate::broker::topology::reply_queue;
use crate::broker::{bindings, declare, declared, reply_queues};
use crate::cli::context::Context;
use crate::cli::exit::CliError;
use crate::message::shape::Shape;
use crate::store::registry::load_installation;

/// What is wrong, for programs.
#[derive(Default, Serialize)]
struct Wrong {
    missing: Vec<String>,
    surplus: Vec<String>,
    /// Queues of others that may refuse our messages.
    foreign: Vec<String>,
    deviations: Vec<Deviation>,
}

impl Wrong {
    fn is_empty(&self) -> bool {
        let Self { missing, surplus, foreign, deviations } = self;
        missing.is_empty() && surplus.is_empty() && foreign.is_empty() && deviations.is_empty()
    }

    fn text(&self) -> String {
        let Self { missing, surplus, foreign, deviations } = self;
        let kinds = [("missing", missing), ("too many", surplus), ("of others", foreign)];
        let named = kinds.iter().flat_map(|(label, names)| shortened(label, names));
        named.chain(lines(deviations)).collect::<Vec<_>>().join("\n")
    }

    fn message(&self) -> String {
        let Self { missing, surplus, foreign, deviations } = self;
        let mut parts = Vec::new();
        if !missing.is_empty() || !surplus.is_empty() {
            parts.push(format!(
                "on the broker, missing: {}, too many: {}; `holdfast topology apply` mends it",
                missing.len(),
                surplus.len()
            ));
        }
        if !foreign.is_empty() {
            parts.push(format!(
                "queues of others on exchanges that are Holdfast's alone: {}; unbind them, or a message \
                 that they refuse is published again and again",
                foreign.len()
            ));
        }
        if !deviations.is_empty() {
            parts.push(format!("changed by policies: {}; {REMEDY}", deviations.len()));
        }
        parts.join(". ")
    }
}

pub(super) async fn run(context: &Context) -> Result<()> {
    let database = context.database().await?;
    let shape = recorded(&database).await?;
    let connection = context.own_broker(&database, "topology").await?;
    let installation = load_installation(&database).await?;
    let terminals = terminal_ids(&database).await?;
    let missing = declare::missing(&connection, installation, shape).await?;
    let mut wrong = Wrong { missing, ..Wrong::default() };
    let is_declared = wrong.missing.is_empty();
    let without = reply_queues::missing(&connection, &terminals).await?;
    wrong.missing.extend(without.iter().map(|id| format!("queue {}", reply_queue(id))));
    if is_declared {
        let difference = compare(context, &database, &connection).await?;
        wrong.missing.extend(difference.missing.iter().map(|route| format!("binding of {route}")));
        wrong.surplus.extend(difference.surplus.iter().map(|route| format!("binding of {route}")));
        let with: Vec<String> =
            terminals.iter().filter(|id| !without.contains(id)).cloned().collect();
        look_behind(context, shape, &with, &mut wrong).await?;
    }
    if !wrong.is_empty() {
        context.output.print(&wrong, || wrong.text())?;
        return Err(CliError::CheckFailed(wrong.message()).into());
    }
    let took = match probe_ladder(&connection, shape.delay_levels).await {
        Ok(took) => Some(took),
        // A monitor's account may look, and declare nothing.
        Err(error) if is_forbidden(&error) => None,
        Err(error) => return Err(error),
    };
    let compared = context.config.management().is_ok();
    let value = json!({
        "missing": [], "surplus": [], "foreign": [], "deviations": [],
        "policies_compared": compared, "delay_probe_ms": took,
    });
    let found = match compared {
        true => "complete",
        false => {
            "everything is declared. Policies, which may change what queues do, and bindings of others \
             were not compared: set RABBITMQ_MANAGEMENT_URL"
        }
    };
    context.output.print(&value, || match took {
        Some(took) => format!("{found}; the delay probe arrived after {took} ms"),
        None => format!("{found}. No delay probe was sent: this account may not declare its queue"),
    })
}

fn is_forbidden(error: &anyhow::Error) -> bool {
    const ACCESS_REFUSED: u16 = 403;
    let code = error.chain().find_map(|cause| cause.downcast_ref::<BrokerError>()?.code());
    code == Some(ACCESS_REFUSED)
}

/// What only the management API tells. `terminals` have a reply queue.
async fn look_behind(
    context: &Context,
    shape: Shape,
    terminals: &[String],
    wrong: &mut Wrong,
) -> Result<()> {
    let (Ok(management), Some(policies)) = (context.config.management(), policies(context)?) else {
        return Ok(());
    };
    let broker = context.config.broker()?;
    let unbound = bindings::unbound_replies(management, broker, terminals).await?;
    wrong.missing.extend(unbound.iter().map(|id| format!("binding of queue {}", reply_queue(id))));
    let lost = declared::missing_bindings(management, broker, shape).await?;
    wrong.missing.extend(lost.iter().map(|text| format!("binding of {text}")));
    wrong.foreign = bindings::foreign(management, broker, shape).await?;
    wrong.deviations = policies.deviations(shape, terminals).await?;
    Ok(())
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
