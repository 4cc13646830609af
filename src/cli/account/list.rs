//! `holdfast account list`.

use std::collections::HashMap;

use anyhow::Result;
use serde::Serialize;
use tokio_postgres::Client;

use crate::broker::accounts::{Accounts, Listed, Purpose};
use crate::broker::management::ManagementError;
use crate::cli::context::Context;
use crate::cli::output::{Csv, hint, table, time};
use crate::domain::interval::Timestamp;
use crate::store::admin::{roles, terminals, worker_accounts};

/// An account on one engine; `None`: unknown.
#[derive(Debug, Serialize)]
struct Line {
    /// `worker`, `biller`, `monitor` or `terminal`.
    kind: &'static str,
    /// `database` or `broker`.
    engine: &'static str,
    account: String,
    added_at: Option<Timestamp>,
    /// When a worker last started with it.
    used_at: Option<Timestamp>,
    connections: Option<i64>,
    /// `valid`, `overlap`, `retired` or `missing`.
    state: &'static str,
}

pub(super) async fn run(context: &Context, csv: Csv) -> Result<()> {
    let database = context.database().await?;
    let mut lines = of_database(&database).await?;
    lines.extend(of_broker(context, &database).await?);
    mark_overlaps(&mut lines);
    lines.sort_by(|a, b| (a.kind, a.engine, &a.account).cmp(&(b.kind, b.engine, &b.account)));
    let header = ["kind", "engine", "account", "added_at", "used_at", "connections", "state"];
    context.output.list(csv, &header, &lines, || text(&lines))
}

async fn of_database(database: &Client) -> Result<Vec<Line>> {
    let line = |role: roles::Role| Line {
        kind: match role.kind.as_str() {
            "billing" => "biller",
            "monitor" => "monitor",
            "gate" => "gate",
            _ => "worker",
        },
        engine: "database",
        account: role.name,
        added_at: Some(role.created_at),
        used_at: None,
        connections: Some(role.sessions),
        state: if role.exists { "valid" } else { "missing" },
    };
    Ok(roles::list(database).await?.into_iter().map(line).collect())
}

/// What the database has recorded, and what the broker has, if it can be asked.
async fn of_broker(context: &Context, database: &Client) -> Result<Vec<Line>> {
    let mut found = on_broker(context).await?;
    let asked = found.is_some();
    let mut take = |account: &str| found.as_mut().and_then(|found| found.remove(account));
    let mut lines = Vec::new();
    for used in worker_accounts::list(database).await? {
        let listed = take(&used.name);
        lines.push(Line {
            added_at: Some(used.added_at),
            used_at: Some(used.used_at),
            state: match (used.retired_at, &listed) {
                (Some(_), _) => "retired",
                (None, None) if asked => "missing",
                _ => "valid",
            },
            ..line("worker", used.name, listed)
        });
    }
    for terminal in terminals::list_terminals(database, None).await? {
        let listed = take(&terminal.id);
        lines.push(Line {
            added_at: Some(terminal.created_at),
            state: if asked && listed.is_none() { "missing" } else { "valid" },
            ..line("terminal", terminal.id, listed)
        });
    }
    for (account, listed) in found.unwrap_or_default() {
        let kind = match listed.purpose {
            Some(Purpose::Worker) => "worker",
            Some(Purpose::Billing) => "biller",
            Some(Purpose::Monitor) => "monitor",
            // A terminal that the database does not know.
            None => "terminal",
        };
        lines.push(line(kind, account, Some(listed)));
    }
    Ok(lines)
}

async fn on_broker(context: &Context) -> Result<Option<HashMap<String, Listed>>> {
    let (Ok(management), Ok(broker)) = (context.config.management(), context.config.broker())
    else {
        hint!("set AMQP_URL and RABBITMQ_MANAGEMENT_URL to see all accounts of the broker");
        return Ok(None);
    };
    let listed = match Accounts::new(management, broker)?.list().await {
        Ok(listed) => listed,
        // A monitor may not list accounts.
        Err(error) if is_refused(&error) => {
            hint!("accounts of the broker are not seen: {error:#}");
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    Ok(Some(listed.into_iter().map(|listed| (listed.account.clone(), listed)).collect()))
}

fn is_refused(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<ManagementError>().is_some_and(ManagementError::is_forbidden)
    })
}

fn line(kind: &'static str, account: String, listed: Option<Listed>) -> Line {
    Line {
        kind,
        engine: "broker",
        account,
        added_at: None,
        used_at: None,
        connections: listed.map(|listed| i64::try_from(listed.connections).unwrap_or(i64::MAX)),
        state: "valid",
    }
}

/// Several valid accounts of a kind on one engine. Terminals have one each.
fn mark_overlaps(lines: &mut [Line]) {
    let mut counts: HashMap<(&str, &str), usize> = HashMap::new();
    for line in lines.iter().filter(|line| line.state == "valid" && line.kind != "terminal") {
        *counts.entry((line.kind, line.engine)).or_default() += 1;
    }
    for line in lines.iter_mut().filter(|line| line.state == "valid") {
        if counts.get(&(line.kind, line.engine)).is_some_and(|count| *count > 1) {
            line.state = "overlap";
        }
    }
}

fn text(lines: &[Line]) -> String {
    let shown = |at: Option<Timestamp>| at.map_or("-".to_owned(), time);
    let row = |line: &Line| {
        let connections = line.connections.map_or("-".to_owned(), |count| count.to_string());
        vec![
            line.kind.to_owned(),
            line.engine.to_owned(),
            line.account.clone(),
            shown(line.added_at),
            shown(line.used_at),
            connections,
            line.state.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
    table(&["KIND", "ENGINE", "ACCOUNT", "ADDED", "LAST START", "CONNECTIONS", "STATE"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_accounts_of_a_kind_overlap() {
        let of =
            |kind, account: &str, state| Line { state, ..line(kind, account.to_owned(), None) };
        let mut lines = [
            of("worker", "a_1", "valid"),
            of("worker", "a_2", "valid"),
            of("worker", "a_0", "retired"),
            of("monitor", "monitor_a", "valid"),
            of("terminal", "t-1", "valid"),
            of("terminal", "t-2", "valid"),
        ];
        mark_overlaps(&mut lines);
        let states: Vec<&str> = lines.iter().map(|line| line.state).collect();
        assert_eq!(states, ["overlap", "overlap", "retired", "valid", "valid", "valid"]);
    }
}
