//! Scene 5: a worker is killed in the middle of a stream of requests.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use holdfast::client::Command;
use holdfast::domain::id::ServerId;
use holdfast::message::answer::{Answer, ReservationView};
use tokio::sync::watch;

use super::quota::refusal_code;
use crate::stage::{HALL_CAPACITY, Stage};
use crate::terminal::{Terminal, new_id};
use crate::wait::{self, PATIENCE};
use crate::words::Window;

/// Requests of each of the two terminals.
const REQUESTS: usize = 100;

/// Requests of these that are sent only once the worker is dead.
const AFTERWARDS: usize = 20;

/// Requests sent at once.
const CHUNK: usize = 4;

/// Answers that have arrived when the worker is killed.
const KILL_AFTER: usize = 60;

pub async fn play(stage: &mut Stage) -> Result<()> {
    stage.timeline.scene("5. A worker is killed, and nobody notices");
    let window = stage.database.window(3_600, 60).await?;
    let (ann, bob) = (requests(&stage.hall, window), requests(&stage.hall, window));
    let victim = owner(stage, &ann[0]).await?;
    stage.ann.set_quiet(true);
    stage.bob.set_quiet(true);
    stream(stage, victim, &ann, &bob).await?;
    let ann = answers(&stage.ann, &ann).await?;
    let bob = answers(&stage.bob, &bob).await?;
    stage.timeline.said("holdfast", "ann, bob", "everything is answered");
    check_answers(stage, [&ann, &bob]);
    check_stored(stage).await?;
    stage.timeline.said("ann, bob", "holdfast", "withdraw everything");
    give_back(&mut stage.ann, ann).await?;
    give_back(&mut stage.bob, bob).await?;
    stage.ann.set_quiet(false);
    stage.bob.set_quiet(false);
    let left = live_in_hall(stage).await?;
    stage.timeline.check("all of it is given back", left, 0);
    Ok(())
}

fn requests(server: &ServerId, window: Window) -> Vec<Command> {
    let request = |_| Command::request(new_id(), server.as_str(), window.0, window.1);
    (0..REQUESTS).map(request).collect()
}

/// The process that owns the hall's partition, which the first request reveals.
async fn owner(stage: &mut Stage, first: &Command) -> Result<i32> {
    stage.ann.send(first, "request hall, the first of many").await?;
    let Answer::Accepted { reservation, .. } = stage.ann.answer_to(&first.message_id).await? else {
        bail!("the hall is empty, but a request was not accepted");
    };
    let partition = stage.database.partition_of(reservation.id).await?;
    let ours = stage.workers.pids();
    let owner = async || {
        let live = stage.database.live_workers().await?;
        let owns = live.iter().find(|worker| worker.partitions.contains(&partition));
        Ok(owns.map(|worker| worker.pid).filter(|pid| ours.contains(pid)))
    };
    wait::found(&format!("partition {partition} has a worker"), PATIENCE, owner).await
}

/// Both terminals send, while the worker that answers them is killed and replaced.
async fn stream(
    stage: &mut Stage,
    victim: i32,
    ann_asks: &[Command],
    bob_asks: &[Command],
) -> Result<()> {
    let Stage { ann, bob, workers, timeline, .. } = stage;
    let total = ann_asks.len() + bob_asks.len();
    timeline.said("ann, bob", "holdfast", &format!("{total} requests for one time in the hall"));
    let (ann_heard, bob_heard) = (ann.heard.clone(), bob.heard.clone());
    let answered = || ann_heard.answered(ann_asks) + bob_heard.answered(bob_asks);
    let (dead_tx, dead) = watch::channel(false);
    let killing = async {
        wait::until("the answers flow", async || Ok(answered() >= KILL_AFTER)).await?;
        let name = workers.name_of(victim).context("the worker runs")?.to_owned();
        workers.kill(victim)?;
        timeline.did(&name, &format!("killed (SIGKILL) with {} answered", answered()));
        workers.start()?;
        dead_tx.send_replace(true);
        Ok(())
    };
    // The first request was sent to find the worker.
    let ann_sends = send(ann, &ann_asks[1..], dead.clone());
    let bob_sends = send(bob, bob_asks, dead);
    tokio::try_join!(ann_sends, bob_sends, killing)?;
    timeline.said("ann, bob", "holdfast", "all requests are sent");
    Ok(())
}

/// Sends in small portions, the last ones after the worker is dead.
async fn send(
    terminal: &mut Terminal,
    commands: &[Command],
    mut dead: watch::Receiver<bool>,
) -> Result<()> {
    let (before, after) = commands.split_at(commands.len() - AFTERWARDS);
    for chunk in before.chunks(CHUNK) {
        terminal.send_all(chunk).await?;
    }
    let killed = tokio::time::timeout(PATIENCE, dead.wait_for(|dead| *dead)).await;
    killed.context("the worker is not killed")?.context("the worker is not killed")?;
    terminal.send_all(after).await
}

/// A terminal's answers.
struct Answers {
    /// The first answer to each command.
    firsts: Vec<Answer>,
    /// Commands with repeated answers, always with the same bytes.
    repeated: usize,
    /// Commands with different answers.
    contradicted: usize,
}

/// Waits until every command is answered.
async fn answers(terminal: &Terminal, commands: &[Command]) -> Result<Answers> {
    let what = format!("{} gets all its answers", terminal.id());
    let all = async || Ok(terminal.heard.answered(commands) == commands.len());
    wait::until(&what, all).await?;
    let mut answers = Answers { firsts: Vec::new(), repeated: 0, contradicted: 0 };
    for command in commands {
        let bodies = terminal.heard.answers_to(&command.message_id);
        answers.firsts.push(serde_json::from_slice(&bodies[0])?);
        answers.repeated += usize::from(bodies.len() > 1);
        answers.contradicted += usize::from(bodies.iter().any(|body| *body != bodies[0]));
    }
    Ok(answers)
}

fn check_answers(stage: &Stage, both: [&Answers; 2]) {
    let timeline = &stage.timeline;
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for answer in both.iter().flat_map(|answers| &answers.firsts) {
        let outcome = refusal_code(answer).unwrap_or(answer.type_name());
        *outcomes.entry(outcome).or_default() += 1;
    }
    let expected = BTreeMap::from([
        ("reservation.accepted", HALL_CAPACITY),
        ("capacity_exceeded", 2 * REQUESTS - HALL_CAPACITY),
    ]);
    timeline.check("accepted what fits, refused the rest", outcomes, expected);
    let repeated = both[0].repeated + both[1].repeated;
    let what = format!("one answer each; {repeated} came again, byte for byte");
    timeline.check(&what, both[0].contradicted + both[1].contradicted, 0);
}

async fn check_stored(stage: &Stage) -> Result<()> {
    let live = live_in_hall(stage).await?;
    let expected = i64::try_from(HALL_CAPACITY)?;
    stage.timeline.check("as many reservations as were accepted", live, expected);
    Ok(())
}

async fn live_in_hall(stage: &Stage) -> Result<i64> {
    let query = "select count(*) from reservations where server_id = $1 and state <> 'cancelled'";
    stage.database.ask(query, &[&stage.hall.as_str()]).await
}

async fn give_back(terminal: &mut Terminal, answers: Answers) -> Result<()> {
    let withdraw = |view: &ReservationView| Command::withdraw(new_id(), &view.server, view.id);
    let accepted = answers.firsts.iter().filter_map(|answer| match answer {
        Answer::Accepted { reservation, .. } => Some(reservation),
        _ => None,
    });
    let commands: Vec<Command> = accepted.map(withdraw).collect();
    terminal.send_all(&commands).await?;
    let what = format!("{} has given everything back", terminal.id());
    wait::until(&what, async || Ok(terminal.heard.answered(&commands) == commands.len())).await
}
