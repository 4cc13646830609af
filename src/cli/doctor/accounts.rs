//! Accounts of the broker: what they may do, and whether they are those of the database.

use anyhow::Result;
use tokio_postgres::Client;

use super::engines::Engines;
use super::finding::{Check, Finding, bounded, named};
use crate::broker::connection::Endpoint;
use crate::broker::management::Address;
use crate::broker::rights::{Fit, Rights, TerminalAccounts};
use crate::message::shape::Shape;
use crate::store::admin::conditions::list_worker_accounts;
use crate::store::admin::terminals::list_terminals;

const WORKERS: Check = Check::new(
    "accounts.workers",
    "permissions of the broker accounts that workers use: configure, write and read",
);
const TERMINALS: Check =
    Check::new("accounts.terminals", "terminals of the database and accounts of the broker");

pub(super) async fn check(engines: &Engines<'_>) -> Vec<Finding> {
    let both = [WORKERS, TERMINALS];
    let (Some(database), Some(endpoint), Some(shape)) =
        (&engines.database, engines.endpoint, engines.shape())
    else {
        return both.map(|check| check.needs("the recorded topology")).to_vec();
    };
    let Some(address) = engines.overview.as_ref().and(engines.management) else {
        return both.map(|check| check.needs("the management API")).to_vec();
    };
    vec![
        bounded(WORKERS, workers(database, address, endpoint, shape)).await,
        bounded(TERMINALS, terminals(database, address, endpoint)).await,
    ]
}

async fn workers(
    database: &Client,
    address: &Address,
    endpoint: &Endpoint,
    shape: Shape,
) -> Result<Finding> {
    let rights = Rights::read(address, endpoint).await?;
    let (mut red, mut yellow, mut green) = (Vec::new(), Vec::new(), Vec::new());
    for account in list_worker_accounts(database).await? {
        match rights.of_worker(&account, shape) {
            Fit::Exact => green.push(account),
            Fit::Other => yellow.push(format!("{account} may do more than it needs")),
            Fit::Unreadable(pattern) => {
                yellow.push(format!("{account}: {pattern:?} cannot be read"))
            }
            Fit::Lacks(rights) => red.push(format!("{account} lacks {}", named(&rights))),
            Fit::Absent => red.push(format!("{account} has no rights on this vhost, or is gone")),
        }
    }
    let remedy = "give workers an account of `holdfast account add broker-worker`; one that is used no more goes \
                  with `holdfast account remove broker-worker`";
    Ok(match (red.is_empty(), yellow.is_empty()) {
        (false, _) => WORKERS.red(named(&red), remedy),
        (true, false) => WORKERS.yellow(named(&yellow), remedy),
        (true, true) if green.is_empty() => WORKERS.green("no worker has run yet"),
        (true, true) => WORKERS.green(format!("{}: as they need", named(&green))),
    })
}

async fn terminals(database: &Client, address: &Address, endpoint: &Endpoint) -> Result<Finding> {
    let listed = list_terminals(database, None).await?;
    let terminals: Vec<String> = listed.into_iter().map(|terminal| terminal.id).collect();
    let rights = Rights::read(address, endpoint).await?;
    let TerminalAccounts { absent, different, strangers } = rights.of_terminals(&terminals);
    let text = |items: &[String], what: &str| -> Vec<String> {
        items.iter().map(|id| format!("{id} {what}")).collect()
    };
    let wrong = [
        text(&absent, "has no account on this vhost"),
        text(&different, "has other rights than a terminal's"),
    ]
    .concat();
    let strange = text(&strangers, "is a terminal's account, and no terminal of the database");
    Ok(match (wrong.is_empty(), strange.is_empty()) {
        (true, true) => TERMINALS.green(format!("{} terminals, each with its account", terminals.len())),
        (true, false) => TERMINALS.yellow(
            named(&strange),
            "if the database was restored, add it again with `holdfast terminal add`; otherwise delete the \
             account with `rabbitmqctl delete_user`",
        ),
        (false, _) => TERMINALS.red(
            named(&[wrong, strange].concat()),
            "run `holdfast terminal add` again for a terminal without an account; for other rights, delete the \
             account (`rabbitmqctl delete_user`) and add it again",
        ),
    })
}
