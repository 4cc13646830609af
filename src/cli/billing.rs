//! `holdfast billing`: print billing events and totals.

mod ledger;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::exit::CliError;
use super::output::hint;
use crate::broker::BrokerError;
use crate::broker::consumer::QueueConsumer;
use crate::broker::temporary;
use crate::broker::topology::{BILLING_PATTERNS, EVENTS_EXCHANGE};
use crate::domain::money::money;

const PREFETCH: u16 = 100;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Print billing events as they happen
    ///
    /// Reads copies from a queue of its own, and takes nothing from the billing system. Ends after
    /// --count events or on Ctrl-C. Exits with 5 if the next event does not come in time.
    Tail(Tail),
    /// Print what was billed in an interval, and totals per currency
    ///
    /// Reads the database, for comparison with the billing system. An entry carries the time of its
    /// decision and appears a moment later, so let the interval end at least a minute ago.
    Ledger(ledger::Ledger),
}

#[derive(Args)]
pub(super) struct Tail {
    /// Events to print; default: no end
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// How long to wait for each event; default: for ever
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Tail(tail) => run_tail(context, tail).await,
        Command::Ledger(ledger) => ledger::run(context, ledger).await,
    }
}

async fn run_tail(context: &Context, tail: Tail) -> Result<()> {
    let stop = context.stop.drain();
    let opening = async {
        let connection = context.broker("billing tail").await?;
        let queue = temporary::declare(&connection, EVENTS_EXCHANGE, &BILLING_PATTERNS).await?;
        let consumer = QueueConsumer::open(&connection, &queue, PREFETCH).await?;
        anyhow::Ok((connection, consumer))
    };
    let Some(opened) = stop.run_until_cancelled(opening).await else { return Ok(()) };
    let (_connection, mut consumer) = opened?;
    hint!("waiting for billing events");
    let mut printed = 0;
    while tail.count.is_none_or(|count| printed < count) {
        let Some(event) = next(&mut consumer, &tail, &stop).await? else {
            return Ok(());
        };
        let shown: Value = serde_json::from_slice(&event).context("an event cannot be read")?;
        match context.output.json {
            true => context.output.line(&String::from_utf8_lossy(&event))?,
            false => context.output.line(&line(&shown))?,
        }
        printed += 1;
    }
    Ok(())
}

/// The next event's body; `None` when stopped.
async fn next(
    consumer: &mut QueueConsumer,
    tail: &Tail,
    stop: &CancellationToken,
) -> Result<Option<Vec<u8>>> {
    let patience = async {
        match tail.timeout {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => Ok(None),
        event = take(consumer) => Ok(Some(event?)),
        () = patience => {
            Err(CliError::NoAnswer("no billing event in time".to_owned()).into())
        }
    }
}

async fn take(consumer: &mut QueueConsumer) -> Result<Vec<u8>, BrokerError> {
    let mut body = Vec::new();
    for delivery in consumer.collect(1).await? {
        consumer.acknowledger().ack_through(delivery.delivery_tag).await?;
        body = delivery.data;
    }
    Ok(body)
}

/// Tolerates missing and new fields: events only gain fields.
fn line(event: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    };
    let data = &event["data"];
    let kind = text(&event["type"]);
    format!(
        "{}  {}  {}  user {}  server {}  reservation {}",
        text(&event["time"]),
        kind.trim_start_matches("reservation."),
        amount(data),
        text(&data["user"]),
        text(&data["server"]),
        text(&event["subject"]),
    )
}

fn amount(data: &Value) -> String {
    match (data["amount_minor"].as_i64(), data["currency"].as_str()) {
        (Some(amount), Some(currency)) => money(amount.into(), currency),
        _ => "-".to_owned(),
    }
}
