//! What the database says when everything is over.

use std::collections::HashMap;

use anyhow::{Context as _, Result};
use holdfast::domain::interval::Instant;
use tokio_postgres::{Client, Row, SimpleQueryMessage};
use uuid::Uuid;

const INVARIANTS: &str = include_str!("../../schema/invariants.sql");

pub struct Reservation {
    pub terminal: String,
    pub message_id: String,
    pub state: String,
    pub cancel_reason: Option<String>,
    pub deadline_at: Instant,
}

/// A change that ended a reservation, or took a confirmed one back.
pub struct Ending {
    pub reservation: Uuid,
    pub state: String,
    pub reason: Option<String>,
    /// Of a settlement, from the deadline.
    pub lateness_ms: Option<i64>,
}

/// A command that was decided.
pub struct Decided {
    pub answer: String,
    /// Its place in the decision order.
    pub seq: i64,
    pub server: Option<String>,
}

pub struct Entry {
    pub id: Uuid,
    pub kind: String,
    pub reservation: Uuid,
    pub amount_minor: i64,
    pub currency: String,
}

pub struct Facts {
    pub reservations: HashMap<Uuid, Reservation>,
    pub endings: Vec<Ending>,
    /// By terminal and message id.
    pub decided: HashMap<(String, String), Decided>,
    pub entries: Vec<Entry>,
    /// What violates `schema/invariants.sql`.
    pub violations: Vec<String>,
    /// Queries in it.
    pub invariants: usize,
    pub outbox: i64,
}

impl Facts {
    pub async fn load(client: &Client) -> Result<Self> {
        let (violations, invariants) = violations(client).await?;
        let outbox = client.query_one("select count(*) from outbox", &[]).await?.get(0);
        let reservations = "select id, terminal_id, message_id, state, cancel_reason, deadline_at
                            from reservations";
        let endings = "select reservation_id, to_state, reason, lateness_ms from history
                       where to_state in ('confirmed', 'cancelled')";
        let decided = "select terminal_id, message_id, answer, seq, server_id from requests";
        let entries =
            "select id, kind, reservation_id, amount_minor, currency from billing_entries";
        Ok(Self {
            reservations: all(client, reservations, reservation).await?.into_iter().collect(),
            endings: all(client, endings, ending).await?,
            decided: all(client, decided, decision).await?.into_iter().collect(),
            entries: all(client, entries, entry).await?,
            violations,
            invariants,
            outbox,
        })
    }
}

async fn all<T>(client: &Client, query: &str, read: fn(&Row) -> T) -> Result<Vec<T>> {
    let rows = client.query(query, &[]).await.with_context(|| query.to_owned())?;
    Ok(rows.iter().map(read).collect())
}

fn reservation(row: &Row) -> (Uuid, Reservation) {
    let reservation = Reservation {
        terminal: row.get(1),
        message_id: row.get(2),
        state: row.get(3),
        cancel_reason: row.get(4),
        deadline_at: row.get(5),
    };
    (row.get(0), reservation)
}

fn ending(row: &Row) -> Ending {
    Ending {
        reservation: row.get(0),
        state: row.get(1),
        reason: row.get(2),
        lateness_ms: row.get(3),
    }
}

fn decision(row: &Row) -> ((String, String), Decided) {
    let decided = Decided { answer: row.get(2), seq: row.get(3), server: row.get(4) };
    ((row.get(0), row.get(1)), decided)
}

fn entry(row: &Row) -> Entry {
    Entry {
        id: row.get(0),
        kind: row.get(1),
        reservation: row.get(2),
        amount_minor: row.get(3),
        currency: row.get(4),
    }
}

/// Whatever violates the invariants, and how many were looked at.
async fn violations(client: &Client) -> Result<(Vec<String>, usize)> {
    let messages = client.simple_query(INVARIANTS).await.context("schema/invariants.sql")?;
    let (mut found, mut queries) = (Vec::new(), 0);
    for message in messages {
        match message {
            SimpleQueryMessage::Row(row) => {
                let text = |column| row.get(column).unwrap_or("?");
                found.push(format!("{}: {}", text(0), text(1)));
            }
            SimpleQueryMessage::CommandComplete(_) => queries += 1,
            _ => {}
        }
    }
    Ok((found, queries))
}
