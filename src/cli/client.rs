//! `holdfast client`: act as a terminal.

mod repeat;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use tokio::time::timeout_at;
use uuid::Uuid;

use super::context::Context;
use super::exit::CliError;
use super::output::{fields, time};
use super::view;
use super::when::When;
use crate::client::{Command as Sent, Reply, TerminalClient};
use crate::domain::id::ServerId;
use crate::domain::interval::Timestamp;
use crate::domain::trace::{Trace, TraceParent};
use crate::message::answer::Answer;
use crate::message::envelope::MESSAGE_ID_LEN_MAX;
use crate::message::query::PAGE_MAX;
use repeat::Repeat;

const AFTER_HELP: &str = "\
The AMQP URL is the terminal's own, as `holdfast terminal add` printed it.

Examples:
  holdfast client request --server gpu-1 --start 2031-05-01T18:00:00Z --end 2031-05-01T20:00:00Z
  holdfast client request --server gpu-1 --start +2d --end +3d
  holdfast client reconfirm --server gpu-1 0196a7c0-5b1e-7cc0-8a52-3f6c1e0d9b11

Exits with 4 if the answer is a refusal and with 5 if there is none in time. A command with the
same --message-id is decided once. If its answer is lost, the command line that gets it is printed:
the same message id, and times that no longer depend on the clock.";

#[derive(Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(super) enum Command {
    /// Reserve a server
    ///
    /// Times are RFC 3339 with an offset, or relative to this machine's clock (now, +90s, +30m, +2h,
    /// +3d), rounded up to the next full minute.
    Request {
        /// The server's id
        #[arg(long, value_name = "ID")]
        server: ServerId,
        #[command(flatten)]
        window: Window,
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
    /// List the user's reservations, newest first
    List {
        /// Most reservations on the page
        #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(i64).range(1..=PAGE_MAX))]
        limit: Option<i64>,
        /// Continue behind this reservation, as the page before says
        #[arg(long, value_name = "ID")]
        after: Option<Uuid>,
        #[command(flatten)]
        exchange: Exchange,
    },
    /// Show how many places of a server are free, over at most 31 days, and what they cost
    ///
    /// Times are as with `request`, but not rounded.
    Availability {
        /// The server's id
        #[arg(long, value_name = "ID")]
        server: ServerId,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        exchange: Exchange,
    },
}

/// From when until when.
#[derive(Args)]
pub(super) struct Window {
    /// First instant, such as 2031-05-01T18:00:00Z or +2h
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    start: When,
    /// First instant after it, such as 2031-05-01T20:00:00Z or +4h (also from now)
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    end: When,
}

impl Window {
    /// `resolve` takes a time as typed and the current one.
    fn resolve(
        self,
        resolve: fn(When, Timestamp) -> Option<Timestamp>,
    ) -> Result<(Timestamp, Timestamp)> {
        let now = When::now();
        let start = resolve(self.start, now).context("the start is beyond the calendar")?;
        let end = resolve(self.end, now).context("the end is beyond the calendar")?;
        Ok((start, end))
    }
}

/// How a command is sent and its answer awaited.
#[derive(Args)]
pub(super) struct Exchange {
    /// Names the command, so that it can be sent again safely [default: a random UUID]
    #[arg(long, value_name = "ID", value_parser = message_id)]
    message_id: Option<String>,
    /// How long to wait for the answer
    #[arg(long, value_name = "SECONDS", default_value_t = 10,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// The trace that the command belongs to, by W3C, such as
    /// 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
    #[arg(long, value_name = "TRACE")]
    traceparent: Option<TraceParent>,
}

/// Refuses only what AMQP cannot carry; workers refuse the rest.
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
    let (sent, exchange, repeat) = command_to_send(command)?;
    let sent = sent.traced(exchange.traceparent.map(Trace::from));
    let mut client = TerminalClient::connect(context.config.broker()?).await?;
    let account = client.account().to_owned();
    client.listen().await.with_context(|| format!("reading the replies to terminal {account}"))?;
    // Until here a signal ends the process: nothing is sent yet.
    let stop = context.stop.drain();
    let answer = tokio::select! {
        biased;
        () = stop.cancelled() => Err(CliError::NoAnswer("interrupted".to_owned()).into()),
        answer = exchanged(&mut client, &sent, exchange.timeout) => answer,
    };
    let reply = answer.inspect_err(|error| repeat.advise(context, error))?;
    // Returns the other replies to the queue sooner than the end of the process does.
    if let Err(error) = client.close().await {
        tracing::debug!(%error, "closing the terminal's connection");
    }
    show(context, &reply)
}

/// Sends a command and waits for its answer.
async fn exchanged(client: &mut TerminalClient, sent: &Sent, seconds: u64) -> Result<Reply> {
    let id = &sent.message_id;
    let no_answer = || CliError::NoAnswer(format!("no answer to {id} within {seconds} s"));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
    timeout_at(deadline, client.send(sent)).await.map_err(|_| no_answer())??;
    let rest = deadline.saturating_duration_since(tokio::time::Instant::now());
    Ok(client.answer_to(id, rest).await?.ok_or_else(no_answer)?)
}

fn command_to_send(command: Command) -> Result<(Sent, Exchange, Repeat)> {
    Ok(match command {
        Command::Request { server, window, exchange } => {
            let (start, end) = window.resolve(When::resolve_to_minute)?;
            let sent = Sent::request(exchange.id(), server.as_str(), start, end);
            let (start, end) = (time(start), time(end));
            let repeat =
                Repeat::of(&sent, "request", &["--start", &start, "--end", &end], exchange.timeout);
            (sent, exchange, repeat)
        }
        Command::Reconfirm { server, reservation, exchange } => {
            let sent = Sent::reconfirm(exchange.id(), server.as_str(), reservation);
            let id = reservation.to_string();
            let repeat = Repeat::of(&sent, "reconfirm", &[&id], exchange.timeout);
            (sent, exchange, repeat)
        }
        Command::Withdraw { server, reservation, exchange } => {
            let sent = Sent::withdraw(exchange.id(), server.as_str(), reservation);
            let id = reservation.to_string();
            let repeat = Repeat::of(&sent, "withdraw", &[&id], exchange.timeout);
            (sent, exchange, repeat)
        }
        Command::Show { reservation, exchange } => {
            (Sent::show(exchange.id(), reservation), exchange, Repeat::query())
        }
        Command::List { limit, after, exchange } => {
            (Sent::list(exchange.id(), limit, after), exchange, Repeat::query())
        }
        Command::Availability { server, window, exchange } => {
            let (start, end) = window.resolve(When::resolve)?;
            let sent = Sent::availability(exchange.id(), server.as_str(), start, end);
            (sent, exchange, Repeat::query())
        }
    })
}

/// Prints an answer; JSON unchanged.
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
                quota.iter().map(|receipt| format!("\n  {}", view::receipt(receipt))).collect();
            Err(CliError::Refused(format!("{code}{field}{reason}: {message}{receipts}")).into())
        }
        _ if context.output.json => Ok(()),
        Answer::Accepted { reservation, quota, .. } => {
            let mut lines = view::reservation(&reservation);
            lines.extend(quota.iter().map(|receipt| ("quota", view::receipt(receipt))));
            context.output.line(&fields(&lines))
        }
        Answer::Reconfirmed { reservation, .. }
        | Answer::Withdrawn { reservation, .. }
        | Answer::Shown { reservation, .. } => {
            context.output.line(&fields(&view::reservation(&reservation)))
        }
        Answer::Listed { reservations, next, .. } => {
            context.output.line(&view::page(&reservations, next))
        }
        Answer::Availability { server, end_at, free, .. } => {
            context.output.line(&view::availability(&server, end_at, &free))
        }
    }
}
