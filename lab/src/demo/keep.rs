//! `--keep`: leaves a running installation to inspect.

use anyhow::Result;

use crate::stage::{LEAD_SECONDS, Stage};
use crate::timeline::print;
use crate::words::time_of_day;

/// How long the remaining hold stays one.
const HELD_SECONDS: i64 = 3_600;

/// Makes a reservation that stays held.
pub async fn hold_one(stage: &mut Stage) -> Result<()> {
    stage.timeline.scene("One more, for you");
    let window = stage.database.window(LEAD_SECONDS + HELD_SECONDS, 30).await?;
    let held = stage.ann.accepted(&stage.cam, window).await?;
    let until = format!("it stays held until {}", time_of_day(held.deadline_at));
    stage.timeline.did("clock", &until);
    stage.ended(held.id, "held", "ann");
    Ok(())
}

/// Prints commands to paste.
pub fn explain(stage: &Stage) {
    let (binary, cam) = (stage.operator.binary.display(), &stage.cam);
    let (ann, bob) = (&stage.ann.amqp_url, &stage.bob.amqp_url);
    print(&format!(
        "\nStill running: {}. In a shell with this stack's DATABASE_URL and AMQP_URL:\n\n\
         holdfast={binary}\nann='{ann}'\nbob='{bob}'",
        stage.workers.names().join(", ")
    ));
    for ending in &stage.endings {
        let (id, terminal) = (ending.reservation, ending.terminal);
        print(&format!("\n# {}", ending.how));
        print(&format!("$holdfast client show {id} --amqp-url \"${terminal}\""));
        print(&format!("$holdfast reservation history {id}"));
    }
    let held = stage.endings.iter().find(|ending| ending.how == "held");
    if let Some(held) = held {
        let id = held.reservation;
        print(&format!(
            "\n# what is billed from now on; for something to see, have one confirmed\n\
             $holdfast billing tail\n\
             $holdfast client request --server {cam} --start +60s --end +120s --amqp-url \"$ann\"\n\
             $holdfast client reconfirm ID --server {cam} --amqp-url \"$ann\"\n\
             $holdfast client reconfirm {id} --server {cam} --amqp-url \"$ann\""
        ));
    }
    print("");
}
