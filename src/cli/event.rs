//! `holdfast event`: events once more, with the same ids and bytes.

use anyhow::{Context as _, Result};
use clap::{ArgGroup, Args, Subcommand};
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::context::Context;
use super::exit::{CliError, refuse};
use super::output::{hint, time};
use super::when::When;
use super::why::WhyUnlessDry;
use crate::broker::lookup::Lookup;
use crate::broker::publisher::{Fate, Outgoing, Publisher};
use crate::broker::topology::{BILLING_EXCHANGE, EVENTS_EXCHANGE};
use crate::crash_point;
use crate::domain::interval::Timestamp;
use crate::store::admin::audit;
use crate::store::admin::events::{Position, Selection, before, list_events, load_position};
use crate::worker::messages::copy;

/// Events per page and confirm: about a megabyte.
const PAGE: i64 = 1_000;

#[derive(Subcommand)]
pub(super) enum Command {
    /// Publish events once more, in the order in which they were decided
    ///
    /// An event keeps its id, time and bytes, so a reader that drops known ids counts nothing twice. Events are
    /// kept for as long as their reservation, 400 days unless the policy says otherwise.
    Replay(Replay),
}

#[derive(Args)]
#[command(group = ArgGroup::new("to_where").required(true).args(["queue", "exchange"]))]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["from", "reservation", "ids"]))]
#[command(after_help = "\
Examples: a day's bills to the billing system, and all of a reservation to a queue of one's own
  holdfast event replay --from 2031-05-01T00:00:00Z --to 2031-05-02T00:00:00Z \\
      --exchange billing --why 'biller lost a day'
  holdfast event replay --reservation 0190a5c6-7c3e-7b60-b6a5-0d0c7f8d6f2e --queue mine --why dispute")]
pub(super) struct Replay {
    /// Ids of events; of a bill also its billing entry's
    #[arg(value_name = "EVENT")]
    ids: Vec<Uuid>,
    /// Only those of this reservation
    #[arg(long, value_name = "ID", conflicts_with = "ids")]
    reservation: Option<Uuid>,
    /// First instant, such as 2031-05-01T00:00:00Z or -1d
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: Option<When>,
    /// First instant after it [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<When>,
    /// Only events of this type, such as reservation.confirmed; may be repeated
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// To this queue and no other; it must exist
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// To every reader of the events, or bills to the billing system
    #[arg(long, value_name = "events|billing")]
    exchange: Option<Exchange>,
    /// Only those behind this event: go on where another replay ended
    #[arg(long, value_name = "EVENT")]
    after: Option<Uuid>,
    /// Count them, and publish nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    why: WhyUnlessDry,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Exchange {
    /// reservation.events.v1
    Events,
    /// billing.entries.v1: charges and credits
    Billing,
}

/// Where events go.
enum Target {
    Queue(String),
    Exchange(Exchange),
}

impl Target {
    fn name(&self) -> String {
        match self {
            Target::Queue(queue) => format!("queue {queue}"),
            Target::Exchange(exchange) => format!("exchange {}", exchange.name()),
        }
    }

    fn message(&self, event: Outgoing) -> Outgoing {
        match self {
            Target::Queue(queue) => {
                Outgoing { exchange: String::new(), routing_key: queue.clone(), ..event }
            }
            Target::Exchange(exchange) => {
                Outgoing { exchange: exchange.name().to_owned(), ..event }
            }
        }
    }

    /// Nobody needs to read the events. A bill must be somewhere.
    fn has_taken(&self, fate: Fate) -> bool {
        match self {
            Target::Exchange(Exchange::Events) => fate != Fate::Refused,
            _ => fate == Fate::Routed,
        }
    }
}

impl Exchange {
    fn name(self) -> &'static str {
        match self {
            Exchange::Events => EVENTS_EXCHANGE,
            Exchange::Billing => BILLING_EXCHANGE,
        }
    }
}

impl Command {
    pub(super) fn needs(&self) -> &'static [&'static str] {
        use super::config::{AMQP_URL, DATABASE_URL};
        let Command::Replay(replay) = self;
        if replay.dry_run { &[DATABASE_URL] } else { &[DATABASE_URL, AMQP_URL] }
    }
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    let Command::Replay(replay) = command;
    let selection = replay.selection()?;
    let target = match (&replay.queue, replay.exchange) {
        (Some(queue), _) => Target::Queue(queue.clone()),
        (None, Some(exchange)) => Target::Exchange(exchange),
        (None, None) => unreachable!("the group is required"),
    };
    let database = context.database().await?;
    let start = start(&database, &selection, replay.after).await?;
    if replay.dry_run {
        let count = count(&database, &selection, start).await?;
        let value = json!({ "dry_run": true, "events": count, "to": target.name() });
        return context
            .output
            .print(&value, || format!("would publish {count} events to {}", target.name()));
    }
    publish(context, &database, &replay, &selection, &target, start).await
}

impl Replay {
    fn selection(&self) -> Result<Selection> {
        let now = When::now();
        let instant = |when: Option<When>, flag: &str, otherwise: Timestamp| match when {
            Some(when) => {
                when.resolve(now).with_context(|| format!("{flag} is beyond the calendar"))
            }
            None => Ok(otherwise),
        };
        let from = instant(self.from, "--from", Timestamp::UNIX_EPOCH)?;
        let to = instant(self.to, "--to", now)?;
        if to <= from {
            return refuse("--to is not after --from");
        }
        let all = self.reservation.is_none() && self.ids.is_empty();
        Ok(Selection {
            from,
            to,
            types: self.types.clone(),
            bills: self.exchange == Some(Exchange::Billing),
            of: (!all).then(|| (self.reservation, self.ids.clone())),
        })
    }
}

async fn start(database: &Client, selection: &Selection, after: Option<Uuid>) -> Result<Position> {
    let Some(after) = after else { return Ok(before(selection)) };
    match load_position(database, after).await? {
        Some(position) => Ok(position.max(before(selection))),
        None => refuse(format!("--after {after}: there is no such event, or it is no longer kept")),
    }
}

async fn count(database: &Client, selection: &Selection, start: Position) -> Result<usize> {
    let (mut position, mut count) = (start, 0);
    loop {
        let page = list_events(database, selection, position, PAGE).await?;
        count += page.len();
        let Some((last, _)) = page.last() else { return Ok(count) };
        position = *last;
    }
}

/// Page by page: an interrupted replay goes on behind the last page that was confirmed.
async fn publish(
    context: &Context,
    database: &Client,
    replay: &Replay,
    selection: &Selection,
    target: &Target,
    start: Position,
) -> Result<()> {
    let connection = context.own_broker(database, "event replay").await?;
    if let Target::Queue(queue) = target {
        let mut lookup = Lookup::open(&connection).await?;
        if lookup.queue(queue).await?.is_none() {
            return refuse(format!("queue {queue}: does not exist; declare it first"));
        }
        lookup.close().await?;
    }
    replay.why.name(database).await?;
    let what = json!({
        "from": time(selection.from), "to": time(selection.to), "types": selection.types,
        "reservation": replay.reservation, "events": replay.ids, "after": replay.after,
    });
    audit::write(database, "events", &target.name(), "replay", &what).await?;
    let mut publisher = Publisher::open(&connection).await?;
    let (mut position, mut done, mut last) = (start, 0, replay.after);
    loop {
        let page = list_events(database, selection, position, PAGE).await?;
        let Some((end, _)) = page.last() else { break };
        let messages: Vec<Outgoing> =
            page.iter().map(|(_, event)| target.message(copy(event))).collect();
        let fates = publisher.publish(&messages).await.with_context(|| go_on(done, last))?;
        crash_point!("events-confirmed");
        if let Some(place) = fates.iter().position(|fate| !target.has_taken(*fate)) {
            let before = place.checked_sub(1).map(|place| page[place].1.id).or(last);
            let why = match fates[place] {
                Fate::Refused => "refused it; it is full, perhaps",
                _ => "did not take it: no queue is bound",
            };
            return Err(CliError::CheckFailed(format!(
                "event {}: {} {why}. {}",
                page[place].1.id,
                target.name(),
                go_on(done + place, before)
            ))
            .into());
        }
        position = *end;
        done += page.len();
        last = Some(end.1);
        hint!("published {done} events, the last is {}", end.1);
    }
    publisher.close().await?;
    connection.close().await?;
    let value = json!({ "events": done, "to": target.name(), "last": last });
    context.output.print(&value, || format!("published {done} events to {}", target.name()))
}

fn go_on(done: usize, last: Option<Uuid>) -> String {
    match last {
        Some(last) => format!("published {done} events; go on with --after {last}"),
        None => format!("published {done} events; run it again"),
    }
}
