//! When servers were on their way to another partition.

use std::sync::Mutex;

use holdfast::domain::interval::Timestamp;

/// A command that moves servers, from its start to its end or to that of the command that took its moves
/// up.
struct Moving {
    /// The servers that it moves, or may move.
    servers: Vec<String>,
    from: Timestamp,
    /// `None` while it lasts.
    until: Option<Timestamp>,
    /// Whether its command has ended and may have left moves that are not over.
    left: bool,
}

#[derive(Default)]
pub struct Moves(Mutex<Vec<Moving>>);

impl Moves {
    /// From now on these servers may move. Returns a number for the other methods.
    pub fn begin(&self, servers: Vec<String>, now: Timestamp) -> usize {
        let mut all = self.0.lock().expect("no panics");
        all.push(Moving { servers, from: now, until: None, left: false });
        all.len() - 1
    }

    /// All moves are over, and no other servers than these have moved.
    pub fn end(&self, number: usize, servers: Vec<String>, now: Timestamp) {
        let moving = &mut self.0.lock().expect("no panics")[number];
        moving.servers = servers;
        moving.until = Some(now);
        moving.left = false;
    }

    /// The command has ended before its moves.
    pub fn leave(&self, number: usize) {
        self.0.lock().expect("no panics")[number].left = true;
    }

    /// Commands whose moves are still to be taken up.
    pub fn left(&self) -> Vec<usize> {
        let all = self.0.lock().expect("no panics");
        all.iter().enumerate().filter(|(_, moving)| moving.left).map(|(number, _)| number).collect()
    }

    /// These moves were taken up, and are over.
    pub fn taken_up(&self, numbers: &[usize], now: Timestamp) {
        let mut all = self.0.lock().expect("no panics");
        for number in numbers {
            all[*number].until = Some(now);
            all[*number].left = false;
        }
    }

    /// Whether the server may have been on its way at any time between these two.
    pub fn between(&self, server: &str, from: Timestamp, until: Timestamp) -> bool {
        self.0.lock().expect("no panics").iter().any(|moving| {
            let meanwhile = moving.from <= until && moving.until.is_none_or(|end| end >= from);
            meanwhile && moving.servers.iter().any(|moved| moved == server)
        })
    }
}
