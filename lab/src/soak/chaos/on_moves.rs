//! Servers move to other partitions while their commands keep coming.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use holdfast::client::Command;
use holdfast::store::admin::topology::list_places;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::Chaos;
use crate::life::REQUESTED;
use crate::operator;
use crate::pick::Pick;
use crate::record::Intent;
use crate::servers::Server;

/// Requests for a server while it moves, and the time between two: some of them stand in its old queue,
/// some in its new one, and some in both.
const ASKERS: u32 = 60;
const PAUSE: Duration = Duration::from_millis(10);

/// From such a request to the deadline.
const AHEAD: Duration = Duration::from_secs(6);

/// Most partitions. Each takes its owner a session of the database.
const PARTITIONS_MAX: i32 = 8;

/// Bound on taking up moves here. When everything is healed, they are taken up in any case.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(60);

/// Moves a server. Sometimes its commands have to wait meanwhile, and sometimes the operator dies.
pub async fn server_move(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    take_up(chaos).await?;
    let server = chaos.ground.servers[pick.index(chaos.ground.servers.len())].clone();
    let from = place(chaos, &server.id).await?;
    let partitions = usize::try_from(chaos.installation.shape().await?.partitions)?;
    let step = i32::try_from(pick.index(partitions - 1) + 1)?;
    let to = (from + step) % i32::try_from(partitions)?;
    let limit = pick.chance(40).then(|| pick.millis(20, 600));
    let held = pick.chance(50).then(|| pick.millis(200, 1_200));
    let requests = requests(chaos, pick, &server);
    let number = chaos.ground.moves.begin(vec![server.id.clone()], chaos.ground.clock.now());
    let partition = to.to_string();
    let words = ["server", "move", &server.id, "--partition", &partition];
    let (moved, asked, waited) = tokio::join!(
        command(chaos, &words, limit.unwrap_or(operator::PATIENCE)),
        ask(chaos, requests),
        hold(chaos, &server.id, held)
    );
    let told = format!("{} from partition {from} to {to}", server.id);
    let how = match moved {
        Ok(true) => {
            chaos.ground.moves.end(number, vec![server.id], chaos.ground.clock.now());
            "to its end".to_owned()
        }
        Ok(false) => {
            chaos.ground.moves.leave(number);
            left(chaos, pick, &server, to).await.with_context(|| told.clone())?
        }
        Err(error) => {
            chaos.ground.moves.leave(number);
            take_up(chaos).await?;
            return Err(error);
        }
    };
    asked?;
    let waited = if waited? { "; its commands had to wait" } else { "" };
    Ok(format!("{told}, {how}{waited}; {ASKERS} requests meanwhile"))
}

/// What becomes of a move whose operator was killed: sooner or later the next one takes it up. Workers
/// go on by themselves after ten seconds.
async fn left(chaos: &Chaos, pick: &mut Pick, server: &Server, to: i32) -> Result<String> {
    let killed = Instant::now();
    chaos
        .hold(pick.weighted(&[(75, Duration::from_millis(500)), (25, Duration::from_secs(13))]))
        .await;
    take_up(chaos).await?;
    let seconds = killed.elapsed().as_secs_f64();
    if place(chaos, &server.id).await? != to {
        bail!("its operator was killed before it began");
    }
    Ok(format!("operator killed, over {seconds:.1} s later"))
}

/// Adds a partition, if there are not too many, and spreads the servers anew.
pub async fn partition_added(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    take_up(chaos).await?;
    let partitions = chaos.installation.shape().await?.partitions;
    let wanted = (partitions + 1).min(PARTITIONS_MAX);
    let text = wanted.to_string();
    let apply = ["topology", "apply", "--partitions", &text];
    if !command(chaos, &apply, operator::PATIENCE).await? {
        bail!("it took too long");
    }
    let before = places(chaos).await?;
    let servers = before.keys().cloned().collect();
    let number = chaos.ground.moves.begin(servers, chaos.ground.clock.now());
    let spread = command(chaos, &["topology", "rebalance"], operator::PATIENCE).await;
    if !matches!(spread, Ok(true)) {
        chaos.ground.moves.leave(number);
        take_up(chaos).await?;
        spread?;
        bail!("moving servers took too long");
    }
    let over = chaos.ground.clock.now();
    // If that cannot be read, any may have moved.
    let after = places(chaos).await.unwrap_or_default();
    let moved = before.iter().filter(|(server, place)| after.get(*server) != Some(*place));
    let moved: Vec<String> = moved.map(|(server, _)| server.clone()).collect();
    let count = moved.len();
    chaos.ground.moves.end(number, moved, over);
    Ok(format!("{wanted} partitions instead of {partitions}; {count} servers moved"))
}

/// Runs one of the operator's commands. Returns whether it came to its end; it is killed after a time, and
/// when everything is to be healed.
async fn command(chaos: &Chaos, words: &[&str], limit: Duration) -> Result<bool> {
    let run = operator::run_for(&chaos.program, &chaos.installation, words, limit);
    tokio::select! {
        ended = run => Ok(ended?.is_some()),
        () = chaos.stop.cancelled() => Ok(false),
    }
}

/// Takes up moves that earlier commands have left.
async fn take_up(chaos: &Chaos) -> Result<()> {
    if chaos.ground.moves.left().is_empty() {
        return Ok(());
    }
    tokio::select! {
        taken_up = chaos.apply(TAKEN_UP_WITHIN) => taken_up.context("taking up what was left"),
        () = chaos.stop.cancelled() => bail!("what was left is taken up later"),
    }
}

/// Requests for one place, so that most of them are refused.
fn requests(chaos: &Chaos, pick: &mut Pick, server: &Server) -> Vec<(usize, Intent)> {
    let (start, end) = server.window(chaos.ground.clock.now(), AHEAD, 1);
    let request = |_| {
        let message_id = format!("moved-{}", Uuid::new_v4());
        let command = Command::request(message_id, &server.id, start, end);
        let intent = Intent { command, reservation: None, allowed: REQUESTED };
        (pick.index(chaos.terminals.len()), intent)
    };
    (0..ASKERS).map(request).collect()
}

async fn ask(chaos: &Chaos, requests: Vec<(usize, Intent)>) -> Result<()> {
    let asking = (0..).zip(&requests).map(|(turn, (terminal, intent))| async move {
        sleep(PAUSE * turn).await;
        chaos.terminals[*terminal].send(intent).await
    });
    try_join_all(asking).await.map(drop)
}

/// Holds up all decisions about a server for a while. What its old queue has by then must still be decided
/// before what its new one gets.
async fn hold(chaos: &Chaos, server: &str, duration: Option<Duration>) -> Result<bool> {
    let Some(duration) = duration else { return Ok(false) };
    let database = chaos.installation.database().await?;
    database.batch_execute("begin").await?;
    // As workers lock it, so that a move of it can begin.
    let lock = "select id from servers where id = $1 for no key update";
    database.query(lock, &[&server]).await?;
    chaos.hold(duration).await;
    database.batch_execute("rollback").await?;
    Ok(true)
}

async fn places(chaos: &Chaos) -> Result<HashMap<String, i32>> {
    let places = list_places(&chaos.installation.database().await?).await?;
    Ok(places.into_iter().map(|placed| (placed.server, placed.partition)).collect())
}

async fn place(chaos: &Chaos, server: &str) -> Result<i32> {
    places(chaos).await?.remove(server).with_context(|| format!("there is no server {server}"))
}
