//! `holdfast client`: act as a terminal.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::Utc;
use clap::{Args, Subcommand};
use tokio::time::{Instant, timeout_at};
use uuid::Uuid;

use super::Context;
use super::exit::CliError;
use super::output::{fields, time};
use super::when::When;
use crate::client::{Command as Sent, Reply, TerminalClient};
use crate::domain::id::ServerId;
use crate::message::answer::{Answer, QuotaReceipt, ReservationView};
use crate::message::envelope::MESSAGE_ID_LEN_MAX;

/// What the help of the group says at its end.
const AFTER_HELP: &str = "\
The AMQP URL is the terminal's own, as `holdfast terminal add` printed it.

Examples:
  holdfast client request --server gpu-1 --start 2031-05-01T18:00:00Z --end 2031-05-01T20:00:00Z
  holdfast client request --server gpu-1 --start +2d --end +3d
  holdfast client reconfirm --server gpu-1 0196a7c0-5b1e-7cc0-8a52-3f6c1e0d9b11

Exits with 4 if the answer is a refusal and with 5 if there is none in time. A command with the
same --message-id is decided once: send it again to get its answer again.";

#[derive(Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(super) enum Command {
    /// Reserve a server
    ///
    /// Times are RFC 3339 with an offset, or relative to this machine's clock (+90s, +30m, +2h,
    /// +3d), rounded up to the next full minute.
    Request {
        /// The server's id
        #[arg(long, value_name = "ID")]
        server: ServerId,
        /// First instant, such as 2031-05-01T18:00:00Z or +2h
        #[arg(long, value_name = "TIME")]
        start: When,
        /// First instant after it, such as 2031-05-01T20:00:00Z or +4h (also from now)
        #[arg(long, value_name = "TIME")]
        end: When,
        #[command(flatten)]
        exchange: Exchange,
    },
    /// Reconfirm a reservation before its deadline
    Reconfirm {
        /// The reservation's id
        reservation: Uuid,
        /// The id of its server
        #[arg(long, value_name = "ID")]
        server: ServerId,
        #[command(flatten)]
        exchange: Exchange,
    },
    /// Give a reservation back before its deadline, free of charge
    Withdraw {
        /// The reservation's id
        reservation: Uuid,
        /// The id of its server
        #[arg(long, value_name = "ID")]
        server: ServerId,
        #[command(flatten)]
        exchange: Exchange,
    },
    /// Show a reservation
    Show {
        /// The reservation's id
        reservation: Uuid,
        #[command(flatten)]
        exchange: Exchange,
    },
}

/// How a command is sent and its answer awaited.
#[derive(Args)]
pub(super) struct Exchange {
    /// Names the command, so that it can be sent again safely; default: a random UUID
    #[arg(long, value_name = "ID", value_parser = message_id)]
    message_id: Option<String>,
    /// How long to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
}

/// Only what AMQP could not carry; what Holdfast refuses is its own to say.
fn message_id(text: &str) -> Result<String, String> {
    match (1..=MESSAGE_ID_LEN_MAX).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err(format!("1 to {MESSAGE_ID_LEN_MAX} characters")),
    }
}

impl Exchange {
    fn id(&self) -> String {
        self.message_id.clone().unwrap_or_else(|| Uuid::new_v4().to_string())
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let (sent, exchange) = command_to_send(command)?;
    let no_answer = || {
        CliError::NoAnswer(format!(
            "no answer to {id} within {} s; to ask again, repeat it with --message-id {id}",
            exchange.timeout,
            id = sent.message_id
        ))
    };
    let mut client = TerminalClient::connect(context.config.broker()?).await?;
    let account = client.account().to_owned();
    client.listen().await.with_context(|| format!("reading the replies to terminal {account}"))?;
    let deadline = Instant::now() + Duration::from_secs(exchange.timeout);
    timeout_at(deadline, client.send(&sent)).await.map_err(|_| no_answer())??;
    let rest = deadline.saturating_duration_since(Instant::now());
    let reply = client.answer_to(&sent.message_id, rest).await?;
    // What was passed over goes back to the queue in any case; closing only makes it sooner.
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "closing the terminal's connection");
    }
    show(context, &reply.ok_or_else(no_answer)?)
}

fn command_to_send(command: Command) -> Result<(Sent, Exchange)> {
    Ok(match command {
        Command::Request { server, start, end, exchange } => {
            let now = Utc::now();
            let start = start.resolve(now).context("the start is beyond the calendar")?;
            let end = end.resolve(now).context("the end is beyond the calendar")?;
            (Sent::request(exchange.id(), server.as_str(), start, end), exchange)
        }
        Command::Reconfirm { server, reservation, exchange } => {
            (Sent::reconfirm(exchange.id(), server.as_str(), reservation), exchange)
        }
        Command::Withdraw { server, reservation, exchange } => {
            (Sent::withdraw(exchange.id(), server.as_str(), reservation), exchange)
        }
        Command::Show { reservation, exchange } => {
            (Sent::show(exchange.id(), reservation), exchange)
        }
    })
}

/// Prints an answer; as JSON just as it came.
fn show(context: &Context, reply: &Reply) -> Result<()> {
    let answer = reply.answer().context("the answer cannot be read")?;
    if context.output.json {
        context.output.line(&String::from_utf8_lossy(&reply.body))?;
    }
    match answer {
        Answer::Refused { code, message, quota, field, reason, .. } => {
            let field = field.map(|field| format!(" ({field})")).unwrap_or_default();
            let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
            let receipts: String =
                quota.iter().map(|receipt| format!("\n  {}", receipt_text(receipt))).collect();
            Err(CliError::Refused(format!("{code}{field}{reason}: {message}{receipts}")).into())
        }
        _ if context.output.json => Ok(()),
        Answer::Accepted { reservation, quota, .. } => {
            let mut lines = view(&reservation);
            lines.extend(quota.iter().map(|receipt| ("quota", receipt_text(receipt))));
            context.output.line(&fields(&lines))
        }
        Answer::Reconfirmed { reservation, .. }
        | Answer::Withdrawn { reservation, .. }
        | Answer::Shown { reservation, .. } => context.output.line(&fields(&view(&reservation))),
    }
}

fn view(reservation: &ReservationView) -> Vec<(&'static str, String)> {
    let state = match &reservation.cancel_reason {
        Some(reason) => format!("{} ({reason})", reservation.state),
        None => reservation.state.clone(),
    };
    let price = &reservation.price;
    let mut lines = vec![
        ("reservation", reservation.id.to_string()),
        ("state", state),
        ("server", reservation.server.clone()),
        ("start", time(reservation.start_at)),
        ("end", time(reservation.end_at)),
        ("deadline", time(reservation.deadline_at)),
        ("price", format!("{} {} minor units", price.amount_minor, price.currency)),
    ];
    let optional = [
        ("reconfirmed", reservation.reconfirmed_at.map(time)),
        ("settled", reservation.settled_at.map(time)),
        ("connection", reservation.connection.as_ref().map(|connection| connection.url.clone())),
    ];
    lines.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    lines
}

fn receipt_text(receipt: &QuotaReceipt) -> String {
    format!(
        "{} s of {} s used, {} s requested, from {} until {}",
        receipt.used_seconds,
        receipt.limit_seconds,
        receipt.requested_seconds,
        time(receipt.period_start),
        time(receipt.period_end)
    )
}
