//! The second half of a pipeline: answers go out, then deliveries are acknowledged; wake-ups, events
//! and notices go out beside them.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::pipeline::PipelineError;
use super::{Context, relay};
use crate::broker::consumer::Acknowledger;
use crate::broker::publisher::{Fate, Outgoing, Publisher};
use crate::crash_point;
use crate::domain::interval::Timestamp;
use crate::domain::snapshot::Digest;
use crate::left_undone;
use crate::store::outbox::{self, Pending, RELAY_BATCH_MAX};
use crate::store::{delivery_attempts, timers};

/// Tries of a message that the broker refuses, for example because a terminal's queue is full. The
/// decision is stored: sending the same id again brings the answer.
const REFUSED_TRIES_MAX: usize = 3;

/// A wake-up to send, its instant, and the end of its hop.
pub type Arming = (Outgoing, Timestamp, Timestamp);

/// A batch that is committed.
#[derive(Default)]
pub struct Handled {
    /// Answers, dead letters and wake-ups to the tail.
    pub outgoing: Vec<Outgoing>,
    /// Wake-ups that take the place of those that were delivered.
    pub rescheduled: Vec<Arming>,
    /// What nothing has to wait for.
    pub aside: Aside,
    /// Suspects among its messages, to be cleared once they have not killed us.
    pub suspects: Vec<Digest>,
    /// Told when it is acknowledged.
    pub done: Option<oneshot::Sender<()>>,
    /// Everything up to this delivery is then done.
    pub ack_through: u64,
}

impl Handled {
    /// Nothing yet, of deliveries with these tags.
    pub fn through(tags: &[u64]) -> Self {
        Self { ack_through: tags.last().copied().unwrap_or_default(), ..Self::default() }
    }
}

/// What is kept in the database and found there if it is not sent: by the sweep and by the relay.
#[derive(Default)]
pub struct Aside {
    /// The first wake-ups of new instants.
    pub armed: Vec<Arming>,
    /// Events and notices.
    pub announced: Vec<Pending>,
}

/// Publishes and acknowledges committed batches in order, until the first half hangs up. What is kept
/// in the database goes out beside the answers, on the second publisher, so that answers do not stand
/// behind a large settlement or a crowd of new deadlines.
pub async fn run(
    context: Arc<Context>,
    partition: i32,
    [answers, others]: [Publisher; 2],
    acknowledger: Acknowledger,
    handled: mpsc::Receiver<Handled>,
) -> Result<(), PipelineError> {
    // One batch's at a time; the next waits, and then so does deciding.
    let (to_tell, asides) = mpsc::channel(1);
    let telling = tell_all(&context, partition, others, asides);
    let answering = answer_all(&context, partition, answers, acknowledger, handled, to_tell);
    tokio::try_join!(answering, telling)?;
    Ok(())
}

async fn answer_all(
    context: &Context,
    partition: i32,
    mut publisher: Publisher,
    acknowledger: Acknowledger,
    mut handled: mpsc::Receiver<Handled>,
    to_tell: mpsc::Sender<Aside>,
) -> Result<(), PipelineError> {
    while let Some(batch) = handled.recv().await {
        crash_point!("publishing");
        publish(&mut publisher, batch.outgoing).await?;
        arm(context, partition, &mut publisher, batch.rescheduled).await?;
        crash_point!("confirmed");
        // Only now: a message may also be one that cannot be answered.
        if !batch.suspects.is_empty() {
            delivery_attempts::clear(&context.pool, partition, &batch.suspects).await?;
        }
        acknowledger.ack_through(batch.ack_through).await?;
        crash_point!("acknowledged");
        if let Some(done) = batch.done {
            done.send(()).ok(); // whoever waits may have given up
        }
        if !batch.aside.armed.is_empty() || !batch.aside.announced.is_empty() {
            to_tell.send(batch.aside).await.map_err(|_| PipelineError::AnnounceEnded)?;
        }
    }
    Ok(())
}

async fn tell_all(
    context: &Context,
    partition: i32,
    mut publisher: Publisher,
    mut asides: mpsc::Receiver<Aside>,
) -> Result<(), PipelineError> {
    while let Some(aside) = asides.recv().await {
        arm(context, partition, &mut publisher, aside.armed).await?;
        tell(context, &mut publisher, &aside.announced).await?;
    }
    Ok(())
}

/// Sends wake-ups and notes those that the broker has taken.
async fn arm(
    context: &Context,
    partition: i32,
    publisher: &mut Publisher,
    armed: Vec<Arming>,
) -> Result<(), PipelineError> {
    if armed.is_empty() {
        return Ok(());
    }
    let (messages, hops): (Vec<Outgoing>, Vec<(Timestamp, Timestamp)>) =
        armed.into_iter().map(|(message, due_at, until)| (message, (due_at, until))).unzip();
    let fates = publish(publisher, messages).await?;
    let taken = hops.into_iter().zip(fates).filter(|(_, fate)| *fate == Fate::Routed);
    let sent: Vec<(Timestamp, Timestamp)> = taken.map(|(hop, _)| hop).collect();
    if !sent.is_empty()
        && let Err(error) = timers::mark_scheduled(&context.pool, partition, &sent).await
    {
        // The sweep arms them once more, which does no harm.
        warn!(%error, partition, "wake-ups are armed but not marked so");
    }
    Ok(())
}

/// Tells events and notices, and takes them from the outbox. What cannot be told now, or is told and
/// cannot be taken out, stays for the relay, which may tell it once more, under the same id.
async fn tell(
    context: &Context,
    publisher: &mut Publisher,
    announced: &[Pending],
) -> Result<(), PipelineError> {
    if left_undone!("untold") {
        return Ok(());
    }
    for part in announced.chunks(RELAY_BATCH_MAX as usize) {
        let messages: Vec<Outgoing> =
            part.iter().map(|pending| relay::outgoing(context, pending)).collect();
        let fates = publisher.publish(&messages).await?;
        let told: Vec<i64> = part
            .iter()
            .zip(fates)
            .filter(|(pending, fate)| relay::is_done(pending, *fate))
            .map(|(pending, _)| pending.seq)
            .collect();
        crash_point!("told");
        if let Err(error) = outbox::delete(&context.pool, &told).await {
            warn!(%error, "told, and left in the outbox");
        }
    }
    Ok(())
}

/// Publishes, trying again what the broker refuses. What stays refused or has no queue is done all
/// the same: answers are stored, and overdue instants are found by the sweep.
async fn publish(
    publisher: &mut Publisher,
    messages: Vec<Outgoing>,
) -> Result<Vec<Fate>, PipelineError> {
    if messages.is_empty() {
        return Ok(Vec::new());
    }
    let mut fates = publisher.publish(&messages).await?;
    for _ in 1..REFUSED_TRIES_MAX {
        let refused: Vec<usize> =
            (0..fates.len()).filter(|index| fates[*index] == Fate::Refused).collect();
        if refused.is_empty() {
            break;
        }
        let again: Vec<Outgoing> = refused.iter().map(|index| messages[*index].clone()).collect();
        for (index, fate) in refused.into_iter().zip(publisher.publish(&again).await?) {
            fates[index] = fate;
        }
    }
    for (message, fate) in messages.iter().zip(&fates) {
        match fate {
            Fate::Routed => {}
            Fate::Unroutable => {
                debug!(exchange = message.exchange, key = message.routing_key, "no queue for it");
            }
            Fate::Refused => {
                warn!(
                    exchange = message.exchange,
                    key = message.routing_key,
                    "refused by the broker"
                );
            }
        }
    }
    Ok(fates)
}
