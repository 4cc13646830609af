//! `holdfast reservation`.

mod access;
mod list;
mod show;
mod words;

use anyhow::Result;
use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::context::Context;
use super::exit::CliError;
use super::output::{fields, table, time};
use crate::domain::input::Cancellation;
use crate::domain::money::money;
use crate::domain::outcome::Cancelled;
use crate::domain::reservation::Reservation;
use crate::engine::cancel;
use crate::message::answer::ReservationView;
use crate::store::admin::reservations::{HistoryLine, load_history};
use crate::store::pool;
use words::{note, operator, unknown, why};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Show a reservation: all that is stored of it, and what was billed
    Show {
        /// The reservation's id
        id: Uuid,
    },
    /// List reservations, by start
    ///
    /// A reservation must pass all filters. If there are more than --limit, the cursor for --after is
    /// printed: the id of the last one listed.
    List(list::List),
    /// Show what happened to a reservation: when, by whom or what, why, and how late
    History {
        /// The reservation's id
        id: Uuid,
    },
    /// Cancel a live reservation, whatever its state; one that was billed is credited in full
    ///
    /// Its terminal gets a notice, billing gets the credit, and the time is free again. This cannot be
    /// undone. The history names the --operator.
    Cancel {
        /// The reservation's id
        id: Uuid,
        /// Why; goes into the history, the notice and the credit
        #[arg(long, value_name = "TEXT", value_parser = note)]
        reason: String,
    },
    /// The access key that a streaming server's gate lets a confirmed reservation in with
    #[command(subcommand)]
    Access(access::Command),
}

pub(super) async fn run(context: &Context, command: Command) -> Result<()> {
    match command {
        Command::Show { id } => show::run(context, id).await,
        Command::List(list) => list::run(context, list).await,
        Command::History { id } => run_history(context, id).await,
        Command::Cancel { id, reason } => {
            let operator = operator(context)?;
            run_cancel(context, Cancellation { reservation: id, operator, note: reason }).await
        }
        Command::Access(command) => access::run(context, command).await,
    }
}

async fn run_cancel(context: &Context, request: Cancellation) -> Result<()> {
    let settings = pool::settings(context.config.database()?);
    let Cancelled { reservation, credited } =
        cancel(&pool::open(settings, 1), request).await?.map_err(|refusal| {
            CliError::Refused(format!("{}: {}", refusal.code, refusal.code.meaning()))
        })?;
    let view = ReservationView::new(&reservation, None);
    context.output.print(&json!({ "reservation": view, "credited": credited }), || {
        let price = money(reservation.price_minor.into(), &reservation.currency);
        match credited {
            true => format!("cancelled {}, and credited its charge of {price}", reservation.id),
            false => format!("cancelled {}; nothing had been billed", reservation.id),
        }
    })
}

async fn run_history(context: &Context, id: Uuid) -> Result<()> {
    let client = context.database().await?;
    let Some((reservation, history)) = load_history(&client, id).await? else {
        return unknown(id);
    };
    let value = json!({
        "reservation": ReservationView::new(&reservation, None),
        "user": reservation.user.as_str(),
        "terminal": reservation.terminal.as_str(),
        "message_id": reservation.message_id,
        "history": history,
    });
    context.output.print(&value, || text(&reservation, &history))
}

fn text(reservation: &Reservation, history: &[HistoryLine]) -> String {
    let head = fields(&[
        ("reservation", reservation.id.to_string()),
        ("state", format!("{}: {}", reservation.state, why(reservation))),
        ("user", reservation.user.to_string()),
        ("server", reservation.server.to_string()),
        ("start", time(reservation.interval.start)),
        ("end", time(reservation.interval.end)),
        ("deadline", time(reservation.deadline_at)),
        ("price", money(reservation.price_minor.into(), &reservation.currency)),
    ]);
    let rows: Vec<Vec<String>> = history
        .iter()
        .map(|line| vec![time(line.at), line.to_state.clone(), happened(line)])
        .collect();
    format!("{head}\n{}", table(&["WHEN", "STATE", "WHY"], &rows))
}

/// Who or what did it, why, and how late.
fn happened(line: &HistoryLine) -> String {
    let mut text = match (line.actor.as_str(), line.trigger.as_str()) {
        ("deadline", "message") => "deadline, by its wake-up message".to_owned(),
        ("end", _) => "end".to_owned(),
        ("deadline", "sweep") => "deadline, found by the sweep".to_owned(),
        (actor, _) => match &line.actor_id {
            Some(id) => format!("{actor} {id}"),
            None => actor.to_owned(),
        },
    };
    if let Some(id) = &line.message_id {
        text.push_str(&format!(", message {id}"));
    }
    if let Some(trace) = &line.traceparent {
        text.push_str(&format!(", trace {trace}"));
    }
    if let Some(late) = line.lateness_ms {
        text.push_str(&format!(", {late} ms after the deadline"));
    }
    if let Some(reason) = &line.reason {
        text.push_str(&format!(", {}", reason.replace('_', " ")));
    }
    if let Some(note) = &line.note {
        text.push_str(&format!(": {note}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn line(actor: &str, trigger: &str) -> HistoryLine {
        HistoryLine {
            at: DateTime::from_timestamp(0, 0).unwrap(),
            from_state: None,
            to_state: "held".to_owned(),
            reason: None,
            actor: actor.to_owned(),
            actor_id: None,
            trigger: trigger.to_owned(),
            note: None,
            message_id: None,
            lateness_ms: None,
            traceparent: None,
            seq: 1,
        }
    }

    #[test]
    fn a_line_tells_what_became_of_the_time() {
        let used = HistoryLine {
            reason: Some("used".to_owned()),
            note: Some("59 s, first seen".to_owned()),
            ..line("end", "sweep")
        };
        assert_eq!(happened(&used), "end, used: 59 s, first seen");
        let absent = HistoryLine { reason: Some("no_show".to_owned()), ..line("end", "sweep") };
        assert_eq!(happened(&absent), "end, no show");
    }

    #[test]
    fn a_line_says_who_when_why_and_how_late() {
        let request = HistoryLine {
            actor_id: Some("t-1".to_owned()),
            message_id: Some("m-1".to_owned()),
            ..line("terminal", "command")
        };
        assert_eq!(happened(&request), "terminal t-1, message m-1");
        let cancelled = HistoryLine {
            reason: Some("not_reconfirmed".to_owned()),
            lateness_ms: Some(66),
            ..line("deadline", "message")
        };
        assert_eq!(
            happened(&cancelled),
            "deadline, by its wake-up message, 66 ms after the deadline, not reconfirmed"
        );
    }
}
