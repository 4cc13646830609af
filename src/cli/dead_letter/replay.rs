//! `holdfast dead-letter replay`.
//!
//! In this order: who and why are recorded with the permission to decide the letter once more; its message is
//! published and confirmed; the letter is marked as replayed. After a crash in between it is open, and a second
//! replay finds the message id decided.

use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::selection::{CHANGED_MAX, Change};
use crate::broker::publisher::{Fate, Outgoing, Publisher};
use crate::broker::topology::COMMANDS_EXCHANGE;
use crate::cli::context::Context;
use crate::cli::exit::{CliError, refuse};
use crate::cli::output::{hint, table};
use crate::crash_point;
use crate::domain::interval::Timestamp;
use crate::message::dead_letter::{DeadLetter, REPLAY_TYPE, encode_replay};
use crate::store::admin::dead_letters::{
    Filed, list_letters, load_oldest_answer, update_reopened, update_replayed, update_replaying,
};
use crate::store::registry::terminal_exists;

/// Letters per transaction and confirm.
const PAGE: i64 = 200;

/// A letter and what becomes of it.
#[derive(Serialize)]
struct Line {
    id: Uuid,
    reason: String,
    routing_key: String,
    /// `replay`, or why not.
    outcome: String,
}

#[derive(Default)]
struct Done {
    lines: Vec<Line>,
    replayed: usize,
    /// No server's queue took the message.
    unroutable: usize,
    skipped: usize,
}

pub(super) async fn run(context: &Context, database: &Client, change: Change) -> Result<()> {
    let filter = change.selected.filter()?;
    let account = context.config.broker()?.account();
    if terminal_exists(database, account).await? {
        return refuse(format!(
            "account {account}: is a terminal's; replay with an operator's AMQP_URL"
        ));
    }
    let oldest = load_oldest_answer(database).await?;
    let connection = context.own_broker(database, "replay").await?;
    let mut publisher = Publisher::open(&connection).await?;
    change.why.name(database).await?;
    let (mut after, mut done) = (None, Done::default());
    loop {
        let (filed, more) = list_letters(database, &filter, after, PAGE).await?;
        after = filed.last().map(|filed| (filed.died_at, filed.letter.id));
        let hopeful = sort(&filed, oldest, &mut done);
        if change.dry_run {
            done.lines.extend(hopeful.iter().map(|letter| line(letter, "replay")));
        } else if !hopeful.is_empty() {
            let ids: Vec<Uuid> = hopeful.iter().map(|letter| letter.id).collect();
            let letters = update_replaying(database, &ids, account).await?;
            crash_point!("replay-recorded");
            publish(database, &mut publisher, account, &letters, &mut done).await?;
        }
        if !more {
            break;
        }
        if done.lines.len() >= CHANGED_MAX {
            hint!("there are more than {CHANGED_MAX}: run it again");
            break;
        }
    }
    publisher.close().await?;
    connection.close().await?;
    told(context, change.dry_run, &done)
}

/// Those that a replay may help.
fn sort(filed: &[Filed], oldest: Timestamp, done: &mut Done) -> Vec<DeadLetter> {
    let mut hopeful = Vec::new();
    for filed in filed {
        match in_vain(filed, oldest) {
            Some(why) => {
                done.skipped += 1;
                done.lines.push(line(&filed.letter, &format!("skipped: {why}")));
            }
            None => hopeful.push(filed.letter.clone()),
        }
    }
    hopeful
}

fn in_vain(filed: &Filed, oldest: Timestamp) -> Option<&'static str> {
    if let Some(why) = filed.letter.hopeless() {
        return Some(why);
    }
    if !filed.is_terminals {
        return Some("its terminal is unknown; add it with `holdfast terminal add`");
    }
    // Its id may have been decided and forgotten.
    (filed.died_at < oldest).then_some("it is older than answers are kept")
}

async fn publish(
    database: &Client,
    publisher: &mut Publisher,
    account: &str,
    letters: &[DeadLetter],
    done: &mut Done,
) -> Result<()> {
    let messages: Vec<Outgoing> = letters.iter().map(|letter| message(letter, account)).collect();
    let fates = publisher.publish(&messages).await?;
    crash_point!("replay-confirmed");
    let (mut taken, mut left) = (Vec::new(), Vec::new());
    for (letter, fate) in letters.iter().zip(fates) {
        let outcome = match fate {
            Fate::Routed => "replayed",
            Fate::Unroutable => "still open: no server's queue is bound for its routing key",
            Fate::Refused => "still open: its server's queue is full",
        };
        if fate == Fate::Routed { &mut taken } else { &mut left }.push(letter.id);
        done.lines.push(line(letter, outcome));
    }
    update_replayed(database, &taken).await?;
    update_reopened(database, &left).await?;
    done.replayed += taken.len();
    done.unroutable += left.len();
    Ok(())
}

/// It names the letter. Workers decide what the database keeps of it.
fn message(letter: &DeadLetter, account: &str) -> Outgoing {
    Outgoing {
        exchange: COMMANDS_EXCHANGE.to_owned(),
        routing_key: letter.routing_key.clone(),
        message_id: letter.id.to_string(),
        type_name: REPLAY_TYPE.to_owned(),
        correlation_id: None,
        content_type: "application/json",
        user_id: Some(account.to_owned()),
        headers: Vec::new(),
        body: encode_replay(letter.id),
        persistent: true,
    }
}

fn line(letter: &DeadLetter, outcome: &str) -> Line {
    Line {
        id: letter.id,
        reason: letter.reason.clone(),
        routing_key: letter.routing_key.clone(),
        outcome: outcome.to_owned(),
    }
}

fn told(context: &Context, dry_run: bool, done: &Done) -> Result<()> {
    let Done { lines, replayed, unroutable, skipped } = done;
    let value = json!({
        "dry_run": dry_run, "letters": lines, "replayed": replayed, "still_open": unroutable,
        "skipped": skipped,
    });
    context.output.print(&value, || {
        let row =
            |line: &Line| vec![line.id.to_string(), line.reason.clone(), line.outcome.clone()];
        let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
        let head = match dry_run {
            true => format!("would replay {} of {}", lines.len() - skipped, lines.len()),
            false => format!("replayed {replayed} of {}", lines.len()),
        };
        match lines.is_empty() {
            true => head,
            false => format!("{head}\n\n{}", table(&["LETTER", "REASON", "OUTCOME"], &rows)),
        }
    })?;
    if *unroutable > 0 {
        return Err(CliError::CheckFailed(format!(
            "letters that are still open: {unroutable}; no queue took their messages"
        ))
        .into());
    }
    Ok(())
}
