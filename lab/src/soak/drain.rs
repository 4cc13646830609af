//! Waits until nothing is left to do.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use crate::biller::Biller;
use crate::installation::Installation;
use crate::life::Ground;
use crate::queues;
use crate::record::{Intent, Sent};
use crate::terminal::Terminal;

/// Longest wait: the last deadline is at most a minute away, and then sweep and relay may have to
/// help.
const PATIENCE: Duration = Duration::from_secs(150);

/// Longest wait in a brief run, which often shares a busy machine.
const PATIENCE_BRIEF: Duration = Duration::from_secs(120);

const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Tries to send a command again: a connection may have broken unnoticed and lose it.
const ASK_TRIES_MAX: usize = 5;

/// Waits until nothing is left to do. After the longest wait, returns what is left; the checks
/// decide whether that is wrong.
pub async fn wait(
    installation: &Installation,
    terminals: &[Arc<Terminal>],
    biller: &Biller,
    ground: &Ground,
) -> Vec<String> {
    let until = Instant::now() + patience(ground);
    loop {
        let left = left_to_do(installation, terminals, biller, ground).await;
        // On a busy machine, a single look may time out.
        let left = left.unwrap_or_else(|error| vec![format!("no look at what is left: {error:#}")]);
        if left.is_empty() || Instant::now() > until {
            return left;
        }
        sleep(LOOK_INTERVAL).await;
    }
}

fn patience(ground: &Ground) -> Duration {
    if ground.brief { PATIENCE_BRIEF } else { PATIENCE }
}

async fn left_to_do(
    installation: &Installation,
    terminals: &[Arc<Terminal>],
    biller: &Biller,
    ground: &Ground,
) -> Result<Vec<String>> {
    let query = "select (select count(*) from reservations where state in ('held', 'reconfirmed')),
                        (select count(*) from outbox),
                        (select count(*) from billing_entries),
                        (select count(*) from moves)";
    let row = installation.database().await?.query_one(query, &[]).await?;
    let (unsettled, outbox, entries): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let moves: i64 = row.get(3);
    let unbilled = usize::try_from(entries)?.saturating_sub(biller.ledger().entries.len());
    let unanswered: usize = terminals.iter().map(|terminal| unanswered(terminal, ground)).sum();
    let mut left: Vec<String> = [
        (usize::try_from(unsettled)?, "reservations are not settled"),
        (usize::try_from(outbox)?, "messages are in the outbox"),
        (usize::try_from(moves)?, "servers are on their way"),
        (unbilled, "billing entries have not been told"),
        (unanswered, "commands are not answered"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    let names = ground.empty_at_the_end(installation.shape().await?);
    let amqp = installation.amqp().await?;
    for (queue, ready) in queues::not_empty(&amqp, &names).await? {
        left.push(format!("{ready} messages are in {queue}"));
    }
    amqp.close().await?;
    Ok(left)
}

/// Number of commands without an answer.
fn unanswered(terminal: &Terminal, ground: &Ground) -> usize {
    terminal.record().unanswered(|sent| ground.due(terminal, sent)).len()
}

/// Commands whose answer may have been lost.
fn lost(terminal: &Terminal, ground: &Ground) -> Vec<Intent> {
    let record = terminal.record();
    let unanswered = record.unanswered(|sent| ground.due(terminal, sent)).into_iter();
    let lost = unanswered.filter(|(sent, _)| ground.may_be_lost(terminal, sent));
    lost.map(|(sent, _)| sent.intent.clone()).collect()
}

/// How long it takes until every command that the broker has confirmed so far is answered, repeats
/// included. `None` if it takes longer than the longest wait.
pub async fn recover(terminals: &[Arc<Terminal>], ground: &Ground) -> Option<Duration> {
    let began = Instant::now();
    let waiting: Vec<Vec<(String, usize)>> = terminals
        .iter()
        .map(|terminal| {
            let record = terminal.record();
            // A lost answer does not arrive, however long one waits.
            let lost = |sent: &Sent| ground.may_be_lost(terminal, sent);
            let unanswered = record.unanswered(|sent| if lost(sent) { 0 } else { sent.sendings });
            // Sending a command again raises the number of answers due; this is the number due now.
            let due = unanswered
                .iter()
                .map(|(sent, _)| (sent.intent.command.message_id.clone(), sent.sendings));
            due.collect()
        })
        .collect();
    let missing = |(terminal, waiting): (&Arc<Terminal>, &Vec<(String, usize)>)| {
        let record = terminal.record();
        waiting.iter().any(|(id, due)| {
            let heard = record.answers.get(id).into_iter().flatten();
            heard.map(|heard| heard.times).sum::<usize>() < *due
        })
    };
    while terminals.iter().zip(&waiting).any(missing) {
        if began.elapsed() > patience(ground) {
            return None;
        }
        sleep(LOOK_INTERVAL).await;
    }
    Some(began.elapsed())
}

/// Sends commands again whose answers may have been lost with a queue or with the broker.
pub async fn ask_again(terminals: &[Arc<Terminal>], ground: &Ground) -> Result<usize> {
    let mut asked = 0;
    for terminal in terminals {
        for intent in lost(terminal, ground) {
            let before = terminal.record().sendings(&intent);
            for _ in 0..ASK_TRIES_MAX {
                terminal.send(&intent).await?;
                if terminal.record().sendings(&intent) > before {
                    break;
                }
            }
            asked += 1;
        }
    }
    Ok(asked)
}
