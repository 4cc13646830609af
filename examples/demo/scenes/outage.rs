//! Scene 6: all workers are down while a deadline passes.

use anyhow::Result;
use chrono::TimeDelta;
use holdfast::broker::topology::partition_queue;
use holdfast::domain::interval::Instant;
use holdfast::message::answer::{Answer, ReservationView};

use super::confirmed::check_confirmed;
use super::freed::check_cancelled;
use super::quota::refusal_code;
use crate::broker;
use crate::stage::{LEAD_SECONDS, Stage};
use crate::wait;

pub async fn play(stage: &mut Stage) -> Result<()> {
    stage.timeline.scene("6. No worker is there at the deadline");
    let window = stage.database.window(LEAD_SECONDS + 7, 30).await?;
    let kept = stage.ann.accepted(&stage.duo, window).await?;
    let left = stage.ann.accepted(&stage.duo, window).await?;
    stage.workers.stop_all().await?;
    let queue = partition_queue(stage.database.partition_of(kept.id).await?);
    let before = broker::depth(&stage.broker, &queue).await?.ready;

    let in_time = stage.ann.reconfirm(&kept).await?;
    check_receipt(stage, &kept).await?;
    // The reconfirmation, and behind it the deadline's wake-up.
    deadline_passes(stage, &queue, before + 2, kept.deadline_at).await?;
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

/// The publisher confirm is in before the deadline, by the clock that counts.
async fn check_receipt(stage: &Stage, held: &ReservationView) -> Result<()> {
    let left = (held.deadline_at - stage.database.now().await?).as_seconds_f64();
    let words = format!("publisher confirm, {left:.1} s before the deadline");
    stage.timeline.said("broker", stage.ann.id(), &words);
    stage.timeline.check_that("the broker had it in time", left > 0.0);
    let state = stage.database.state_of(held.id).await?;
    stage.timeline.check("nobody has decided about it", state.as_str(), "held");
    Ok(())
}

/// Waits until the deadline is over and its wake-up stands in the queue.
async fn deadline_passes(
    stage: &Stage,
    queue: &str,
    ready: u32,
    deadline_at: Instant,
) -> Result<()> {
    wait::until("the deadline passes", async || Ok(stage.database.now().await? > deadline_at))
        .await?;
    stage.timeline.did("clock", "the deadline passes");
    let what = "the deadline's wake-up comes through the delay ladder";
    let arrived = async || Ok(broker::depth(&stage.broker, queue).await?.ready >= ready);
    wait::until(what, arrived).await?;
    let past = stage.database.now().await? - deadline_at;
    let words = format!("wake-up in line, {} ms after the deadline", past.num_milliseconds());
    stage.timeline.did("delay ladder", &words);
    stage.timeline.check_that("it is not early", past > TimeDelta::zero());
    Ok(())
}
