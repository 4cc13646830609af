//! Whether accounts have the rights that their work needs, by the permissions of the vhost. Reading these takes
//! an administrator.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use regex::Regex;
use serde::Deserialize;

use super::accounts::{Grants, Purpose, terminal_grants};
use super::connection::Endpoint;
use super::delay::{DUE_EXCHANGE, level_name};
use super::management::{Address, Management};
use super::topology::{
    BILLING_EXCHANGE, DEAD, EVENTS_EXCHANGE, QUERIES_QUEUE, REPLIES_EXCHANGE, partition_queue,
};
use crate::message::shape::Shape;

#[derive(Deserialize)]
struct Granted {
    user: String,
    #[serde(flatten)]
    grants: Grants,
}

/// The permissions of all accounts of a vhost.
pub struct Rights(BTreeMap<String, Grants>);

/// How an account's rights compare with what its work needs.
#[derive(Debug, PartialEq, Eq)]
pub enum Fit {
    /// As `holdfast account add` gives them.
    Exact,
    /// Enough for the work, and other than those.
    Other,
    /// Not enough: rights and what they are about, such as `write on reservation.due.v1`.
    Lacks(Vec<String>),
    /// None on this vhost.
    Absent,
    /// A pattern that this program cannot read.
    Unreadable(String),
}

/// How the broker's accounts differ from the terminals of the database.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TerminalAccounts {
    /// Terminals without rights on the vhost.
    pub absent: Vec<String>,
    /// Terminals with other rights than `holdfast terminal add` gives.
    pub different: Vec<String>,
    /// Accounts with the rights of a terminal that the database does not have.
    pub strangers: Vec<String>,
}

impl Rights {
    /// Reads them. Uses the AMQP URL's account, unless the `management` address has one.
    pub async fn read(management: &Address, broker: &Endpoint) -> Result<Self> {
        let management = Management::new(management, (broker.account(), broker.password()))?;
        let path = ["vhosts", broker.vhost(), "permissions"];
        let all: Vec<Granted> = management.read(&path).await.context("listing permissions")?;
        Ok(Self(all.into_iter().map(|granted| (granted.user, granted.grants)).collect()))
    }

    /// Judges a workers' account.
    pub fn of_worker(&self, account: &str, shape: Shape) -> Fit {
        let Some(grants) = self.0.get(account) else { return Fit::Absent };
        if *grants == Purpose::Worker.grants() {
            return Fit::Exact;
        }
        match lacks(grants, shape) {
            Err(pattern) => Fit::Unreadable(pattern),
            Ok(lacks) if lacks.is_empty() => Fit::Other,
            Ok(lacks) => Fit::Lacks(lacks),
        }
    }

    /// Compares the accounts with the database's terminals.
    pub fn of_terminals(&self, terminals: &[String]) -> TerminalAccounts {
        let mut found = TerminalAccounts::default();
        for terminal in terminals {
            match self.0.get(terminal) {
                None => found.absent.push(terminal.clone()),
                Some(grants) if *grants == terminal_grants(terminal) => {}
                Some(_) => found.different.push(terminal.clone()),
            }
        }
        let known: BTreeSet<&String> = terminals.iter().collect();
        let strangers = self.0.iter().filter(|(account, grants)| {
            !known.contains(account) && **grants == terminal_grants(account)
        });
        found.strangers = strangers.map(|(account, _)| account.clone()).collect();
        found
    }
}

/// The first of each kind of right that is missing. The error is a pattern that cannot be read.
fn lacks(grants: &Grants, shape: Shape) -> Result<Vec<String>, String> {
    let levels = (0..shape.delay_levels).map(level_name);
    let exchanges = [REPLIES_EXCHANGE, EVENTS_EXCHANGE, BILLING_EXCHANGE, DEAD, DUE_EXCHANGE]
        .map(str::to_owned);
    let queues = (0..shape.partitions).map(partition_queue).chain([QUERIES_QUEUE.to_owned()]);
    let written: Vec<String> = exchanges.into_iter().chain(levels).collect();
    let mut lacks = Vec::new();
    for (right, pattern, names) in
        [("write", &grants.write, written), ("read", &grants.read, queues.collect())]
    {
        // An empty pattern is what `^$` is.
        let readable = Regex::new(if pattern.is_empty() { "^$" } else { pattern });
        let readable = readable.map_err(|_| pattern.clone())?;
        let lost = names.iter().filter(|name| !readable.is_match(name));
        lacks.extend(lost.map(|name| format!("{right} on {name}")));
    }
    Ok(lacks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(configure: &str, write: &str, read: &str) -> Grants {
        let [configure, write, read] = [configure, write, read].map(str::to_owned);
        Grants { configure, write, read }
    }

    #[test]
    fn what_a_worker_lacks_is_named() {
        let shape = Shape { partitions: 2, delay_levels: 3 };
        let of = |grants| Rights([("w".to_owned(), grants)].into()).of_worker("w", shape);
        assert_eq!(of(Purpose::Worker.grants()), Fit::Exact);
        assert_eq!(of(grants(".*", ".*", ".*")), Fit::Other);
        assert_eq!(of(grants("", "(", "")), Fit::Unreadable("(".to_owned()));
        let without_due = r"^reservation\.(replies|events|dead|delay)\.|^billing";
        let lacking = of(grants("^$", without_due, r"^reservation\.commands"));
        let lacks = ["write on reservation.due.v1", "read on reservation.queries.v2"];
        assert_eq!(lacking, Fit::Lacks(lacks.map(str::to_owned).to_vec()));
        assert_eq!(Rights(BTreeMap::new()).of_worker("w", shape), Fit::Absent);
    }

    #[test]
    fn terminals_are_compared_both_ways() {
        let rights = Rights(
            [
                ("ann-1".to_owned(), terminal_grants("ann-1")),
                ("bob-1".to_owned(), grants(".*", ".*", ".*")),
                ("gone-1".to_owned(), terminal_grants("gone-1")),
                ("admin".to_owned(), grants(".*", ".*", ".*")),
            ]
            .into(),
        );
        let terminals = ["ann-1", "bob-1", "new-1"].map(str::to_owned);
        let found = rights.of_terminals(&terminals);
        assert_eq!(found.absent, ["new-1"]);
        assert_eq!(found.different, ["bob-1"]);
        assert_eq!(found.strangers, ["gone-1"]);
    }
}
