//! `holdfast topology`: declare, verify, rebalance and remove what is on the broker.

mod apply;
mod owner;
mod policies;
mod rebalance;
mod remove;
mod routes;
mod verify;

use anyhow::Result;
use clap::Subcommand;

use super::context::Context;
pub(super) use routes::wanted_routes;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Declare everything on the broker, and record its shape in the database
    ///
    /// Run again, it declares and binds what is missing, such as after a queue was lost, takes up moves
    /// of servers that were interrupted, and removes what former versions left. With the management API
    /// at hand it changes only what differs, and removes bindings that are too many; otherwise it binds
    /// each server again, which takes some milliseconds per server.
    ///
    /// It marks the vhost as this installation's, and refuses one that bears another's mark.
    ///
    /// With the management API it also sets the policy `holdfast`, which changes nothing and keeps off other
    /// policies of a priority below 1000, and exits with 3 if a policy changes what was declared all the
    /// same.
    Apply(apply::Apply),
    /// Check that everything is declared, and send a message through the delay ladder
    ///
    /// This includes the terminals' reply queues. With the management API at hand it compares the servers'
    /// bindings with the database, and arguments and policies over the queues and exchanges with what
    /// Holdfast relies on; otherwise it sends a probe to each server, which finds what is missing but not
    /// what is too many, and says that policies were not compared. The API is up to five seconds behind.
    /// Exits with 3 and names what is wrong.
    Verify,
    /// Move servers until the partitions are about equally busy
    ///
    /// A server weighs one, and one more for each live reservation. Servers move one after the other
    /// while everything runs: nothing is refused, and the order of each server's commands is kept.
    Rebalance(rebalance::Rebalance),
    /// Delete Holdfast's exchanges and queues from the vhost
    ///
    /// This includes the terminals' reply queues. It refuses if a queue holds messages or has
    /// consumers, unless forced. The database and the broker accounts stay as they are: `topology
    /// apply` declares everything again, and deadlines that passed meanwhile are settled late.
    Remove(remove::Remove),
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Apply(apply) => apply::run(context, &apply).await,
        Command::Verify => verify::run(context).await,
        Command::Rebalance(rebalance) => rebalance::run(context, &rebalance).await,
        Command::Remove(remove) => remove::run(context, &remove).await,
    }
}
