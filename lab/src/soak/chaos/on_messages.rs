//! Faults by messages: repeats, forged wake-ups, and messages that are no commands.

use std::time::Duration;

use anyhow::{Context as _, Result};
use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use holdfast::broker::delay::{DUE_EXCHANGE, partition_word};
use holdfast::broker::publisher::{Fate, Outgoing, Publisher};
use holdfast::broker::topology::COMMANDS_EXCHANGE;
use holdfast::client::Command;
use holdfast::domain::input::{Trigger, WakeUp};
use holdfast::message::wake_up;
use serde_json::json;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use super::Chaos;
use crate::pick::Pick;
use crate::record::{Heard, Intent, MALFORMED, RETURNED, Record};
use crate::terminal::Terminal;

/// Commands in a burst.
const BURST: usize = 20;

/// Messages in a flood, half of them queries: several times the burst that the limits allow.
const FLOOD: usize = 4_000;

/// The limits of commands to a partition and of queries to a worker during a flood: far more than any other
/// terminal sends. There are several workers, and each lets as many queries pass.
const FLOOD_LIMITS: [i32; 2] = [100, 30];

/// How long until workers know the limits: they read them every two seconds.
const LIMIT_KNOWN_WITHIN: Duration = Duration::from_secs(3);

/// How long until even the worker that is frozen longest knows that the limits are lifted.
const LIFTED_EVERYWHERE_WITHIN: TimeDelta = TimeDelta::seconds(60);

/// Bound on setting the limits: a database that was replaced may never answer.
const LIMIT_SET_WITHIN: Duration = Duration::from_secs(5);

/// How long to wait for the first refusals.
const LIMITED_WITHIN: Duration = Duration::from_secs(20);

/// Most floods, if too little of them is rate limited: the broker may be away.
const FLOODS_MAX: usize = 4;

/// Most tries to lift the limits, one second apart: the database may be away.
const LIFT_TRIES_MAX: usize = 60;

/// Sends commands of one terminal again, shuffled, some of them several times.
pub async fn duplicates(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let terminal = chaos.terminals[pick.index(chaos.terminals.len())].clone();
    let mut intents: Vec<Intent> = {
        let record = terminal.record();
        let sent = record.sent.values().map(|sent| sent.intent.clone());
        let mut intents: Vec<Intent> = sent.collect();
        intents.sort_unstable_by(|a, b| a.command.message_id.cmp(&b.command.message_id));
        intents
    };
    pick.shuffle(&mut intents);
    intents.truncate(BURST);
    let again: Vec<Intent> = intents.iter().filter(|_| pick.chance(40)).cloned().collect();
    intents.extend(again);
    pick.shuffle(&mut intents);
    let count = intents.len();
    anyhow::ensure!(count > 0, "{} has sent nothing yet", terminal.id);
    send(&terminal, intents).await?;
    Ok(format!("{count} commands of {}", terminal.id))
}

/// Sends other commands under message ids that were used before.
pub async fn reuse_ids(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let terminal = chaos.terminals[pick.index(chaos.terminals.len())].clone();
    let mut intents: Vec<Intent> = {
        let record = terminal.record();
        // Each id once, and only ids whose first command is answered.
        let free = |id: &String| !record.reused.contains_key(id);
        let taken = |id: &String| record.answer_to(id).is_some();
        let ids = record.sent.iter().filter(|(_, sent)| sent.intent.reservation.is_some());
        let ids = ids.filter(|(id, _)| free(id) && taken(id));
        ids.map(|(id, sent)| otherwise(id, &sent.intent)).collect()
    };
    anyhow::ensure!(!intents.is_empty(), "{} has changed nothing yet", terminal.id);
    intents.sort_unstable_by(|a, b| a.command.message_id.cmp(&b.command.message_id));
    pick.shuffle(&mut intents);
    intents.truncate(BURST);
    let count = intents.len();
    send(&terminal, intents).await?;
    Ok(format!("{count} of {}", terminal.id))
}

/// Another command under the message id of a reconfirmation or a withdrawal.
fn otherwise(id: &str, intent: &Intent) -> Intent {
    let server = intent.command.server.as_deref().unwrap_or_default();
    unasked(Command::withdraw(id, server, Uuid::nil()), &[crate::record::MISMATCH])
}

/// Reconfirms and withdraws reservations before they exist.
pub async fn too_soon(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let terminal = chaos.terminals[pick.index(chaos.terminals.len())].clone();
    let server = &chaos.ground.servers[pick.index(chaos.ground.servers.len())].id;
    let (one, other) = (Uuid::new_v4(), Uuid::new_v4());
    let commands = [
        Command::reconfirm(format!("early-{one}"), server, one),
        Command::withdraw(format!("early-{other}"), server, other),
    ];
    let intents = commands.map(|command| unasked(command, &["unknown_reservation"]));
    send(&terminal, intents.to_vec()).await?;
    Ok(format!("by {}", terminal.id))
}

/// Requests of a server that does not exist, which the broker must return.
pub async fn unknown_server(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let terminal = chaos.terminals[pick.index(chaos.terminals.len())].clone();
    let (start, end) = (chaos.ground.clock.now(), chaos.ground.clock.now() + TimeDelta::hours(1));
    let before = terminal.record().returned.len();
    let intents = (0..pick.number(1, 5)).map(|_| {
        let message_id = format!("nowhere-{}", Uuid::new_v4());
        unasked(Command::request(message_id, "no-such-server", start, end), RETURNED)
    });
    send(&terminal, intents.collect()).await?;
    let returned = terminal.record().returned.len() - before;
    anyhow::ensure!(returned > 0, "{} got nothing back", terminal.id);
    Ok(format!("{returned} requests of {} came back", terminal.id))
}

/// Sends malformed queries and commands, which must be refused.
pub async fn malformed(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let terminal = chaos.terminals[pick.index(chaos.terminals.len())].clone();
    let server = &chaos.ground.servers[pick.index(chaos.ground.servers.len())].id;
    let bodies: [&[u8]; 6] =
        [b"", b"{", b"[]", b"\xff\xfe", b"{\"reservation\":1}", b"{\"a\":1,\"a\":2}"];
    let allowed: &[&str] = &[
        MALFORMED,
        "invalid_encoding",
        "invalid_type",
        "unknown_field",
        "missing_field",
        "duplicate_field",
    ];
    let id = || format!("malformed-{}", Uuid::new_v4());
    let intents = bodies.iter().flat_map(|body| {
        [Command::show(id(), Uuid::nil()), Command::withdraw(id(), server, Uuid::nil())].map(
            |mut command| {
                command.body = body.to_vec();
                unasked(command, allowed)
            },
        )
    });
    let intents: Vec<Intent> = intents.collect();
    let count = intents.len();
    send(&terminal, intents).await?;
    Ok(format!("{count} messages of {}", terminal.id))
}

/// One terminal sends many queries, and many commands to one partition, under rate limits that refuse most
/// of both.
pub async fn flood(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let terminal = chaos.terminals[pick.index(chaos.terminals.len())].clone();
    terminal.begin_flood(chaos.ground.clock.now());
    let server = &chaos.ground.servers[pick.index(chaos.ground.servers.len())].id;
    let mut limited = limit(chaos, FLOOD_LIMITS.map(Some)).await.map(|()| [0; 2]);
    chaos.hold(LIMIT_KNOWN_WITHIN).await;
    for _ in 0..FLOODS_MAX {
        limited = flood_once(chaos, &terminal, server).await;
        if limited.is_ok() || chaos.stop.is_cancelled() {
            break;
        }
    }
    lift_limit(chaos).await?;
    terminal.end_flood(chaos.ground.clock.now() + LIFTED_EVERYWHERE_WITHIN);
    let [queries, commands] = limited?;
    Ok(format!(
        "{FLOOD} messages of {}, of which {queries} queries and {commands} commands were rate limited so far",
        terminal.id
    ))
}

/// Returns how many queries and commands are rate limited by the time that one of each is.
async fn flood_once(chaos: &Chaos, terminal: &Terminal, server: &str) -> Result<[usize; 2]> {
    let ids = || (0..FLOOD / 2).map(|_| format!("flood-{}", Uuid::new_v4())).collect();
    let [queries, commands]: [Vec<String>; 2] = [ids(), ids()];
    let show = |id: &String| {
        let command = Command::show(id.clone(), Uuid::nil());
        unasked(command, &["unknown_reservation"])
    };
    let start = chaos.ground.clock.now().trunc_subsecs(0) - TimeDelta::hours(1);
    let request = |id: &String| {
        let command = Command::request(id.clone(), server, start, start + TimeDelta::seconds(1));
        unasked(command, &["start_in_past"])
    };
    let intents = queries.iter().map(show).chain(commands.iter().map(request));
    send(terminal, intents.collect()).await?;
    let is_limited = |record: &Record, id: &String| {
        record.answers.get(id).into_iter().flatten().any(Heard::is_rate_limited)
    };
    let limited = terminal.found(LIMITED_WITHIN, |record| {
        let count = |ids: &[String]| ids.iter().filter(|id| is_limited(record, id)).count();
        Some([count(&queries), count(&commands)]).filter(|limited| !limited.contains(&0))
    });
    limited.await.context("too little was rate limited")
}

async fn limit(chaos: &Chaos, [commands, queries]: [Option<i32>; 2]) -> Result<()> {
    let setting = async {
        let database = chaos.installation.database().await?;
        let limits = "update policy set terminal_rate_max = $1, query_rate_max = $2";
        database.execute(limits, &[&commands, &queries]).await?;
        Ok(())
    };
    timeout(LIMIT_SET_WITHIN, setting).await.context("the limits cannot be set")?
}

async fn lift_limit(chaos: &Chaos) -> Result<()> {
    for _ in 1..LIFT_TRIES_MAX {
        if limit(chaos, [None; 2]).await.is_ok() {
            return Ok(());
        }
        sleep(Duration::from_secs(1)).await;
    }
    limit(chaos, [None; 2]).await
}

fn unasked(command: Command, allowed: &'static [&'static str]) -> Intent {
    Intent { command, reservation: None, allowed }
}

async fn send(terminal: &Terminal, intents: Vec<Intent>) -> Result<()> {
    let sendings = intents.iter().map(|intent| terminal.send(intent));
    futures::future::try_join_all(sendings).await.map(drop)
}

/// Sends wake-ups that no worker has scheduled, repeated and shuffled: intermediate hops for
/// deadlines to come, and late ones for deadlines that have passed. It sends no last hop for a
/// deadline to come: workers trust their own account and could not recognize it as wrong.
pub async fn wake_ups(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let database = chaos.installation.database().await?;
    let query = "select partition, deadline_at, deadline_at < clock_timestamp() from reservations
                 where deadline_at > clock_timestamp() - interval '20 s'
                 order by random() limit 12";
    let rows = database.query(query, &[]).await?;
    let mut wake_ups = Vec::new();
    for row in &rows {
        let (partition, due_at, passed): (i32, DateTime<Utc>, bool) =
            (row.get(0), row.get(1), row.get(2));
        let last = passed && pick.chance(70);
        let off = if last { pick.number(0, 250) } else { pick.number(-5_000, -1) };
        let scheduled_until = due_at + TimeDelta::milliseconds(off);
        let trigger = Trigger::Message;
        let copies = usize::try_from(pick.number(1, 3))?;
        wake_ups.extend(vec![(partition, WakeUp { due_at, scheduled_until, trigger }); copies]);
    }
    pick.shuffle(&mut wake_ups);
    let account = chaos.installation.broker.account().to_owned();
    let messages: Vec<Outgoing> = wake_ups
        .iter()
        .map(|(partition, wake)| Outgoing {
            routing_key: partition_word(*partition),
            user_id: Some(account.clone()),
            ..by_hand(DUE_EXCHANGE, &Uuid::new_v4().to_string(), wake_up::encode(wake).into_bytes())
        })
        .collect();
    anyhow::ensure!(!messages.is_empty(), "there is no deadline yet");
    publish(chaos, &messages).await?;
    Ok(format!("{} for {} deadlines", messages.len(), rows.len()))
}

/// Sends messages without a sender to answer, which must become dead letters.
pub async fn poison(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let partitions = usize::try_from(chaos.installation.shape().await?.partitions)?;
    let partition = partition_word(i32::try_from(pick.index(partitions))?);
    let terminal = &chaos.terminals[pick.index(chaos.terminals.len())].id;
    let (nobody, unreadable) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
    let account = chaos.installation.broker.account().to_owned();
    let messages = [
        Outgoing {
            routing_key: format!("{terminal}.request.{}", chaos.ground.servers[0].id),
            ..by_hand(COMMANDS_EXCHANGE, &nobody, b"{}".to_vec())
        },
        Outgoing {
            routing_key: partition,
            user_id: Some(account),
            ..by_hand(DUE_EXCHANGE, &unreadable, b"no wake-up".to_vec())
        },
    ];
    // Noted before sending: if that fails, they may have arrived.
    for id in [&nobody, &unreadable] {
        chaos.ground.poison.lock().expect("no panics").insert(id.clone(), false);
    }
    let fates = publish(chaos, &messages).await?;
    for (id, fate) in [nobody, unreadable].into_iter().zip(fates) {
        chaos.ground.poison.lock().expect("no panics").insert(id, fate == Fate::Routed);
    }
    Ok("a command of nobody and an unreadable wake-up".to_owned())
}

fn by_hand(exchange: &str, id: &str, body: Vec<u8>) -> Outgoing {
    Outgoing {
        exchange: exchange.to_owned(),
        routing_key: String::new(),
        message_id: id.to_owned(),
        type_name: holdfast::message::envelope::WAKE_UP_TYPE.to_owned(),
        correlation_id: None,
        content_type: "application/json",
        user_id: None,
        headers: Vec::new(),
        body,
        persistent: true,
    }
}

async fn publish(chaos: &Chaos, messages: &[Outgoing]) -> Result<Vec<Fate>> {
    let amqp = chaos.installation.amqp().await?;
    // Kept until the end: a channel that is closing blocks closing its connection.
    let mut publisher = Publisher::open(&amqp).await?;
    let fates = publisher.publish(messages).await?;
    for message in messages {
        let body = crate::history::text(&message.body);
        let details = json!({"id": message.message_id, "key": message.routing_key, "body": body});
        chaos.setting.history.note("by hand", details);
    }
    amqp.close().await?;
    Ok(fates)
}

/// Pauses the biller, so that events pile up.
pub async fn slow_biller(chaos: &Chaos, pick: &mut Pick) -> Result<String> {
    let duration = pick.millis(5_000, 30_000);
    chaos.biller.sleep(true);
    chaos.hold(duration).await;
    chaos.biller.sleep(false);
    Ok(format!("for {:.1} s", duration.as_secs_f64()))
}
