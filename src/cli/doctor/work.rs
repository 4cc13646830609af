//! Whether the work gets done: workers, queues, deadlines, outbox.

use anyhow::Result;
use tokio_postgres::Client;

use super::engines::Engines;
use super::finding::{Check, Finding, bounded, named};
use crate::broker::connection::Connection;
use crate::broker::depths::{self, Depths};
use crate::broker::lookup::FoundQueue;
use crate::broker::topology::{BILLING_QUEUE, QUERIES_QUEUE, partition_queue};
use crate::store::admin::status::{
    PartitionState, Versions, WorkerLine, list_partition_states, list_workers,
    load_oldest_move_seconds, load_outbox_depth,
};

const LIVE: Check = Check::new("workers.live", "workers that send heartbeats");
const DEAD: Check = Check::new(
    "workers.dead",
    "workers that fell silent in the past hour, and those that started since",
);
const VERSIONS: Check =
    Check::new("workers.versions", "the live workers' versions and this program's");
const CONSUMERS: Check =
    Check::new("queues.consumers", "consumers of the partitions' queues and of the queries' queue");
const BACKLOG: Check = Check::new("queues.backlog", "messages that wait in the partitions' queues");
const BILLING: Check = Check::new("queues.billing", "bills that wait for the billing system");
const LETTERS: Check =
    Check::new("queues.dead_letters", "dead letters that nobody has looked after");
const OVERDUE: Check = Check::new("deadlines.overdue", "deadlines that passed and are not settled");
const OUTBOX: Check = Check::new("outbox.age", "the oldest bill or notice that is not published");
const MOVES: Check = Check::new("servers.moves", "servers on their way to another partition");

/// Some seconds of work.
const BACKLOG_MAX: u32 = 10_000;

/// Most bills, in percent of what the queue takes.
const BILLS_MAX: u32 = 1_000_000;

/// A batch that is being published, and one that is tried again.
const OUTBOX_SECONDS: f64 = 30.0;

/// Somebody is not billed.
const OUTBOX_LATE_SECONDS: f64 = 600.0;

/// Longer than the sweep takes to find a deadline whose wake-up was lost.
const OVERDUE_SECONDS: f64 = 60.0;

/// A move takes a second, and as long as the partition's backlog.
const MOVE_SECONDS: f64 = 300.0;

pub(super) async fn check(engines: &Engines<'_>) -> Vec<Finding> {
    let of_database = [LIVE, DEAD, VERSIONS, OVERDUE, OUTBOX, MOVES];
    let of_broker = [CONSUMERS, BACKLOG, BILLING, LETTERS];
    let mut findings = match (&engines.database, &engines.versions) {
        (Some(database), Some(versions)) => stored(engines, database, versions).await,
        _ => of_database.map(|check| check.needs("the database and its schema")).to_vec(),
    };
    match &engines.broker {
        Some(connection) => findings.extend(queued(connection, engines).await),
        None => findings.extend(of_broker.map(|check| check.needs("the broker"))),
    }
    findings
}

async fn stored(engines: &Engines<'_>, database: &Client, versions: &Versions) -> Vec<Finding> {
    let mut findings = match list_workers(database).await {
        Ok(workers) => {
            let (live, dead): (Vec<_>, Vec<_>) =
                workers.into_iter().partition(|worker| worker.live);
            vec![self::live(&live), self::dead(&live, &dead), self::versions(&live)]
        }
        Err(error) => {
            let error = error.into();
            [LIVE, DEAD, VERSIONS].map(|check| check.failed(&error)).to_vec()
        }
    };
    findings.push(bounded(OVERDUE, overdue(engines, database, versions)).await);
    findings.push(bounded(OUTBOX, outbox(database, versions)).await);
    findings.push(bounded(MOVES, moves(database)).await);
    findings
}

fn live(live: &[WorkerLine]) -> Finding {
    match live.len() {
        0 => LIVE.red("none: nothing is decided, answered or settled", "start `holdfast worker`"),
        number => LIVE.green(format!("{number}")),
    }
}

/// A worker that was killed leaves its row for an hour. It is replaced if another one has started since.
fn dead(live: &[WorkerLine], dead: &[WorkerLine]) -> Finding {
    let mut successors: Vec<&WorkerLine> = live.iter().collect();
    let mut lost = Vec::new();
    for worker in dead {
        let next = successors.iter().position(|next| next.started_at >= worker.heartbeat_at);
        match next {
            Some(index) => drop(successors.swap_remove(index)),
            None => lost.push(format!(
                "{} (process {} on {}), silent for {:.0} s",
                worker.id, worker.pid, worker.host, worker.silent_seconds
            )),
        }
    }
    match lost.is_empty() {
        true => DEAD.green(match dead.len() {
            0 => "none".to_owned(),
            number => format!("{number}, and as many started since"),
        }),
        false => DEAD.yellow(
            named(&lost),
            "see the log of that process, and start it again; a process that runs and is silent is frozen or cut \
             off from the database: end it. One that was ended on purpose is forgotten after an hour",
        ),
    }
}

fn versions(live: &[WorkerLine]) -> Finding {
    let own = env!("CARGO_PKG_VERSION");
    let others = live.iter().filter(|worker| worker.version != own);
    let others: Vec<String> = others
        .map(|worker| format!("{} on {}: {:?}", worker.id, worker.host, worker.version))
        .collect();
    match others.is_empty() {
        true => VERSIONS.green(own),
        false => VERSIONS.yellow(
            format!("this program is {own}; {}", named(&others)),
            "finish the upgrade: restart the workers that are named with the new version",
        ),
    }
}

async fn overdue(engines: &Engines<'_>, database: &Client, versions: &Versions) -> Result<Finding> {
    let states = list_partition_states(database).await?;
    let late = states.iter().filter(|state| state.overdue > 0);
    let (paused, late): (Vec<_>, Vec<_>) =
        late.partition(|state| engines.is_paused(state.partition));
    let seen = |states: &[&PartitionState], mark: &str| {
        let lines = states.iter();
        let lines =
            lines.map(|state| format!("partition {}{mark}: {}", state.partition, state.overdue));
        let oldest = states.iter().filter_map(|state| state.overdue_since).min()?;
        let age = (versions.now - oldest).as_seconds_f64();
        Some((format!("{}; the oldest for {age:.0} s", named(&lines.collect::<Vec<_>>())), age))
    };
    let remedy = "see that each partition has a consumer (queues.consumers) and that the delay ladder works \
                  (probe.ladder); workers with HOLDFAST_SWEEP=on find what the ladder lost";
    Ok(match (seen(&late, ""), seen(&paused, " (paused)")) {
        (Some((seen, age)), _) if age < OVERDUE_SECONDS => OVERDUE.yellow(seen, remedy),
        (Some((seen, _)), _) => OVERDUE.red(seen, remedy),
        (None, Some((seen, _))) => OVERDUE.yellow(
            seen,
            "they are settled, behind the commands that came before them, once deciding is resumed \
             (partitions.paused)",
        ),
        (None, None) => OVERDUE.green("none"),
    })
}

async fn outbox(database: &Client, versions: &Versions) -> Result<Finding> {
    let depth = load_outbox_depth(database).await?;
    let waiting = format!("{} bills, {} notices", depth.bills, depth.notices);
    let remedy = format!(
        "see that workers run, that the queue {BILLING_QUEUE} is not full (queues.billing), and that no alarm \
         is on (broker.alarms)"
    );
    let age = depth.oldest_at.map_or(0.0, |oldest| (versions.now - oldest).as_seconds_f64());
    Ok(match age {
        ..OUTBOX_SECONDS => OUTBOX.green(waiting),
        ..OUTBOX_LATE_SECONDS => {
            OUTBOX.yellow(format!("{waiting}, the oldest for {age:.0} s"), remedy)
        }
        _ => OUTBOX.red(format!("{waiting}, the oldest for {age:.0} s"), remedy),
    })
}

async fn moves(database: &Client) -> Result<Finding> {
    Ok(match load_oldest_move_seconds(database).await? {
        None => MOVES.green("none"),
        Some(seconds) if seconds < MOVE_SECONDS => {
            MOVES.green(format!("the oldest for {seconds:.0} s"))
        }
        Some(seconds) => MOVES.yellow(
            format!("one is on its way for {seconds:.0} s: its commands wait"),
            "run `holdfast topology apply`, which takes up interrupted moves; see that workers run",
        ),
    })
}

async fn queued(connection: &Connection, engines: &Engines<'_>) -> Vec<Finding> {
    let partitions = engines.shape().map(|shape| shape.partitions);
    match depths::look(connection, partitions).await {
        Ok(depths) => {
            let (consumers, backlog) = (consumers(engines, &depths), backlog(engines, &depths));
            vec![consumers, backlog, billing(&depths), dead_letters(engines, &depths)]
        }
        Err(error) => {
            let error = error.into();
            [CONSUMERS, BACKLOG, BILLING, LETTERS].map(|check| check.failed(&error)).to_vec()
        }
    }
}

fn consumers(engines: &Engines<'_>, depths: &Depths) -> Finding {
    let partitions = (0..).zip(&depths.partitions);
    let (paused, deciding): (Vec<_>, Vec<_>) =
        partitions.partition(|(partition, _)| engines.is_paused(*partition));
    let queues = deciding.iter().filter_map(|(_, queue)| queue.as_ref()).chain(&depths.queries);
    let without = queues.filter(|queue| queue.consumers == 0);
    let without: Vec<String> = without.map(|queue| format!("queue {}: none", queue.name)).collect();
    let several = depths.queries.as_ref().map_or(0, |queue| queue.consumers);
    let each = match paused.len() {
        0 => "each partition has one".to_owned(),
        paused => {
            format!("each partition has one, but for {paused} that are paused (partitions.paused)")
        }
    };
    CONSUMERS.unless_any(
        &without,
        "see that workers run and what they log: until then commands and deadlines of these queues wait",
        &format!("{each}; {QUERIES_QUEUE} has {several}"),
    )
}

fn backlog(engines: &Engines<'_>, depths: &Depths) -> Finding {
    let partitions = (0..).zip(&depths.partitions);
    let queues = partitions.filter_map(|(partition, queue)| Some((partition, queue.as_ref()?)));
    let long = queues.clone().filter(|(_, queue)| queue.messages > BACKLOG_MAX);
    let line = |(partition, queue): (i32, &FoundQueue)| {
        let mark = if engines.is_paused(partition) { " (paused)" } else { "" };
        format!("queue {}{mark}: {}", queue.name, queue.messages)
    };
    match long.map(line).collect::<Vec<String>>() {
        long if long.is_empty() => {
            let all: u64 = queues.map(|(_, queue)| u64::from(queue.messages)).sum();
            BACKLOG.green(format!("{all} in {} partitions", depths.partitions.len()))
        }
        long => BACKLOG.yellow(
            named(&long),
            format!(
                "see `holdfast status` for who consumes them; move servers away (`holdfast topology \
                 rebalance`), or limit terminals (`holdfast policy set`). {} takes at most 1000000",
                partition_queue(0)
            ),
        ),
    }
}

fn billing(depths: &Depths) -> Finding {
    let Some(queue) = &depths.billing else {
        return BILLING.needs("that queue (topology.objects)");
    };
    let seen = format!("{}, consumers: {}", queue.messages, queue.consumers);
    match queue.messages {
        ..BILLS_MAX => BILLING.green(seen),
        _ => BILLING.yellow(
            seen,
            "start the billing system: once 10000000 wait, further bills stay in the database",
        ),
    }
}

fn dead_letters(engines: &Engines<'_>, depths: &Depths) -> Finding {
    let Some(queue) = &depths.dead else { return LETTERS.needs("that queue (topology.objects)") };
    let queued = queue.messages;
    match engines.filed_letters {
        None | Some(0) if queued == 0 => LETTERS.green("none"),
        None | Some(0) => LETTERS.yellow(
            format!("{queued}; at 100000 the oldest are dropped"),
            "look at them with `holdfast dead-letter list`, then replay or discard them",
        ),
        Some(filed) => LETTERS.yellow(
            format!("{queued} in their queue, {filed} filed by `holdfast dead-letter list`"),
            "replay them with `holdfast dead-letter replay` once their cause is gone, or discard them",
        ),
    }
}
