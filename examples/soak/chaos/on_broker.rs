//! Faults of the broker, and of what is on it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast::broker::delay::level_name;
use holdfast::broker::topology::{BILLING_QUEUE, partition_queue, reply_queue};
use lapin::options::{QueueDeleteOptions, QueuePurgeOptions};
use nix::sys::signal::Signal;

use super::Chaos;
use crate::installation::SHAPE;
use crate::pick::Pick;

/// As `.dev` sets them.
const DISK_LIMIT: &str = "200MB";
const MEMORY_LIMIT: [&str; 2] = ["absolute", "2GB"];

pub async fn restart(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let engines = chaos.engines()?;
    engines.control(&["stop_app"]).await?;
    chaos.hold(pick.millis(0, 5_000)).await;
    engines.control(&["start_app"]).await?;
    engines.broker_up(&chaos.installation).await?;
    Ok(format!("in order; {}", ring(chaos).await?))
}

pub async fn kill(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let engines = chaos.engines()?;
    engines.kill_broker().await?;
    chaos.hold(pick.millis(0, 5_000)).await;
    engines.start_broker()?;
    engines.broker_up(&chaos.installation).await?;
    Ok(format!("SIGKILL, and started again; {}", ring(chaos).await?))
}

/// The order in which the broker hashes servers to partitions. If it is another one than before,
/// servers have moved to other partitions.
async fn ring(chaos: &Chaos) -> Result<String> {
    let vhost = &chaos.installation.name;
    let queues = format!(
        "lists:flatten([[binary_to_list(element(4, Queue)), \" \"]
            || {{chx_hash_ring, {{resource, <<\"{vhost}\">>, exchange, _}}, Ring, _}}
                   <- ets:tab2list(rabbit_exchange_type_consistent_hash_ring_state),
               {{_, Queue}} <- lists:sort(maps:to_list(Ring))])."
    );
    let told = chaos.engines()?.control(&["eval", &queues]).await?;
    let prefix = partition_queue(0).trim_end_matches('0').to_owned();
    Ok(format!("partitions in the ring: {}", told.replace(&prefix, "").replace('"', "").trim()))
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
    engines.control(&["set_disk_free_limit", DISK_LIMIT]).await?;
    Ok(format!("for {:.1} s", duration.as_secs_f64()))
}

pub async fn memory_alarm(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let (engines, duration) = (chaos.engines()?, pick.millis(3_000, 15_000));
    engines.control(&["set_vm_memory_high_watermark", "0.00001"]).await?;
    chaos.hold(duration).await;
    let [kind, limit] = MEMORY_LIMIT;
    engines.control(&["set_vm_memory_high_watermark", kind, limit]).await?;
    Ok(format!("for {:.1} s", duration.as_secs_f64()))
}

/// The broker closes every connection of the vhost.
pub async fn close_connections(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    close_all(chaos).await?;
    Ok("all of them".to_owned())
}

async fn close_all(chaos: &Chaos) -> Result<()> {
    let vhost = &chaos.installation.name;
    let close = ["close_all_connections", "--vhost", vhost, "chaos"];
    chaos.engines()?.control(&close).await.map(drop)
}

/// The broker gives up consumers that acknowledge nothing for some seconds, while nothing can be
/// decided: somebody holds all servers. It looks once a minute.
pub async fn ack_timeout(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    let engines = chaos.engines()?;
    let database = chaos.installation.database().await?;
    engines.control(&["eval", &ack_timeout_setting(10_000)]).await?;
    // Channels know the limit of the time when they were opened.
    close_all(chaos).await?;
    database.batch_execute("begin; select id from servers for update").await?;
    chaos.hold(Duration::from_secs(85)).await;
    database.batch_execute("rollback").await?;
    engines.control(&["eval", &ack_timeout_setting(1_800_000)]).await?;
    close_all(chaos).await?;
    Ok("10 s, for 85 s".to_owned())
}

fn ack_timeout_setting(millis: u32) -> String {
    format!("application:set_env(rabbit, consumer_timeout, {millis}).")
}

/// A terminal's queue is deleted, with the answers in it, and comes back later.
pub async fn delete_reply_queue(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let terminal = &chaos.terminals[pick.index(chaos.terminals.len())];
    terminal.rob();
    delete(chaos, &reply_queue(&terminal.id)).await?;
    chaos.hold(pick.millis(200, 6_000)).await;
    chaos.installation.restore(std::slice::from_ref(&terminal.id)).await?;
    Ok(format!("of {}", terminal.id))
}

/// A queue that a worker consumes is deleted, with the commands in it, and comes back later.
pub async fn delete_partition(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let partition = partition_queue(i32::try_from(pick.index(SHAPE.partitions as usize))?);
    delete(chaos, &partition).await?;
    let wiped = chaos.ground.clock.now();
    chaos.hold(pick.millis(200, 3_000)).await;
    chaos.installation.restore(&[]).await?;
    chaos.ground.wiped.lock().expect("no panics").push(wiped);
    Ok(partition)
}

async fn delete(chaos: &Chaos, queue: &str) -> Result<()> {
    let amqp = chaos.installation.amqp().await?;
    let channel = amqp.create_channel().await?;
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
    deleted.await.with_context(|| format!("deleting {queue}"))?;
    amqp.close(200, "done".into()).await.context("closing")
}

/// Every wake-up that is on its way is thrown away.
pub async fn purge_ladder(chaos: &Chaos, _: &mut Pick) -> Result<String> {
    let amqp = chaos.installation.amqp().await?;
    let channel = amqp.create_channel().await?;
    let mut purged = 0;
    for level in 0..SHAPE.delay_levels {
        let name = level_name(level);
        purged += channel.queue_purge(name.as_str().into(), QueuePurgeOptions::default()).await?;
    }
    amqp.close(200, "done".into()).await?;
    Ok(format!("{purged} wake-ups"))
}

/// No event gets into the billing queue, whose reader sleeps.
pub async fn full_billing_queue(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    chaos.biller.sleep(true);
    let full = full(chaos, pick, BILLING_QUEUE).await;
    chaos.biller.sleep(false);
    full
}

/// No command gets into a partition, and no wake-up.
pub async fn full_partition(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let partition = partition_queue(i32::try_from(pick.index(SHAPE.partitions as usize))?);
    full(chaos, pick, &partition).await
}

async fn full(chaos: &Chaos, pick: &mut Pick, queue: &str) -> Result<String> {
    let (engines, vhost) = (chaos.engines()?, &chaos.installation.name);
    let pattern = format!("^{}$", queue.replace('.', "\\."));
    let limit = r#"{"max-length":1}"#;
    let policy = ["set_policy", "-p", vhost, "chaos", &pattern, limit, "--apply-to", "queues"];
    engines.control(&policy).await?;
    let duration = pick.millis(3_000, 12_000);
    chaos.hold(duration).await;
    engines.control(&["clear_policy", "-p", vhost, "chaos"]).await?;
    Ok(format!("{queue} for {:.1} s", duration.as_secs_f64()))
}
