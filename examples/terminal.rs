//! A terminal: reserves a server, reconfirms, and prints how to connect once that is confirmed.
//! It starts over after an error: a message sent again under the same id gets the same answer.
#![expect(clippy::disallowed_methods, reason = "a program reads its environment and exits")]
use std::{env, process::exit, time::Duration};

use anyhow::{Context, Error, Result, bail};
use chrono::{DateTime, Utc};
use holdfast::broker::connection::Endpoint;
use holdfast::client::{ClientError, Command, Replies, TerminalClient};
use holdfast::domain::trace::Trace;
use holdfast::message::answer::{Answer, Notice, ReservationView};
use tokio::time::{sleep, timeout};

const PAUSES: [u64; 5] = [1, 2, 4, 8, 16]; // seconds before it starts over; then it gives up
const PATIENCE: Duration = Duration::from_secs(30); // for the publisher confirm and the answer

/// Reserves a server, as the account in AMQP_URL.
#[derive(clap::Parser)]
struct Args {
    server: String,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    #[arg(long, help = "your own id for it", default_value_t = uuid::Uuid::new_v4().to_string())]
    order: String,
}

async fn ask(terminal: &mut TerminalClient, command: Command) -> Result<ReservationView> {
    let trace = env::var("TRACEPARENT").ok(); // of the program that started this one
    let command = command.traced(Trace::read(trace.as_deref(), None));
    timeout(PATIENCE, terminal.send(&command)).await??;
    let reply = terminal.answer_to(&command.message_id, PATIENCE).await?;
    let answer = reply.context("no answer in time")?.answer()?;
    let Answer::Refused { code, retry, retry_after_ms, message, .. } = answer else {
        return answer.reservation().cloned().context("an answer without a reservation");
    };
    if retry != "same_id" {
        eprintln!("{} refused, {code}: {message}", command.kind.as_str());
        exit(1);
    }
    sleep(Duration::from_millis(retry_after_ms.unwrap_or_default())).await;
    bail!(message) // nothing was decided: start over
}

async fn reserve(broker: &Endpoint, Args { server, start, end, order }: &Args) -> Result<()> {
    let mut terminal = TerminalClient::connect(broker).await?;
    let id = |word| format!("{order}.{word}");
    let mut now = ask(&mut terminal, Command::request(id("request"), server, *start, *end)).await?;
    if now.state == "held" {
        ask(&mut terminal, Command::reconfirm(id("reconfirm"), server, now.id)).await?;
    }
    now = ask(&mut terminal, Command::show(id("show"), now.id)).await?; // as it is by now, with its key
    terminal.close().await?; // puts notices back on the queue
    let mut replies = Replies::open(broker).await?;
    while now.settled_at.is_none() {
        let reply = replies.next(PATIENCE).await?; // until the deadline, there may be none
        let notice = reply.and_then(|reply| reply.notice().ok());
        let told = notice.iter().map(Notice::reservation).find(|told| told.id == now.id);
        now = told.filter(|told| told.settled_at.is_some()).cloned().unwrap_or(now);
    }
    let Some(connection) = now.connection else {
        eprintln!("cancelled: {}", now.cancel_reason.unwrap_or_default());
        exit(1);
    };
    println!("{}", connection.url);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = <Args as clap::Parser>::parse();
    let url = env::var("AMQP_URL").context("AMQP_URL is not set")?;
    let broker: Endpoint = url.parse().map_err(Error::msg)?;
    for pause in PAUSES {
        let Err(error) = reserve(&broker, &args).await else { return Ok(()) };
        if matches!(error.downcast_ref(), Some(ClientError::Unroutable(_))) {
            return Err(error); // there is no such server
        }
        eprintln!("starting over after {error:#}");
        sleep(Duration::from_secs(pause)).await;
    }
    bail!("gave up; to go on: --order {}", args.order)
}
