//! Scenes 2 and 3: a hold that is not reconfirmed, and a terminal that waits for its place.

use anyhow::Result;
use chrono::TimeDelta;
use holdfast::message::answer::{Answer, Notice, ReservationView};

use super::quota::refusal_code;
use crate::stage::{LEAD_SECONDS, Stage};

pub async fn play(stage: &mut Stage) -> Result<()> {
    stage.timeline.scene("2. Never reconfirmed: cancelled at the deadline");
    let window = stage.database.window(LEAD_SECONDS + 5, 60).await?;
    let held = stage.ann.accepted(&stage.cam, window).await?;

    stage.timeline.scene("3. Somebody else wants a part of that time");
    // It starts so much later that its own deadline is far: only the capacity prevents it.
    let wanted = (window.0 + TimeDelta::seconds(30), window.1 + TimeDelta::seconds(30));
    let answer = stage.bob.request(&stage.cam, wanted).await?;
    let code = refusal_code(&answer);
    stage.timeline.check("there is no room", code, Some("capacity_exceeded"));

    check_cancelled(stage, &held).await?;
    stage.ended(held.id, "cancelled, not_reconfirmed", "ann");

    let freed = stage.bob.accepted(&stage.cam, wanted).await?;
    stage.timeline.check("the same time is free now", freed.state.as_str(), "held");
    let answer = stage.bob.withdraw(&freed).await?;
    let withdrawn = matches!(answer, Answer::Withdrawn { .. });
    stage.timeline.check_that("bob may still give it back", withdrawn);
    stage.ended(freed.id, "cancelled, withdrawn", "bob");
    Ok(())
}

/// Ann's reservation is cancelled because it was not reconfirmed, and costs nothing.
pub async fn check_cancelled(stage: &Stage, held: &ReservationView) -> Result<()> {
    let timeline = &stage.timeline;
    let Notice::Cancelled { reservation, .. } = stage.ann.notice_about(held.id).await? else {
        timeline.mismatch(&format!("reservation {} was confirmed", held.id));
        return Ok(());
    };
    let reason = reservation.cancel_reason.as_deref();
    timeline.check("the notice says why", reason, Some("not_reconfirmed"));
    stage.check_lateness(held.id).await?;
    let query = "select count(*) from billing_entries where reservation_id = $1";
    let billed: i64 = stage.database.ask(query, &[&held.id]).await?;
    timeline.check("nothing is charged", billed, 0);
    Ok(())
}
