//! `--keep`: leaves a running installation to look around in, and says how.

use anyhow::Result;
use holdfast::client::Command;

use crate::stage::{LEAD_SECONDS, Stage};
use crate::terminal::new_id;
use crate::timeline::print;
use crate::words::{time_of_day, window};

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

/// Leaves a message that nobody could decide: its terminal is missing in the database, as in one that was
/// restored from before the terminal was added.
pub async fn park_one(stage: &mut Stage) -> Result<()> {
    stage.timeline.scene("And a message that nobody could decide, for you");
    let mut eve = stage.add_terminal("eve").await?;
    stage.database.forget_terminal(eve.id()).await?;
    stage.timeline.did("database", "does not know that terminal any more, as if restored");
    let wanted = stage.database.window(LEAD_SECONDS + HELD_SECONDS, 30).await?;
    let request = Command::request(new_id(), stage.hall.as_str(), wanted.0, wanted.1);
    eve.send(&request, &format!("request {} {}", stage.hall, window(wanted))).await?;
    eve.answer_to(&request.message_id).await?;
    stage.parked = Some(eve);
    Ok(())
}

/// Prints commands to paste.
pub fn explain(stage: &Stage) {
    let running = stage.workers.described().join("\n#   ");
    print(&format!(
        "\n# Still running: the engines, and\n#   {running}\n\
         # In a shell in which the variables below, and the three that ./dev exports at the end, are set, paste what \
         you\n# want to see. docs/operations.md says more about each.\n\n\
         holdfast={}\nann='{}'\nbob='{}'",
        stage.operator.binary.display(),
        stage.ann.amqp_url,
        stage.bob.amqp_url
    ));
    print("\n# How it is doing, and what is wrong\n$holdfast status\n$holdfast doctor");
    explain_endings(stage);
    explain_billing(stage);
    explain_workers(stage);
    explain_parked(stage);
    explain_broker(stage);
    print("");
}

fn explain_endings(stage: &Stage) {
    print("\n# What became of a reservation, and why");
    for ending in &stage.endings {
        let (id, terminal) = (ending.reservation, ending.terminal);
        print(&format!("# {}", ending.how));
        print(&format!("$holdfast client show {id} --amqp-url \"${terminal}\""));
        print(&format!("$holdfast reservation history {id}"));
    }
}

fn explain_billing(stage: &Stage) {
    let (cam, held) = (&stage.cam, stage.endings.iter().find(|ending| ending.how == "held"));
    let Some(held) = held else { return };
    let id = held.reservation;
    print(&format!(
        "\n# What is billed from now on, in a shell of its own; and something to see there: ID is that of the answer\n\
         $holdfast billing tail\n\
         $holdfast client request --server {cam} --start +60s --end +120s --amqp-url \"$ann\"\n\
         $holdfast client reconfirm ID --server {cam} --amqp-url \"$ann\"\n\
         $holdfast client reconfirm {id} --server {cam} --amqp-url \"$ann\""
    ));
}

/// How to see a worker go.
fn explain_workers(stage: &Stage) {
    let Some(pid) = stage.workers.pids().first().copied() else { return };
    print(&format!(
        "\n# Kill a worker, and see another take its partitions over within seconds; then start a new one\n\
         kill -9 {pid}; $holdfast status --watch 1\n\
         HOLDFAST_HTTP_LISTEN=127.0.0.1:0 $holdfast worker  # until Ctrl-C"
    ));
}

fn explain_parked(stage: &Stage) {
    let Some(eve) = &stage.parked else { return };
    let (id, user) = (eve.id(), stage.named("eve"));
    print(&format!(
        "\n# A message that nobody could decide: look at it, mend its cause, and have it decided. ID is that of the list\n\
         $holdfast dead-letter list\n\
         $holdfast dead-letter show ID\n\
         $holdfast dead-letter replay ID --dry-run\n\
         $holdfast terminal add {id} --user {user}\n\
         $holdfast dead-letter replay ID --why 'its terminal is known again'\n\
         $holdfast client list --amqp-url '{}'",
        eve.amqp_url
    ));
}

/// How to see the broker go; only of a broker that `./dev` has started.
fn explain_broker(stage: &Stage) {
    let Some(rabbitmqctl) = &stage.rabbitmqctl else { return };
    // Another than the one that is to be killed.
    let Some(worker) = stage.workers.addresses().last().map(|at| format!("http://{at}")) else {
        return;
    };
    let metrics = format!("curl -s {worker}/metrics | grep ^holdfast_ready");
    let look = format!("curl -s {worker}/ready; {metrics}; $holdfast status");
    print(&format!(
        "\n# Stop the broker, see what a worker, its metrics and status say, and start it again\n\
         {rabbitmqctl} stop_app\n{look}\n{rabbitmqctl} start_app\n{look}"
    ));
}
