//! Scene 1: accepted, reconfirmed, confirmed and billed.

use anyhow::Result;
use chrono::TimeDelta;
use holdfast::message::answer::{Answer, Notice, ReservationView};
use uuid::Uuid;

use crate::stage::{HALF_MINUTE_MINOR, LEAD_SECONDS, Stage, connection_url};
use crate::wait;

pub async fn play(stage: &mut Stage) -> Result<()> {
    stage.timeline.scene("1. Reconfirmed in time: confirmed and billed at the deadline");
    let window = stage.database.window(LEAD_SECONDS + 5, 30).await?;
    let held = stage.ann.accepted(&stage.solo, window).await?;
    let timeline = &stage.timeline;
    timeline.check("it is only held", held.state.as_str(), "held");
    let deadline_at = window.0 - TimeDelta::seconds(LEAD_SECONDS);
    timeline.check("the deadline is the lead time before the start", held.deadline_at, deadline_at);
    timeline.check("the price is quoted", held.price.amount_minor, HALF_MINUTE_MINOR);
    timeline.check_that("no connection data yet", held.connection.is_none());
    let message = stage.ann.reconfirm(&held).await?;
    let answer = stage.ann.answer_to(&message).await?;
    let reconfirmed = matches!(answer, Answer::Reconfirmed { .. });
    stage.timeline.check_that("the reconfirmation is accepted", reconfirmed);
    check_confirmed(stage, &held).await?;
    stage.ended(held.id, "confirmed", "ann");
    Ok(())
}

/// Ann's reservation is confirmed and billed, once.
pub async fn check_confirmed(stage: &Stage, held: &ReservationView) -> Result<()> {
    let timeline = &stage.timeline;
    let Notice::Confirmed { reservation, charge, .. } = stage.ann.notice_about(held.id).await?
    else {
        timeline.mismatch(&format!("reservation {} was cancelled", held.id));
        return Ok(());
    };
    let url = reservation.connection.map(|connection| connection.url);
    timeline.check("the notice tells where to go", url, Some(connection_url(&held.server)));
    stage.check_lateness(held.id).await?;
    check_event(stage, held, charge).await?;
    let billed: i64 = stage
        .database
        .ask(
            "select count(*) from billing_entries where reservation_id = $1 and id = $2
             and kind = 'charge' and amount_minor = $3",
            &[&held.id, &charge, &held.price.amount_minor],
        )
        .await?;
    timeline.check("the charge is in the ledger", billed, 1);
    timeline.check("one notice", stage.ann.heard.notices_about(held.id).len(), 1);
    Ok(())
}

/// The biller has received the charge, once.
async fn check_event(stage: &Stage, held: &ReservationView, charge: Uuid) -> Result<()> {
    let about = || {
        let mut events = stage.biller.events();
        events.retain(|event| event.subject == held.id);
        events
    };
    let what = format!("the biller hears of reservation {}", held.id);
    wait::until(&what, async || Ok(!about().is_empty())).await?;
    let told: Vec<(Uuid, i64)> =
        about().iter().map(|event| (event.id, event.data.amount_minor)).collect();
    let expected = vec![(charge, held.price.amount_minor)];
    stage.timeline.check("one event, with the id and amount of the charge", told, expected);
    Ok(())
}
