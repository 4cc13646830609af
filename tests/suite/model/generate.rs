//! Invents batches: small scenes around the places where rules meet.

use holdfast::domain::id::{ServerId, TerminalId};
use holdfast::domain::input::{Action, Command, Digest, Fence, Input};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use uuid::Uuid;

use super::target::{Target, any_desk, pick, wake_up};
use super::times;
use super::truth::{House, Row, Truth, interval};

/// Invents batches and remembers what it has sent, to repeat it.
#[derive(Default)]
pub struct Inventor {
    serial: u64,
    sent: Vec<Command>,
    fences: Vec<Fence>,
}

impl Inventor {
    pub fn batch(&mut self, rng: &mut StdRng, truth: &Truth) -> Vec<Input> {
        let mut steps = Vec::new();
        for _ in 0..rng.random_range(1..=8) {
            steps.extend(self.fence(rng, truth).map(Input::Fence));
            self.scene(rng, truth, &mut steps);
        }
        for step in &steps {
            if let Input::Command(command) = step {
                self.sent.push(command.clone());
            }
        }
        let old = self.sent.len().saturating_sub(40);
        self.sent.drain(..old);
        steps
    }

    fn scene(&mut self, rng: &mut StdRng, truth: &Truth, steps: &mut Vec<Input>) {
        match rng.random_range(0..100) {
            0..42 => {
                let request = self.request(rng, truth);
                steps.push(request);
            }
            42..58 => {
                let target = pick(rng, truth, steps);
                let step = self.about(rng, truth, &target);
                steps.push(step);
            }
            58..80 => self.around_a_deadline(rng, truth, steps),
            80..92 => self.again(rng, truth, steps),
            _ => self.free_and_take(rng, truth, steps),
        }
    }

    fn request(&mut self, rng: &mut StdRng, truth: &Truth) -> Input {
        let desk = any_desk(rng, truth);
        let house = truth.houses.choose(rng).expect("there are some");
        let server = match rng.random_range(0..100) {
            0..3 => no_server(),
            _ => house.id.clone(),
        };
        let span = times::wanted(rng, truth, house);
        let action = Action::Request(interval(span));
        Input::Command(self.command(desk, server, action))
    }

    /// A command about one reservation, mostly by its own user and along the right way.
    fn about(&mut self, rng: &mut StdRng, truth: &Truth, target: &Target) -> Input {
        let action = match rng.random_range(0..100) {
            0..73 => Action::Reconfirm(target.id),
            _ => Action::Withdraw(target.id),
        };
        let theirs = truth.desks.iter();
        let theirs: Vec<_> =
            theirs.filter(|desk| Some(&desk.user) == target.user.as_ref()).collect();
        let desk = match theirs.choose(rng) {
            Some(desk) if rng.random_bool(0.92) => desk.id.clone(),
            _ => any_desk(rng, truth),
        };
        let server = match rng.random_range(0..100) {
            0..2 => no_server(),
            2..6 => any_house(rng, truth),
            _ => target.server.clone(),
        };
        Input::Command(self.command(desk, server, action))
    }

    /// A wake-up, with commands about the same reservations right before and behind it.
    fn around_a_deadline(&mut self, rng: &mut StdRng, truth: &Truth, steps: &mut Vec<Input>) {
        let unsettled: Vec<&Row> = truth.rows.iter().filter(|row| row.unsettled()).collect();
        let overdue: Vec<&Row> =
            unsettled.iter().copied().filter(|row| row.deadline <= truth.now).collect();
        let row = if rng.random_bool(0.9) { overdue.choose(rng) } else { unsettled.choose(rng) };
        let Some(row) = row else {
            if rng.random_bool(0.1) {
                steps.push(Input::WakeUp(wake_up(rng, truth, truth.now)));
            }
            return;
        };
        let target = Target::of(row);
        for before in [true, false] {
            if rng.random_bool(0.5) {
                let step = self.about(rng, truth, &target);
                steps.push(step);
            }
            if before {
                steps.push(Input::WakeUp(wake_up(rng, truth, row.deadline)));
            }
        }
    }

    /// Something that was sent before, under the same message id: as it was, or something else.
    fn again(&mut self, rng: &mut StdRng, truth: &Truth, steps: &mut Vec<Input>) {
        let mut candidates: Vec<&Command> = self.sent.iter().collect();
        for step in steps.iter() {
            if let Input::Command(command) = step {
                candidates.extend([command; 6]);
            }
        }
        let Some(command) = candidates.choose(rng).copied() else {
            return;
        };
        let mut command = command.clone();
        match rng.random_range(0..10) {
            0..6 => {}
            6..9 => {
                command.digest = self.digest();
                command.server = any_house(rng, truth);
            }
            // Another terminal has ids of its own.
            _ => command.terminal = any_desk(rng, truth),
        }
        steps.push(Input::Command(command));
    }

    /// Mostly the fence of a server that leaves; now and then one that changes nothing.
    fn fence(&mut self, rng: &mut StdRng, truth: &Truth) -> Option<Fence> {
        let fence = |house: &House| {
            let id = house.moving.map_or_else(Uuid::nil, |moving| moving.fence);
            Fence { server: house.id.clone(), id }
        };
        if rng.random_bool(0.01) {
            let stale = Fence { server: no_server(), id: Uuid::nil() };
            return Some(self.fences.choose(rng).cloned().unwrap_or(stale));
        }
        if rng.random_bool(0.002) {
            // Of no move, or read in another partition than the one that the server leaves.
            let others = truth.houses.iter().filter(|house| !house.leaves());
            let others = others.filter(|house| house.moving.is_none_or(|moving| !moving.both));
            return others.collect::<Vec<_>>().choose(rng).map(|house| fence(house));
        }
        let leaving: Vec<&House> = truth.houses.iter().filter(|house| house.leaves()).collect();
        let due = leaving.choose(rng).filter(|_| rng.random_bool(0.15)).map(|house| fence(house));
        self.fences.extend(due.clone());
        due
    }

    /// Withdraws a reservation and asks for the same time again.
    fn free_and_take(&mut self, rng: &mut StdRng, truth: &Truth, steps: &mut Vec<Input>) {
        let unsettled: Vec<&Row> = truth.rows.iter().filter(|row| row.unsettled()).collect();
        let Some(row) = unsettled.choose(rng) else {
            return;
        };
        let withdraw = Action::Withdraw(row.id);
        let server = row.server.clone();
        let withdraw = self.command(row.terminal.clone(), server.clone(), withdraw);
        let request = Action::Request(interval((row.start, row.end)));
        let desk = if rng.random_bool(0.5) { row.terminal.clone() } else { any_desk(rng, truth) };
        let request = self.command(desk, server, request);
        steps.push(Input::Command(withdraw));
        steps.push(Input::Command(request));
    }

    fn command(&mut self, terminal: TerminalId, server: ServerId, action: Action) -> Command {
        let digest = self.digest();
        let message_id = format!("m{}", self.serial);
        Command { terminal, message_id, digest, server, action, trace: None }
    }

    fn digest(&mut self) -> Digest {
        self.serial += 1;
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&self.serial.to_le_bytes());
        digest
    }
}

/// Some server.
pub fn any_house(rng: &mut StdRng, truth: &Truth) -> ServerId {
    truth.houses.choose(rng).expect("there are some").id.clone()
}

/// A server that there is not.
pub fn no_server() -> ServerId {
    ServerId::parse("no-such-server").unwrap()
}
