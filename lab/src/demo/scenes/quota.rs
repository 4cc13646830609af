//! Scene 4: a quota that is used up.

use anyhow::Result;
use chrono::{DurationRound, TimeDelta};
use holdfast::message::answer::Answer;

use crate::stage::{Stage, TIM_QUOTA_SECONDS};

/// Two of them are more than the quota.
const LENGTH_SECONDS: i64 = 40;

pub async fn play(stage: &mut Stage) -> Result<()> {
    stage.timeline.scene("4. The user's quota is used up");
    // Within one minute, so that it never straddles two quota periods.
    let minute = TimeDelta::minutes(1);
    let start = stage.database.now().await?.duration_trunc(minute)? + minute * 10;
    let window = (start, start + TimeDelta::seconds(LENGTH_SECONDS));
    let held = stage.tim.accepted(&stage.hall, window).await?;

    let answer = stage.tim.request(&stage.hall, window).await?;
    stage.timeline.check("refused", refusal_code(&answer), Some("quota_exceeded"));
    let receipts: Vec<_> = match &answer {
        Answer::Refused { quota, .. } => quota
            .iter()
            .map(|receipt| (receipt.limit_seconds, receipt.used_seconds, receipt.requested_seconds))
            .collect(),
        _ => Vec::new(),
    };
    let expected = vec![(TIM_QUOTA_SECONDS, LENGTH_SECONDS, LENGTH_SECONDS)];
    stage.timeline.check("the receipt says limit, used and requested", receipts, expected);

    stage.tim.withdraw(&held).await?;
    let again = stage.tim.accepted(&stage.hall, window).await?;
    stage.timeline.check("time given back can be used", again.state.as_str(), "held");
    stage.tim.withdraw(&again).await?;
    Ok(())
}

/// The code of a refusal.
pub fn refusal_code(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Refused { code, .. } => Some(code),
        _ => None,
    }
}
