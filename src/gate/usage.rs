//! What a gate saw: sessions of publishers, and when it watched. Kept until the database has it.

use std::collections::BTreeMap;

use chrono::TimeDelta;

use crate::domain::admission::code::Denial;
use crate::domain::admission::live::{Role, Session};
use crate::domain::admission::plan::Plan;
use crate::domain::interval::{Interval, Timestamp};
use crate::store::admissions::{Use, Watch};

/// Most sessions and watches that wait for the database, each: days of an outage.
const KEPT_MAX: usize = 10_000;

/// Most sessions that are written at a time.
const WRITTEN_MAX: usize = 500;

/// Longest id of a connection in a record; the rest of a record's name is a time.
const ID_LEN_MAX: usize = 64;

/// The list of clients is asked for every second; a gap longer than this is not watched.
const GAP_MAX: TimeDelta = TimeDelta::seconds(5);

/// Records that are not written yet.
#[derive(Default)]
pub struct Usage {
    /// By session. A record stays while its session lasts.
    sessions: BTreeMap<u64, Record>,
    watches: Vec<Watch>,
    lost: u64,
}

struct Record {
    seen: Use,
    written: bool,
}

/// What is written at once.
#[derive(Debug, Default, PartialEq)]
pub struct Batch {
    /// Sessions.
    pub sessions: Vec<(u64, Use)>,
    /// Watches.
    pub watches: Vec<Watch>,
}

impl Usage {
    /// The server has told who is connected.
    pub fn watched(&mut self, now: Timestamp) {
        match self.watches.last_mut() {
            // The database's clock may have been set back.
            Some(last) if now - last.until_at <= GAP_MAX && last.until_at <= now => {
                last.until_at = now;
            }
            _ => self.watches.push(Watch { from_at: now, until_at: now }),
        }
        if self.watches.len() > KEPT_MAX {
            self.watches.remove(0);
            self.lost += 1;
        }
    }

    /// A session is connected.
    pub fn seen(&mut self, now: Timestamp, plan: Option<&Plan>, session: &Session) {
        if session.client.role != Role::Publisher || !session.is_listed() {
            return;
        }
        let Some(reservation) = session.client.reservation() else { return };
        let window = plan.and_then(|plan| plan.get(reservation)).map(|entry| entry.window);
        let record = self.sessions.entry(session.serial).or_insert_with(|| Record {
            seen: Use {
                reservation,
                session: name(session),
                first_at: session.since,
                last_at: session.since,
                seconds: 0,
                ended: None,
            },
            written: false,
        });
        record.extend(now, window);
        self.bound();
    }

    /// A session is not connected any more.
    pub fn left(&mut self, session: &Session) {
        if let Some(record) = self.sessions.get_mut(&session.serial) {
            record.seen.ended = Some(ending(session.told));
            record.written = false;
        }
    }

    /// What to write now.
    pub fn batch(&self) -> Batch {
        let waiting = self.sessions.iter().filter(|(_, record)| !record.written);
        let waiting = waiting.map(|(serial, record)| (*serial, record.seen.clone()));
        Batch { sessions: waiting.take(WRITTEN_MAX).collect(), watches: self.watches.clone() }
    }

    /// The database has it.
    pub fn written(&mut self, batch: &Batch) {
        for (serial, written) in &batch.sessions {
            let Some(record) = self.sessions.get_mut(serial) else { continue };
            if record.seen != *written {
                continue;
            }
            record.written = true;
            if record.seen.ended.is_some() {
                self.sessions.remove(serial);
            }
        }
        // The last one may go on.
        if let Some(last) = batch.watches.last() {
            self.watches.retain(|watch| watch.from_at >= last.from_at);
        }
    }

    /// The database will never take these.
    pub fn discard(&mut self, batch: &Batch) {
        for (serial, _) in &batch.sessions {
            self.sessions.remove(serial);
        }
    }

    /// Records that were dropped because too many waited.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn bound(&mut self) {
        while self.sessions.len() > KEPT_MAX {
            self.sessions.pop_first();
            self.lost += 1;
        }
    }
}

impl Record {
    fn extend(&mut self, now: Timestamp, window: Option<Interval>) {
        if now <= self.seen.last_at {
            return;
        }
        self.seen.last_at = now;
        let seen = Interval { start: self.seen.first_at, end: now };
        let seconds = window.map_or(0, |window| window.shared_seconds(&seen));
        self.seen.seconds = i32::try_from(seconds).unwrap_or(i32::MAX).max(self.seen.seconds);
        self.written = false;
    }
}

/// Servers count connections anew when they start, so the time makes it unique.
fn name(session: &Session) -> String {
    let id: String = session.client.id.chars().filter(char::is_ascii).take(ID_LEN_MAX).collect();
    format!("{id}@{}", session.since.timestamp_millis())
}

fn ending(told: Option<Denial>) -> String {
    match told {
        None => "left".to_owned(),
        Some(Denial::Busy) => "taken_over".to_owned(),
        Some(why) => why.to_string(),
    }
}
