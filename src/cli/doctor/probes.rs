//! Probes: one through the delay ladder, and one through every partition and its worker and back.

use anyhow::Result;

use super::engines::Engines;
use super::finding::{Check, Finding, bounded, named};
use crate::broker::connection::Connection;
use crate::broker::delay_probe::{self, Probe};
use crate::broker::depths;
use crate::broker::partition_probe::{self, Outcome};
use crate::broker::topology::partition_queue;
use crate::message::shape::Shape;

const LADDER: Check =
    Check::new("probe.ladder", "a message through two levels of the delay ladder");
const PARTITIONS: Check = Check::new(
    "probe.partitions",
    "a message through each partition's queue and its worker, and the answer",
);

pub(super) async fn check(engines: &Engines<'_>) -> Vec<Finding> {
    let (Some(connection), Some(shape)) = (&engines.broker, engines.shape()) else {
        return [LADDER, PARTITIONS]
            .map(|check| check.needs("broker and recorded topology"))
            .to_vec();
    };
    vec![
        bounded(LADDER, ladder(connection, shape)).await,
        bounded(PARTITIONS, partitions(engines, connection, shape)).await,
    ]
}

async fn ladder(connection: &Connection, shape: Shape) -> Result<Finding> {
    let remedy = "see topology.arguments, topology.bindings and topology.policies about the queues \
                  reservation.delay.v1.*. Until the ladder works, the sweep settles deadlines, late";
    Ok(match delay_probe::send(connection, shape.delay_levels).await? {
        Probe::Arrived(after) => LADDER.green(format!("arrived after {} ms", after.as_millis())),
        Probe::Early { after, due } => {
            LADDER.red(format!("arrived after {after:?}, expected at least {due:?}"), remedy)
        }
        Probe::Lost => LADDER.red("did not arrive in time", remedy),
    })
}

/// Sends none to a queue without a consumer, and none to a partition that is paused: it would stay there.
async fn partitions(
    engines: &Engines<'_>,
    connection: &Connection,
    shape: Shape,
) -> Result<Finding> {
    let depths = depths::look(connection, Some(shape.partitions)).await?;
    let (mut consumed, mut paused, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (partition, queue) in (0..).zip(&depths.partitions) {
        match queue {
            _ if engines.is_paused(partition) => paused.push(partition.to_string()),
            Some(queue) if queue.consumers > 0 => consumed.push(partition),
            Some(_) => wrong.push(format!("{partition}: no consumer")),
            None => wrong.push(format!("{partition}: no queue")),
        }
    }
    if consumed.is_empty() && wrong.is_empty() {
        return Ok(PARTITIONS.skipped(
            "not sent: all partitions are paused (partitions.paused)",
            "run it again once deciding is resumed",
        ));
    }
    if consumed.is_empty() {
        return Ok(PARTITIONS.red(
            "not sent: no partition has a consumer",
            "start `holdfast worker`; if one runs, see what it logs",
        ));
    }
    let mut slowest = std::time::Duration::ZERO;
    for (partition, outcome) in partition_probe::send(connection, &consumed).await? {
        match outcome {
            Outcome::Answered(after) => slowest = slowest.max(after),
            Outcome::Unroutable => wrong.push(format!("{partition}: its queue is not bound")),
            Outcome::Refused => wrong.push(format!("{partition}: its queue is full")),
            Outcome::Silent => wrong.push(format!(
                "{partition}: no answer within {} s",
                partition_probe::TIMEOUT.as_secs()
            )),
        }
    }
    Ok(match wrong.is_empty() {
        true if paused.is_empty() => {
            PARTITIONS.green(format!("all answered, the last after {} ms", slowest.as_millis()))
        }
        true => PARTITIONS.green(format!(
            "all answered, the last after {} ms, but for those that are paused: {}",
            slowest.as_millis(),
            named(&paused)
        )),
        false => PARTITIONS.red(
            named(&wrong),
            format!(
                "a worker that has a consumer and does not answer is frozen, or works off a backlog \
                 (queues.backlog): look at its log, end it, and another one takes over. Without a consumer, start \
                 `holdfast worker`; for queues such as {}, run `holdfast topology apply`",
                partition_queue(0)
            ),
        ),
    })
}
