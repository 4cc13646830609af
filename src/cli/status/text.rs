//! `holdfast status` for people: at most 80 columns and about 30 lines, the worst first.

use std::cmp::Reverse;

use super::report::{Deadlines, Engine, Partition, Queue, Report, Workers};
use crate::cli::output::{fields, table, time};
use crate::domain::interval::Timestamp;
use crate::store::admin::pauses::Pause;
use crate::store::admin::status::{COUNTED_MAX, OutboxDepth, WorkerLine};

/// Most lines of each kind, so that all of them fit on a terminal.
const WORKERS_MAX: usize = 6;
const DEAD_MAX: usize = 3;
const PARTITIONS_MAX: usize = 8;
const PAUSES_MAX: usize = 2;

/// Widths that keep a line within 80 columns.
const HOST_WIDTH: usize = 12;
const VERSION_WIDTH: usize = 10;
const PARTITIONS_WIDTH: usize = 9;
const TEXT_WIDTH: usize = 66;

/// What is not known.
const UNKNOWN: &str = "?";

pub(super) fn of(report: &Report) -> String {
    let mut text = fields(&summary(report));
    if let Some(workers) = &report.workers {
        text.push_str(&live(workers));
        text.push_str(&dead(workers));
    }
    text.push_str(&partitions(&report.partitions));
    text
}

fn summary(report: &Report) -> Vec<(&'static str, String)> {
    let at = report.at.map_or_else(|| "the time is not known".to_owned(), time);
    let mut lines = vec![("holdfast", format!("{}, {at}", report.version))];
    let mut add = |name, text: String| {
        lines.extend(wrapped(&text).into_iter().enumerate().map(|(index, line)| match index {
            0 => (name, line),
            _ => ("", line),
        }));
    };
    let schema = match (report.schema, &report.topology) {
        (Some(schema), Some(_)) => format!("schema {schema}"),
        (Some(schema), None) => {
            format!("schema {schema}, no topology; run `holdfast topology apply`")
        }
        (None, _) => "no schema; run `holdfast migrate`".to_owned(),
    };
    add("database", engine(&report.database, "PostgreSQL", &schema));
    let shape = match &report.topology {
        Some(topology) => format!(
            "vhost {}, {} partitions, {} delay levels",
            report.vhost, topology.partitions, topology.delay_levels
        ),
        None => format!("vhost {}", report.vhost),
    };
    add("broker", engine(&report.broker, "RabbitMQ", &shape));
    match &report.management {
        None => add("management", "RABBITMQ_MANAGEMENT_URL is not set".to_owned()),
        Some(Engine { problem: Some(problem), .. }) => add("management", problem.clone()),
        Some(_) => {}
    }
    let now = report.at;
    add("deadlines", report.deadlines.as_ref().map_or(UNKNOWN.to_owned(), |d| deadlines(d, now)));
    add("outbox", report.outbox.as_ref().map_or(UNKNOWN.to_owned(), |o| outbox(o, now)));
    add("queries", queue(report.queries.as_ref(), "waiting", true));
    add("billing", queue(report.billing.as_ref(), "bills waiting", true));
    let mut letters = queue(report.dead_letters.as_ref(), "kept", false);
    if let Some(filed) = report.filed_letters.filter(|filed| *filed > 0) {
        letters.push_str(&format!(", {filed} filed and open"));
    }
    add("dead letters", letters);
    for Pause { scope, why, operator, paused_at, .. } in report.pauses.iter().take(PAUSES_MAX) {
        let operator = operator.as_deref().unwrap_or("somebody");
        add("paused", format!("{scope} by {operator} since {} ({why})", time(*paused_at)));
    }
    if let more @ 1.. = report.pauses.len().saturating_sub(PAUSES_MAX) {
        add("", format!("and {more} more pauses; --json lists all"));
    }
    lines
}

fn engine(engine: &Engine, name: &str, more: &str) -> String {
    match (&engine.problem, &engine.version) {
        (Some(problem), _) => format!("away: {problem}"),
        (None, Some(version)) => format!("{name} {version}, {more}"),
        (None, None) => format!("{name}, {more}"),
    }
}

/// Words in lines of a bounded width. A longer word has a line of its own, cut.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is one");
        if line.is_empty() {
            *line = shortened(word, TEXT_WIDTH);
        } else if line.chars().count() + 1 + word.chars().count() <= TEXT_WIDTH {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(shortened(word, TEXT_WIDTH));
        }
    }
    lines
}

fn deadlines(deadlines: &Deadlines, now: Option<Timestamp>) -> String {
    match (deadlines.overdue, deadlines.oldest_at, now) {
        (0, ..) => "none overdue".to_owned(),
        (overdue, Some(oldest), Some(now)) => {
            let more = if deadlines.counted_all { "" } else { "at least " };
            format!("{more}{overdue} overdue, the oldest for {}", span(now, oldest))
        }
        (overdue, ..) => format!("{overdue} overdue"),
    }
}

fn outbox(outbox: &OutboxDepth, now: Option<Timestamp>) -> String {
    let OutboxDepth { bills, notices, copies, oldest_at } = outbox;
    let more = if bills + notices + copies < COUNTED_MAX { "" } else { "at least " };
    let counts = format!("{more}{bills} bills, {notices} notices, {copies} copies of events");
    match (oldest_at, now) {
        (Some(oldest), Some(now)) => format!("{counts}; the oldest for {}", span(now, *oldest)),
        _ => counts,
    }
}

fn queue(queue: Option<&Queue>, what: &str, consumed: bool) -> String {
    match queue {
        None => UNKNOWN.to_owned(),
        Some(Queue { waiting, .. }) if !consumed => format!("{waiting} {what}"),
        Some(Queue { waiting, consumers: 0 }) => format!("{waiting} {what}, no consumer"),
        Some(Queue { waiting, consumers: 1 }) => format!("{waiting} {what}, 1 consumer"),
        Some(Queue { waiting, consumers }) => format!("{waiting} {what}, {consumers} consumers"),
    }
}

fn live(workers: &Workers) -> String {
    let row = |worker: &WorkerLine| {
        vec![
            short_id(worker),
            shortened(&worker.host, HOST_WIDTH),
            worker.pid.to_string(),
            shortened(&worker.version, VERSION_WIDTH),
            span(worker.heartbeat_at, worker.started_at),
            seconds(worker.silent_seconds),
            format!("{:.1}", worker.decided_per_second),
            numbers(&worker.partitions),
        ]
    };
    if workers.live.is_empty() {
        return "\nNo worker is running: nothing is decided or settled. Start `holdfast worker`\n"
            .to_owned();
    }
    let rows: Vec<Vec<String>> = workers.live.iter().take(WORKERS_MAX).map(row).collect();
    let header = ["WORKER", "HOST", "PROCESS", "VERSION", "UP", "SILENT", "PER S", "PARTITIONS"];
    format!("\n{}{}", table(&header, &rows), more(workers.live.len(), WORKERS_MAX, "live workers"))
}

fn dead(workers: &Workers) -> String {
    if workers.dead.is_empty() {
        return String::new();
    }
    let row = |worker: &WorkerLine| {
        vec![
            short_id(worker),
            shortened(&worker.host, HOST_WIDTH),
            worker.pid.to_string(),
            shortened(&worker.version, VERSION_WIDTH),
            seconds(worker.silent_seconds),
            numbers(&worker.partitions),
        ]
    };
    let rows: Vec<Vec<String>> = workers.dead.iter().take(DEAD_MAX).map(row).collect();
    let header = ["DEAD", "HOST", "PROCESS", "VERSION", "SILENT", "PARTITIONS"];
    format!("\n{}{}", table(&header, &rows), more(workers.dead.len(), DEAD_MAX, "dead workers"))
}

fn partitions(partitions: &[Partition]) -> String {
    if partitions.is_empty() {
        return String::new();
    }
    let mut worst: Vec<&Partition> = partitions.iter().collect();
    worst.sort_by_key(|partition| {
        let waiting = partition.waiting.unwrap_or_default();
        let overdue = partition.overdue.unwrap_or_default();
        let first = match partition.declared {
            Some(false) => 0,
            _ if partition.trouble().is_some() => 1,
            _ => 2,
        };
        (first, -overdue, Reverse(waiting), partition.partition)
    });
    let rows: Vec<Vec<String>> = worst.iter().take(PARTITIONS_MAX).map(|one| row(one)).collect();
    let header =
        ["PARTITION", "OWNER", "WAITING", "IN HAND", "WAIT", "SERVERS", "OVERDUE", "STATE"];
    format!("\n{}{}", table(&header, &rows), more(partitions.len(), PARTITIONS_MAX, "partitions"))
}

fn row(partition: &Partition) -> Vec<String> {
    fn known<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| UNKNOWN.to_owned(), |value| value.to_string())
    }
    let owner = partition.owner.map(|id| id.to_string()[..8].to_owned());
    let state = partition.trouble().unwrap_or(match partition.consumers {
        Some(_) => "ok",
        None => UNKNOWN,
    });
    vec![
        partition.partition.to_string(),
        owner.unwrap_or_else(|| "none".to_owned()),
        known(partition.waiting),
        known(partition.in_hand),
        partition.wait_seconds.map_or_else(|| UNKNOWN.to_owned(), seconds),
        known(partition.servers),
        known(partition.overdue),
        state.to_owned(),
    ]
}

fn more(all: usize, shown: usize, what: &str) -> String {
    match all.saturating_sub(shown) {
        0 => String::new(),
        more => format!("and {more} more {what}; --json lists all\n"),
    }
}

/// Enough to tell workers apart.
fn short_id(worker: &WorkerLine) -> String {
    worker.id.to_string()[..8].to_owned()
}

fn numbers(partitions: &[i32]) -> String {
    if partitions.is_empty() {
        return "none".to_owned();
    }
    let listed = |count: usize| {
        let shown: Vec<String> = partitions.iter().take(count).map(i32::to_string).collect();
        match partitions.len() - count {
            0 => shown.join(","),
            more => format!("{},+{more}", shown.join(",")),
        }
    };
    let fitting = (1..=partitions.len()).rev().map(listed);
    fitting.into_iter().find(|text| text.len() <= PARTITIONS_WIDTH).unwrap_or_else(|| listed(1))
}

fn shortened(text: &str, width: usize) -> String {
    match text.chars().count() <= width {
        true => text.to_owned(),
        false => text.chars().take(width - 1).chain(['~']).collect(),
    }
}

fn span(now: Timestamp, then: Timestamp) -> String {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let milliseconds = (now - then).num_milliseconds() as f64;
    seconds(milliseconds / 1_000.0)
}

/// A span of seconds in its largest unit.
fn seconds(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7_200.0 => format!("{:.0} min", seconds / 60.0),
        ..172_800.0 => format!("{:.0} h", seconds / 3_600.0),
        _ => format!("{:.0} d", seconds / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_their_largest_unit() {
        for (span, text) in [
            (0.04, "0.0 s"),
            (9.96, "10.0 s"),
            (59.0, "59 s"),
            (600.0, "10 min"),
            (7_200.0, "2 h"),
            (864_000.0, "10 d"),
        ] {
            assert_eq!(seconds(span), text);
        }
    }

    #[test]
    fn many_partitions_are_shortened() {
        let many: Vec<i32> = (100..200).collect();
        assert_eq!(numbers(&[0, 1, 2]), "0,1,2");
        assert_eq!(numbers(&many), "100,+99");
        assert_eq!(numbers(&[]), "none");
    }

    #[test]
    fn words_are_wrapped() {
        let text = "word ".repeat(40) + &"x".repeat(200);
        let lines = wrapped(&text);
        assert!(lines.iter().all(|line| line.chars().count() <= TEXT_WIDTH), "{lines:#?}");
        assert!(lines.len() > 3);
    }
}
