//! Scene 6: all workers are down while a deadline passes.

use anyhow::Result;
use holdfast::broker::topology::partition_queue;
use holdfast::domain::interval::Timestamp;
use holdfast::message::answer::{Answer, ReservationView};
use uuid::Uuid;

use super::confirmed::check_confirmed;
use super::freed::check_cancelled;
use super::quota::refusal_code;
use crate::broker::{self, WakeUps};
use crate::stage::{LEAD_SECONDS, Stage};
use crate::wait::{self, PATIENCE};

pub async fn play(stage: &mut Stage) -> Result<()> {
    stage.timeline.scene("6. No worker is there at the deadline");
    let window = stage.database.window(LEAD_SECONDS + 7, 30).await?;
    let kept = stage.ann.accepted(&stage.duo, window).await?;
    let left = stage.ann.accepted(&stage.duo, window).await?;
    stage.workers.stop_all().await?;
    let mut line = Line::watch(stage, kept.id).await?;

    let in_time = stage.ann.reconfirm(&kept).await?;
    check_receipt(stage, &kept).await?;
    deadline_passes(stage, &mut line, kept.deadline_at).await?;
    let late = stage.ann.reconfirm(&left).await?;

    stage.start_workers().await?;
    let answer = stage.ann.answer_to(&in_time).await?;
    let reconfirmed = matches!(answer, Answer::Reconfirmed { .. });
    stage.timeline.check_that("in time is what the broker had in time", reconfirmed);
    check_confirmed(stage, &kept).await?;
    let answer = stage.ann.answer_to(&late).await?;
    let code = refusal_code(&answer);
    stage.timeline.check("late is what came after the deadline", code, Some("already_cancelled"));
    check_cancelled(stage, &left).await
}

/// The publisher confirm arrives before the deadline, by the database's clock.
async fn check_receipt(stage: &Stage, held: &ReservationView) -> Result<()> {
    let left = (held.deadline_at - stage.database.now().await?).as_seconds_f64();
    let words = format!("publisher confirm, {left:.1} s before the deadline");
    stage.timeline.said("broker", stage.ann.id(), &words);
    stage.timeline.check_that("the broker had it in time", left > 0.0);
    let state = stage.database.state_of(held.id).await?;
    stage.timeline.check("nobody has decided about it", state.as_str(), "held");
    Ok(())
}

/// Waits until the deadline has passed and its wake-up is in the queue.
async fn deadline_passes(stage: &Stage, line: &mut Line, deadline_at: Timestamp) -> Result<()> {
    wait::until("the deadline passes", async || Ok(stage.database.now().await? > deadline_at))
        .await?;
    stage.timeline.did("clock", "the deadline passes");
    line.wake_up_arrived(stage, deadline_at).await?;
    let past = stage.database.now().await? - deadline_at;
    let words = format!("wake-up in line, {} ms after the deadline", past.num_milliseconds());
    stage.timeline.did("delay ladder", &words);
    Ok(())
}

/// The queue with the reconfirmations and wake-ups of one partition.
struct Line {
    queue: String,
    /// Messages that it held before.
    before: u32,
    wake_ups: WakeUps,
}

impl Line {
    /// Starts to watch the partition of a reservation while it has no consumer.
    async fn watch(stage: &Stage, reservation: Uuid) -> Result<Self> {
        let partition = stage.database.partition_of(reservation).await?;
        let queue = partition_queue(partition);
        let before = broker::depth(&stage.broker, &queue).await?.ready;
        let wake_ups = WakeUps::watch(&stage.broker, partition).await?;
        Ok(Self { queue, before, wake_ups })
    }

    /// Waits until a deadline's wake-up is behind the one reconfirmation. Wake-ups of other
    /// deadlines, such as of withdrawn reservations, may arrive too.
    async fn wake_up_arrived(&mut self, stage: &Stage, due_at: Timestamp) -> Result<()> {
        let what = "the deadline's wake-up comes out of the delay ladder";
        wait::within(what, PATIENCE, self.wake_ups.arrival(due_at)).await?;
        let expected = self.before + 1 + self.wake_ups.seen;
        let arrived =
            async || Ok(broker::depth(&stage.broker, &self.queue).await?.ready >= expected);
        wait::until("the deadline's wake-up stands in line", arrived).await
    }
}
