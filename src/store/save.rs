//! Writes a batch's changes in bulk and commits, in one round trip.

use std::collections::{BTreeSet, HashMap, HashSet};

use deadpool_postgres::ClientWrapper;
use uuid::Uuid;

use super::access::NewKeys;
use super::error::StoreError;
use super::outbox::{GRACE_SECONDS, OutboxMessage, Pending};
use super::sequence::{Param, execute, rows, run, send};
use super::statements;
use crate::crash_point;
use crate::domain::access::FIRST_EPOCH;
use crate::domain::input::Digest;
use crate::domain::interval::Timestamp;
use crate::domain::outcome::{Cause, Changes, Transition};
use crate::domain::reservation::{Reservation, State};
use crate::domain::snapshot::Snapshot;
use crate::domain::trace::Trace;
use crate::message::event::{charge_id, credit_id};

/// A decided command with its answer.
pub struct DecidedCommand {
    pub terminal: String,
    pub message_id: String,
    pub kind: &'static str,
    /// Tells a repeat from another command under the same id.
    pub digest: Digest,
    /// The decision, in a word.
    pub outcome: String,
    pub answer_type: &'static str,
    pub answer: String,
    /// The server in the routing key.
    pub server: String,
    /// The reservation made or changed.
    pub reservation: Option<Uuid>,
    /// Place in the batch's decision order.
    pub order: u32,
}

pub struct Save<'a> {
    /// `None` for an operator's cancellation, which has no queue. No worker has its outbox messages at
    /// hand, so the relay takes them at once.
    pub partition: Option<i32>,
    /// Reservations after the batch.
    pub snapshot: &'a Snapshot,
    pub changes: &'a Changes,
    /// In lock order: by terminal and message id.
    pub commands: &'a [DecidedCommand],
    pub messages: Vec<OutboxMessage>,
    /// Of what is confirmed; `None`: keys are not in use.
    pub keys: Option<NewKeys>,
}

statements!(
    lock_use,
    insert_reservations,
    update_reservations,
    update_reminded,
    draw_block,
    insert_history,
    insert_access,
    rotate_access,
    update_closed,
    insert_billing_entries,
    insert_outbox_messages,
    insert_timers,
    move_servers,
    delete_timers,
    insert_processed_commands,
);

pub struct Saved {
    /// Instants that need a wake-up, each with its partition.
    pub unscheduled: Vec<(i32, Timestamp)>,
    /// Bills and notices to publish.
    pub pending: Vec<Pending>,
    /// Whether there are copies of events for the relay.
    pub copies: bool,
}

/// The commit is sent without waiting for the writes, so the guard's locks last for no round trip. If a
/// write fails, the commit rolls back, and the write's error is returned.
pub async fn save_and_commit(client: &ClientWrapper, save: Save<'_>) -> Result<Saved, StoreError> {
    let on = Statements::prepare(client).await?;
    let Changes { transitions, finished, .. } = save.changes;
    let numbered = !transitions.is_empty() || !save.commands.is_empty();

    // Before the locks on users, which other batches share.
    let pointers = send(insert_outbox_messages(client, &on, &save)).await?;
    let locked = send(lock_use(client, &on, &save)).await?;
    // Before the inserts: the guard judges each statement, and a new reservation may take what another
    // gives back.
    let updated = send(update_reservations(client, &on, &save)).await?;
    let inserted = send(insert_reservations(client, &on, &save)).await?;
    let reminded = send(update_reminded(client, &on, &save)).await?;
    // Under the locks of all writes above.
    let drawn = send(execute(client, numbered, &on.draw_block, [])).await?;
    let history = send(insert_history(client, &on, &save)).await?;
    let keyed = send(insert_access(client, &on, &save)).await?;
    let rotated = send(rotate_access(client, &on, &save)).await?;
    let closed = send(update_closed(client, &on, &save)).await?;
    let billed = send(insert_billing_entries(client, &on, &save)).await?;
    let unscheduled = send(insert_timers(client, &on, &save)).await?;
    // Behind all changes of reservations, which move along.
    let moved = send(move_servers(client, &on, &save)).await?;
    let finished: [Param<'_>; 2] = [&save.partition, finished];
    let ends = save.changes.finished.is_some();
    let deleted = send(execute(client, ends, &on.delete_timers, finished)).await?;
    let commands = send(insert_processed_commands(client, &on, &save)).await?;
    crash_point!("saved");
    let committed = send(run(client, "commit")).await?;

    let pointers = pointers.answer().await?;
    locked.answer().await?;
    updated.answer().await?;
    inserted.answer().await?;
    reminded.answer().await?;
    drawn.answer().await?;
    history.answer().await?;
    keyed.answer().await?;
    rotated.answer().await?;
    closed.answer().await?;
    billed.answer().await?;
    let mut unscheduled = unscheduled.answer().await?;
    unscheduled.extend(moved.answer().await?);
    deleted.answer().await?;
    commands.answer().await?;
    committed.answer().await?;
    let copies = save.messages.iter().any(|message| message.kind == "event");
    Ok(Saved { unscheduled, pending: pending(&pointers, save.messages), copies })
}

/// A message without a place in the outbox is left to a relay: after the commit nothing may fail.
fn pending(pointers: &HashMap<Uuid, i64>, messages: Vec<OutboxMessage>) -> Vec<Pending> {
    let place = |message: OutboxMessage| {
        let seq = *pointers.get(&message.id)?;
        Some(Pending::new(seq, message))
    };
    messages.into_iter().filter_map(place).collect()
}

async fn insert_timers(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<Vec<(i32, Timestamp)>, StoreError> {
    let instants: Vec<Timestamp> = save.changes.timers.iter().copied().collect();
    if instants.is_empty() {
        return Ok(Vec::new());
    }
    let rows = client.query(&statements.insert_timers, &[&save.partition, &instants]).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn move_servers(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<Vec<(i32, Timestamp)>, StoreError> {
    let fences: Vec<Uuid> = save.changes.fences.iter().copied().collect();
    let wanted = !fences.is_empty();
    let moved = rows(client, wanted, &statements.move_servers, [&fences]).await?;
    moved.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

async fn lock_use(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    let changes_use = |t: &&Transition| {
        t.from.is_none() || t.from == Some(State::Held) || t.to == State::Cancelled
    };
    let reservation = |t: &Transition| &save.snapshot.reservations[&t.reservation];
    let users: BTreeSet<&str> = save
        .changes
        .transitions
        .iter()
        .filter(changes_use)
        .map(|transition| reservation(transition).user.as_str())
        .collect();
    let users: Vec<&str> = users.into_iter().collect();
    execute(client, !users.is_empty(), &statements.lock_use, [&users]).await
}

async fn insert_reservations(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    let new: Vec<&Reservation> = save
        .changes
        .transitions
        .iter()
        .filter(|transition| transition.from.is_none())
        .map(|transition| &save.snapshot.reservations[&transition.reservation])
        .collect();
    let column =
        |f: fn(&Reservation) -> String| -> Vec<String> { new.iter().map(|r| f(r)).collect() };
    let instants =
        |f: fn(&Reservation) -> Timestamp| -> Vec<Timestamp> { new.iter().map(|r| f(r)).collect() };
    execute(
        client,
        !new.is_empty(),
        &statements.insert_reservations,
        [
            &new.iter().map(|r| r.id).collect::<Vec<Uuid>>(),
            &column(|r| r.terminal.to_string()),
            &column(|r| r.message_id.clone()),
            &column(|r| r.user.to_string()),
            &column(|r| r.server.to_string()),
            &instants(|r| r.interval.start),
            &instants(|r| r.interval.end),
            &instants(|r| r.busy_until),
            &instants(|r| r.deadline_at),
            &column(|r| r.state.to_string()),
            &new.iter().map(|r| r.price_minor).collect::<Vec<i64>>(),
            &column(|r| r.currency.clone()),
            &new.iter().map(|r| r.tariff_version).collect::<Vec<i32>>(),
            &instants(|r| r.held_at),
            &new.iter().map(|r| r.settled_at).collect::<Vec<Option<Timestamp>>>(),
            &new.iter().map(|r| r.remind_at).collect::<Vec<Option<Timestamp>>>(),
            &new.iter().map(|r| traceparent(&r.trace)).collect::<Vec<_>>(),
            &new.iter().map(|r| tracestate(&r.trace)).collect::<Vec<_>>(),
            &save.partition,
        ],
    )
    .await
}

async fn update_reservations(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    // From the first state that the batch found to the last. Reservations made by this batch are inserted
    // in their last state.
    let mut seen = HashSet::new();
    let mut first: Vec<&Transition> = save
        .changes
        .transitions
        .iter()
        .filter(|transition| seen.insert(transition.reservation))
        .filter(|transition| transition.from.is_some() && !transition.is_note())
        .collect();
    first.sort_unstable_by_key(|transition| transition.reservation);
    let now = |t: &&Transition| &save.snapshot.reservations[&t.reservation];
    execute(
        client,
        !first.is_empty(),
        &statements.update_reservations,
        [
            &first.iter().map(|t| t.reservation).collect::<Vec<Uuid>>(),
            &first.iter().map(|t| t.from.map(|s| s.as_str())).collect::<Vec<_>>(),
            &first.iter().map(|t| now(t).state.as_str()).collect::<Vec<_>>(),
            &first.iter().map(|t| now(t).cancel_reason.map(|r| r.as_str())).collect::<Vec<_>>(),
            &first.iter().map(|t| now(t).reconfirmed_at).collect::<Vec<_>>(),
            &first.iter().map(|t| now(t).settled_at).collect::<Vec<_>>(),
            &first.iter().map(|t| traceparent(&now(t).trace)).collect::<Vec<_>>(),
            &first.iter().map(|t| tracestate(&now(t).trace)).collect::<Vec<_>>(),
        ],
    )
    .await
}

async fn update_reminded(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    let reminded: Vec<Uuid> = save.changes.reminders.iter().copied().collect();
    let statement = &statements.update_reminded;
    execute(client, !reminded.is_empty(), statement, [&reminded, &save.snapshot.now]).await
}

async fn insert_processed_commands(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    let rows = save.commands;
    let places: Vec<i64> = rows.iter().map(|row| i64::from(row.order)).collect();
    execute(
        client,
        !rows.is_empty(),
        &statements.insert_processed_commands,
        [
            &rows.iter().map(|row| row.terminal.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.message_id.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.kind).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.digest.as_slice()).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.outcome.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.answer_type).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.answer.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.server.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|row| row.reservation).collect::<Vec<_>>(),
            &places,
            &save.snapshot.now,
        ],
    )
    .await
}

async fn insert_history(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    let rows = &save.changes.transitions;
    let places: Vec<i64> = rows.iter().map(|t| i64::from(t.order)).collect();
    let reservation = |t: &Transition| &save.snapshot.reservations[&t.reservation];
    let by = |t: &Transition| match &t.cause {
        Cause::Terminal { .. } => ("terminal", "command"),
        Cause::Deadline { trigger, .. } => ("deadline", trigger.as_str()),
        Cause::Operator { .. } | Cause::Rotation { .. } => ("operator", "operator"),
        // No message leads to it.
        Cause::End { .. } => ("end", "sweep"),
    };
    let actor = |t: &Transition| match &t.cause {
        Cause::Terminal { terminal, .. } => Some(terminal.to_string()),
        Cause::Operator { operator, .. } | Cause::Rotation { operator, .. } => {
            Some(operator.clone())
        }
        Cause::Deadline { .. } | Cause::End { .. } => None,
    };
    let message = |t: &Transition| match &t.cause {
        Cause::Terminal { message_id, .. } => Some(message_id.clone()),
        _ => None,
    };
    let lateness = |t: &Transition| match &t.cause {
        Cause::Deadline { lateness_ms, .. } => Some(*lateness_ms),
        _ => None,
    };
    let reason = |t: &Transition| match &t.cause {
        Cause::Rotation { .. } => Some("key_rotated"),
        Cause::End { usage } => Some(usage.reason()),
        _ if t.to == State::Cancelled => reservation(t).cancel_reason.map(|reason| reason.as_str()),
        _ => None,
    };
    let note = |t: &Transition| match &t.cause {
        Cause::End { usage } => usage.note(),
        _ => t.note().map(str::to_owned),
    };
    execute(
        client,
        !rows.is_empty(),
        &statements.insert_history,
        [
            &places,
            &rows.iter().map(|t| t.reservation).collect::<Vec<_>>(),
            &rows.iter().map(|t| t.from.map(|s| s.as_str())).collect::<Vec<_>>(),
            &rows.iter().map(|t| t.to.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(reason).collect::<Vec<_>>(),
            &rows.iter().map(|t| by(t).0).collect::<Vec<_>>(),
            &rows.iter().map(actor).collect::<Vec<_>>(),
            &rows.iter().map(|t| by(t).1).collect::<Vec<_>>(),
            &rows.iter().map(message).collect::<Vec<_>>(),
            &rows.iter().map(lateness).collect::<Vec<_>>(),
            &rows.iter().map(|t| reservation(t).server.to_string()).collect::<Vec<_>>(),
            &rows.iter().map(note).collect::<Vec<_>>(),
            &rows.iter().map(|t| traceparent(&t.trace)).collect::<Vec<_>>(),
            &save.snapshot.now,
        ],
    )
    .await
}

async fn insert_access(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    let Some(NewKeys { secret, hashes }) = &save.keys else { return Ok(0) };
    let ids: Vec<Uuid> = hashes.keys().copied().collect();
    let hashes: Vec<&[u8]> = hashes.values().map(<[u8; 32]>::as_slice).collect();
    let statement = &statements.insert_access;
    execute(client, !ids.is_empty(), statement, [&ids, &hashes, secret, &FIRST_EPOCH]).await
}

async fn rotate_access(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    let ids = noted(save, |cause| matches!(cause, Cause::Rotation { .. }));
    execute(client, !ids.is_empty(), &statements.rotate_access, [&ids, &FIRST_EPOCH]).await
}

async fn update_closed(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    let ids = noted(save, |cause| matches!(cause, Cause::End { .. }));
    execute(client, !ids.is_empty(), &statements.update_closed, [&ids]).await
}

fn noted(save: &Save<'_>, is_wanted: fn(&Cause) -> bool) -> Vec<Uuid> {
    let wanted = save.changes.transitions.iter().filter(|t| is_wanted(&t.cause));
    wanted.map(|t| t.reservation).collect()
}

/// A charge per confirmation; a credit per cancelled confirmation.
async fn insert_billing_entries(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<u64, StoreError> {
    let billed = |t: &&Transition| t.is_charge() || t.is_credit();
    let rows: Vec<(bool, &Reservation)> = save
        .changes
        .transitions
        .iter()
        .filter(billed)
        .map(|t| (t.is_credit(), &save.snapshot.reservations[&t.reservation]))
        .collect();
    let id = |credit: bool, r: &Reservation| if credit { credit_id(r.id) } else { charge_id(r.id) };
    execute(
        client,
        !rows.is_empty(),
        &statements.insert_billing_entries,
        [
            &rows.iter().map(|(credit, r)| id(*credit, r)).collect::<Vec<_>>(),
            &rows.iter().map(|(credit, r)| credit.then(|| charge_id(r.id))).collect::<Vec<_>>(),
            &rows.iter().map(|(_, r)| r.id).collect::<Vec<_>>(),
            &rows.iter().map(|(_, r)| r.user.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|(_, r)| r.server.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|(_, r)| r.interval.seconds()).collect::<Vec<_>>(),
            &rows.iter().map(|(_, r)| r.price_minor).collect::<Vec<_>>(),
            &rows.iter().map(|(_, r)| r.currency.as_str()).collect::<Vec<_>>(),
            &rows.iter().map(|(_, r)| r.tariff_version).collect::<Vec<_>>(),
            &save.snapshot.now,
        ],
    )
    .await
}

/// Returns places in the outbox, by message id.
async fn insert_outbox_messages(
    client: &ClientWrapper,
    statements: &Statements,
    save: &Save<'_>,
) -> Result<HashMap<Uuid, i64>, StoreError> {
    let rows = &save.messages;
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let grace = if save.partition.is_none() { 0.0 } else { GRACE_SECONDS };
    let pointers = client
        .query(
            &statements.insert_outbox_messages,
            &[
                &rows.iter().map(|row| row.id).collect::<Vec<_>>(),
                &rows.iter().map(|row| row.kind).collect::<Vec<_>>(),
                &rows.iter().map(|row| row.type_name).collect::<Vec<_>>(),
                &rows.iter().map(|row| row.routing_key.as_str()).collect::<Vec<_>>(),
                &rows.iter().map(|row| row.must_route).collect::<Vec<_>>(),
                &rows.iter().map(|row| row.body.as_str()).collect::<Vec<_>>(),
                &rows.iter().map(|row| traceparent(&row.trace)).collect::<Vec<_>>(),
                &rows.iter().map(|row| tracestate(&row.trace)).collect::<Vec<_>>(),
                &save.snapshot.now,
                &grace,
            ],
        )
        .await?;
    pointers.iter().map(|row| Ok((row.try_get(1)?, row.try_get(0)?))).collect()
}

fn traceparent(trace: &Option<Trace>) -> Option<String> {
    trace.as_ref().map(|trace| trace.parent().to_string())
}

fn tracestate(trace: &Option<Trace>) -> Option<&str> {
    trace.as_ref().and_then(Trace::state)
}
