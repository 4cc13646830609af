//! Faults of the broker and its queues.

use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast::broker::delay::level_name;
use holdfast::broker::routes;
use holdfast::broker::topology::{BILLING_QUEUE, partition_queue, reply_queue};
use lapin::options::{QueueDeleteOptions, QueuePurgeOptions};
use nix::sys::signal::Signal;

use super::engines::BROKER_LOG;
use super::{Chaos, Engines};
use crate::pick::Pick;
use crate::queues::not_empty;

/// How long until terminals notice that their connection is lost.
const NOTICED_WITHIN: Duration = Duration::from_secs(2);

/// Bound on applying the topology while other faults last.
const APPLIED_WITHIN: Duration = Duration::from_secs(60);

/// What the broker logs for each consumer that it cancels.
const TIMED_OUT: &str = "timed out waiting for";

/// Defaults, as set in `.dev`.
const DISK_LIMIT: &str = "200MB";
const MEMORY_LIMIT: [&str; 2] = ["absolute", "2GB"];

pub async fn restart(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let engines = chaos.engines()?;
    chaos.ground.broker_restarts();
    engines.control(&["stop_app"]).await?;
    chaos.hold(pick.millis(0, 5_000)).await;
    engines.control(&["start_app"]).await?;
    engines.broker_up(&chaos.installation).await?;
    chaos.ground.broker_restarts();
    Ok(format!("in order; {}", reached(chaos).await?))
}

pub async fn kill(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let engines = chaos.engines()?;
    chaos.ground.broker_restarts();
    engines.kill_broker().await?;
    chaos.hold(pick.millis(0, 5_000)).await;
    engines.start_broker()?;
    engines.broker_up(&chaos.installation).await?;
    chaos.ground.broker_restarts();
    Ok(format!("SIGKILL, and started again; {}", reached(chaos).await?))
}

/// Restarts the broker while no worker runs: it takes commands, and workers decide them later.
pub async fn restart_alone(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let mut siege = chaos.siege.lock().await;
    let killed = siege.kill_all();
    let waiting = waiting_alone(chaos, pick).await;
    siege.restore().await?;
    killed?;
    waiting
}

async fn waiting_alone(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let how = if pick.chance(50) { restart(chaos, pick).await? } else { kill(chaos, pick).await? };
    chaos.hold(pick.millis(2_000, 6_000)).await;
    let partitions = (0..chaos.installation.shape().await?.partitions).map(partition_queue);
    let amqp = chaos.installation.amqp().await?;
    let waiting = not_empty(&amqp, &partitions.collect::<Vec<_>>()).await?;
    amqp.close().await.context("closing")?;
    let waiting: u32 = waiting.iter().map(|(_, messages)| messages).sum();
    anyhow::ensure!(waiting > 0, "nobody has sent anything");
    Ok(format!("{how}; {waiting} messages wait for the first worker"))
}

/// Commands of all servers find a queue as soon as the broker is back, whether workers are or not.
async fn reached(chaos: &Chaos) -> Result<String> {
    let servers: Vec<String> =
        chaos.ground.servers.iter().map(|server| server.id.clone()).collect();
    let amqp = chaos.installation.amqp().await?;
    let lost = routes::unreachable(&amqp, &servers).await?;
    amqp.close().await.context("closing")?;
    if !lost.is_empty() {
        chaos.setting.tally.failed(format!("no queue takes commands of {}", lost.join(", ")));
    }
    Ok(format!("{} servers are reached", servers.len() - lost.len()))
}

pub async fn freeze(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let (engines, duration) = (chaos.engines()?, pick.millis(2_000, 30_000));
    engines.signal_broker(Signal::SIGSTOP)?;
    chaos.hold(duration).await;
    engines.signal_broker(Signal::SIGCONT)?;
    engines.broker_up(&chaos.installation).await?;
    Ok(format!("for {:.1} s", duration.as_secs_f64()))
}

pub async fn disk_alarm(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let (engines, duration) = (chaos.engines()?, pick.millis(3_000, 15_000));
    engines.control(&["set_disk_free_limit", "900GB"]).await?;
    chaos.hold(duration).await;
    let blocked = blocked(engines).await;
    engines.control(&["set_disk_free_limit", DISK_LIMIT]).await?;
    Ok(format!("{} connections blocked for {:.1} s", blocked?, duration.as_secs_f64()))
}

/// How many connections are blocked from publishing. An error if none is.
async fn blocked(engines: &Engines) -> Result<usize> {
    let states = engines.control(&["list_connections", "--silent", "state"]).await?;
    let blocked = states.lines().filter(|state| state.starts_with("block")).count();
    anyhow::ensure!(blocked > 0, "nobody is blocked");
    Ok(blocked)
}

pub async fn memory_alarm(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let (engines, duration) = (chaos.engines()?, pick.millis(3_000, 15_000));
    engines.control(&["set_vm_memory_high_watermark", "0.00001"]).await?;
    chaos.hold(duration).await;
    let blocked = blocked(engines).await;
    let [kind, limit] = MEMORY_LIMIT;
    engines.control(&["set_vm_memory_high_watermark", kind, limit]).await?;
    Ok(format!("{} connections blocked for {:.1} s", blocked?, duration.as_secs_f64()))
}

/// Has the broker close every connection of the vhost.
pub async fn close_connections(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    let before = chaos.setting.tally.losses.get();
    close_all(chaos).await?;
    chaos.hold(NOTICED_WITHIN).await;
    let noticed = chaos.setting.tally.losses.get() - before;
    anyhow::ensure!(noticed > 0, "no terminal has noticed");
    Ok(format!("terminals lost {noticed} connections"))
}

async fn close_all(chaos: &Chaos) -> Result<()> {
    let vhost = &chaos.installation.name;
    let close = ["close_all_connections", "--vhost", vhost, "chaos"];
    chaos.engines()?.control(&close).await.map(drop)
}

/// Makes the broker cancel consumers that acknowledge nothing for some seconds, while locks on all
/// servers block every decision. The broker looks once a minute.
pub async fn ack_timeout(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    let engines = chaos.engines()?;
    let database = chaos.installation.database().await?;
    let before = engines.lines_in_log(BROKER_LOG, TIMED_OUT);
    engines.control(&["eval", &ack_timeout_setting(10_000)]).await?;
    // A channel keeps the limit that was set when it was opened.
    close_all(chaos).await?;
    database.batch_execute("begin; select id from servers for update").await?;
    chaos.hold(Duration::from_secs(85)).await;
    database.batch_execute("rollback").await?;
    engines.control(&["eval", &ack_timeout_setting(1_800_000)]).await?;
    close_all(chaos).await?;
    let given_up = engines.lines_in_log(BROKER_LOG, TIMED_OUT) - before;
    anyhow::ensure!(given_up > 0, "the broker has given nobody up");
    Ok(format!("of 10 s, for 85 s: {given_up} consumers given up"))
}

fn ack_timeout_setting(millis: u32) -> String {
    format!("application:set_env(rabbit, consumer_timeout, {millis}).")
}

/// Deletes a terminal's reply queue with its answers, and restores it later.
pub async fn delete_reply_queue(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let terminal = &chaos.terminals[pick.index(chaos.terminals.len())];
    terminal.rob();
    let lost = delete(chaos, &reply_queue(&terminal.id)).await?;
    chaos.hold(pick.millis(200, 6_000)).await;
    chaos.installation.restore_replies(&terminal.id).await?;
    Ok(format!("of {}, with {lost} answers", terminal.id))
}

/// Deletes a partition's queue with its commands and its servers' bindings while a worker consumes it, and
/// restores both later.
pub async fn delete_partition(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let partition = partition(chaos, pick).await?;
    let lost = delete(chaos, &partition).await;
    // Even if the rest fails, it may be deleted.
    chaos.ground.wiped.lock().expect("no panics").push(chaos.ground.clock.now());
    for confirmed in chaos.ground.poison.lock().expect("no panics").values_mut() {
        *confirmed = false; // it may have been in the queue
    }
    chaos.hold(pick.millis(200, 3_000)).await;
    let restored = chaos.apply(APPLIED_WITHIN).await;
    // Until now, commands may have been returned.
    chaos.ground.wiped.lock().expect("no panics").push(chaos.ground.clock.now());
    restored?;
    Ok(format!("{partition}, with {} messages", lost?))
}

/// The queue of a random partition.
async fn partition(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let partitions = usize::try_from(chaos.installation.shape().await?.partitions)?;
    Ok(partition_queue(i32::try_from(pick.index(partitions))?))
}

/// Returns how many messages it held.
async fn delete(chaos: &Chaos, queue: &str) -> Result<u32> {
    let amqp = chaos.installation.amqp().await?;
    let channel = amqp.create_channel().await?;
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
    let lost = deleted.await.with_context(|| format!("deleting {queue}"))?;
    amqp.close().await.context("closing")?;
    Ok(lost)
}

/// Purges all wake-ups from the delay ladder.
pub async fn purge_ladder(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    let levels = chaos.installation.shape().await?.delay_levels;
    let amqp = chaos.installation.amqp().await?;
    let channel = amqp.create_channel().await?;
    let mut purged = 0;
    for level in 0..levels {
        let name = level_name(level);
        purged += channel.queue_purge(name.as_str().into(), QueuePurgeOptions::default()).await?;
    }
    amqp.close().await?;
    anyhow::ensure!(purged > 0, "none was on its way");
    Ok(format!("{purged} wake-ups"))
}

/// Makes the billing queue refuse events while its consumer pauses.
pub async fn full_billing_queue(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    chaos.biller.sleep(true);
    let full = full(chaos, pick, BILLING_QUEUE).await;
    let waiting = waiting_events(chaos).await;
    chaos.biller.sleep(false);
    Ok(format!("{}: {} events wait in the database", full?, waiting?))
}

/// How many events have waited in the outbox for a second, longer than the relay needs otherwise.
/// An error if there are none.
async fn waiting_events(chaos: &Chaos) -> Result<i64> {
    let query = "select count(*) from outbox o join outbox_messages a on a.id = o.outbox_message_id
                 where a.kind = 'event' and a.created_at < clock_timestamp() - interval '1 s'";
    let waiting = chaos.installation.database().await?.query_one(query, &[]).await?.get(0);
    anyhow::ensure!(waiting > 0, "no event was refused");
    Ok(waiting)
}

/// Makes a partition refuse commands and wake-ups. No worker runs meanwhile: messages that it took
/// would no longer count and would make room for others.
pub async fn full_partition(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let partition = partition(chaos, pick).await?;
    let before = chaos.setting.tally.refused.get();
    let mut siege = chaos.siege.lock().await;
    let killed = siege.kill_all();
    let full = full(chaos, pick, &partition).await;
    siege.restore().await?;
    killed?;
    let refused = chaos.setting.tally.refused.get() - before;
    anyhow::ensure!(refused > 0, "{partition}: no command was refused");
    Ok(format!("{}: {refused} commands refused", full?))
}

async fn full(chaos: &Chaos, pick: &mut Pick, queue: &str) -> Result<String> {
    let (engines, vhost) = (chaos.engines()?, &chaos.installation.name);
    let pattern = format!("^{}$", queue.replace('.', "\\."));
    let limit = r#"{"max-length":1}"#;
    // Above Holdfast's own policy.
    let priority = ["--priority", "2000"];
    let policy = ["set_policy", "-p", vhost, "chaos", &pattern, limit, "--apply-to", "queues"];
    let policy = [&policy[..], &priority[..]].concat();
    engines.control(&policy).await?;
    let duration = pick.millis(3_000, 12_000);
    chaos.hold(duration).await;
    engines.control(&["clear_policy", "-p", vhost, "chaos"]).await?;
    Ok(format!("{queue} for {:.1} s", duration.as_secs_f64()))
}
