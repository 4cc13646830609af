//! Chooses what commands and wake-ups are about.

use holdfast::domain::id::{ServerId, TerminalId, UserId, reservation_id};
use holdfast::domain::input::{Action, Command, Input, Trigger, WakeUp};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::truth::{Row, Truth, instant};

/// What a command is about: a reservation, its user and its server as far as they are known.
pub struct Target {
    pub id: Uuid,
    pub user: Option<UserId>,
    pub server: ServerId,
}

impl Target {
    pub fn of(row: &Row) -> Self {
        Self { id: row.id, user: Some(row.user.clone()), server: row.server.clone() }
    }
}

/// Some terminal, rarely one that does not exist.
pub fn any_desk(rng: &mut StdRng, truth: &Truth) -> TerminalId {
    if rng.random_bool(0.01) {
        return TerminalId::parse("nobody").unwrap();
    }
    truth.desks.choose(rng).expect("there are some").id.clone()
}

/// A reservation: mostly a recent one, maybe of this very batch, rarely none at all.
pub fn pick(rng: &mut StdRng, truth: &Truth, steps: &[Input]) -> Target {
    let recent: Vec<&Row> = truth.rows.iter().rev().take(16).collect();
    let here: Vec<(usize, &Command)> = steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| match step {
            Input::Command(command) => Some((index, command)),
            Input::WakeUp(_)
            | Input::Fence(_)
            | Input::Cancel(_)
            | Input::Rotate(_)
            | Input::Close(_) => None,
        })
        .collect();
    match rng.random_range(0..100) {
        0..70 => recent.choose(rng).map(|row| Target::of(row)),
        70..80 => truth.rows.choose(rng).map(Target::of),
        80..96 => here.choose(rng).and_then(|(index, command)| match command.action {
            Action::Request(_) => Some(Target {
                id: drawn(truth, *index, command),
                user: truth.desk(&command.terminal).map(|desk| desk.user.clone()),
                server: command.server.clone(),
            }),
            _ => None,
        }),
        _ => None,
    }
    .unwrap_or(Target {
        id: Uuid::nil(),
        user: None,
        server: truth.houses.first().expect("there is one").id.clone(),
    })
}

/// The id that a request gets if it is accepted, at its place in the batch that is decided now.
pub fn drawn(truth: &Truth, index: usize, command: &Command) -> Uuid {
    reservation_id(instant(truth.now), index, &command.terminal, &command.message_id)
}

/// A wake-up for an instant or near it; early, due, or an intermediate hop.
pub fn wake_up(rng: &mut StdRng, truth: &Truth, deadline: i64) -> WakeUp {
    let due_at = match rng.random_range(0..100) {
        0..80 => deadline,
        80..85 => truth.now,
        85..90 => truth.now + rng.random_range(-1..=1),
        _ => deadline + rng.random_range(-3..=3) * truth.tick,
    };
    let scheduled_until = match rng.random_range(0..100) {
        0..75 => due_at + 250_000,
        75..80 => due_at.max(truth.now) + 250_001,
        80..85 => due_at,
        85..90 => due_at - 1,
        90..95 => due_at - 1_000,
        _ => due_at - 5 * truth.tick,
    };
    WakeUp {
        due_at: instant(due_at),
        scheduled_until: instant(scheduled_until),
        trigger: if rng.random_bool(0.7) { Trigger::Message } else { Trigger::Sweep },
    }
}
