//! Prints totals of the run.

use std::collections::BTreeMap;

use holdfast::message::command::Kind;

use super::Seen;
use crate::biller::Ledger;
use crate::record::Heard;
use crate::tally::Tally;

/// A day: nothing else delays a settlement by that much.
const FAR_MS: i64 = 86_400_000;

pub fn print(seen: &Seen<'_>, ledger: &Ledger, tally: &Tally) {
    println!("reservations: {}", listed(&endings(seen)));
    println!("refused requests: {}", listed(&refused_requests(seen)));
    println!("settled after the deadline: {}", lateness(seen));
    let (repeats, replays) = repeats(seen);
    println!(
        "messages: {} commands, {repeats} of them repeats; {} answers, {replays} of them repeats; {} \
         notices",
        tally.sent.get(),
        tally.answers.get(),
        tally.notices.get(),
    );
    println!(
        "workers: {} killed, {} stopped, {} times none left",
        tally.kills.get(),
        tally.stops.get(),
        tally.blackouts.get()
    );
    let largest = seen.sizes.iter().map(|(_, kilobytes, _)| kilobytes / 1024).max();
    let files = seen.sizes.iter().map(|(_, _, files)| *files).max();
    println!(
        "at rest a worker has up to {} MB and {} open files",
        largest.unwrap_or_default(),
        files.unwrap_or_default()
    );
    if seen.ground.chaos {
        seen.timeline.print();
        println!(
            "lost on the way: {} connections of terminals; {} commands refused; {} workers gave up",
            tally.losses.get(),
            tally.refused.get(),
            tally.gave_up.get()
        );
    }
    let again: usize = ledger.entries.values().map(|entry| entry.times - 1).sum();
    println!(
        "bills: {}, {again} repeats dropped, {} connections lost",
        ledger.entries.len(),
        tally.biller_losses.get()
    );
}

type Counts = BTreeMap<String, usize>;

fn listed(counts: &Counts) -> String {
    let words: Vec<String> = counts.iter().map(|(what, count)| format!("{count} {what}")).collect();
    words.join(", ")
}

fn endings(seen: &Seen<'_>) -> Counts {
    let mut counts = Counts::new();
    for reservation in seen.facts.reservations.values() {
        let word = reservation.cancel_reason.as_ref().unwrap_or(&reservation.state);
        *counts.entry(word.clone()).or_default() += 1;
    }
    counts
}

fn refused_requests(seen: &Seen<'_>) -> Counts {
    let mut counts = Counts::new();
    for terminal in seen.terminals {
        let record = terminal.record();
        let requests = record.sent.values().map(|sent| &sent.intent.command);
        for request in requests.filter(|command| command.kind == Kind::Request) {
            let answer = record.answer_to(&request.message_id);
            let outcome = answer.as_ref().map_or("unanswered", |answer| answer.outcome());
            if outcome != "accepted" {
                *counts.entry(outcome.to_owned()).or_default() += 1;
            }
        }
    }
    counts
}

fn lateness(seen: &Seen<'_>) -> String {
    let lateness = seen.facts.endings.iter().filter_map(|ending| ending.lateness_ms);
    // By a clock that was set far ahead, everything is late.
    let (mut late, ahead): (Vec<i64>, Vec<i64>) = lateness.partition(|ms| *ms < FAR_MS);
    late.sort_unstable();
    let ahead = match ahead.len() {
        0 => String::new(),
        count => format!("; {count} by a clock that was ahead"),
    };
    let at = |percent: usize| late.get((late.len() * percent / 100).min(late.len() - 1));
    match late.is_empty() {
        true => format!("nothing{ahead}"),
        false => format!(
            "median {} ms, 99 of 100 within {} ms, all within {} ms{ahead}",
            at(50).copied().unwrap_or_default(),
            at(99).copied().unwrap_or_default(),
            at(100).copied().unwrap_or_default()
        ),
    }
}

/// Numbers of repeated commands and repeated answers.
fn repeats(seen: &Seen<'_>) -> (usize, usize) {
    let (mut sent, mut heard) = (0, 0);
    for terminal in seen.terminals {
        let record = terminal.record();
        sent += record.sent.values().map(|sent| sent.sendings.saturating_sub(1)).sum::<usize>();
        let answers = record.answers.values().flatten();
        heard += answers.map(|heard: &Heard| heard.times - 1).sum::<usize>();
    }
    (sent, heard)
}
