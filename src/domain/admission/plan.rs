//! What is reserved on one streaming server, as far as a gate knows.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::TimeDelta;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::interval::{Interval, Timestamp};

/// SHA-256 of an access key's text. A gate never has the key of a reservation that nobody uses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of what a client presents as its key.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }
}

impl fmt::Debug for KeyHash {
    /// Four bytes tell keys apart in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A reservation that was confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id, which is also the public name of its stream.
    pub reservation: Uuid,
    /// When it may be used.
    pub window: Interval,
    /// Cancelled after the confirmation.
    pub cancelled: bool,
    /// Its key's hash.
    pub key: KeyHash,
    /// Most reservations of its server at a time.
    pub capacity: usize,
    /// Most viewers at a time; `None`: no limit.
    pub viewers_max: Option<usize>,
    /// How long before its start the server admits a publisher.
    pub early_seconds: i64,
    /// Turn-around time after its end.
    pub gap_seconds: i64,
}

impl Entry {
    /// When a publisher may come if a place is free. A grace longer than the gap would reach into the
    /// reservation before, so there is none then.
    pub fn early_start(&self) -> Timestamp {
        let grace = if self.early_seconds <= self.gap_seconds { self.early_seconds } else { 0 };
        self.window.start - TimeDelta::seconds(grace)
    }

    /// Whether it is its time now, and it is not cancelled.
    pub fn open(&self, now: Timestamp) -> bool {
        !self.cancelled && self.window.start <= now && now < self.window.end
    }
}

/// All entries of one server, and how old the knowledge is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    as_of: Timestamp,
    entries: BTreeMap<Uuid, Entry>,
    by_key: HashMap<KeyHash, Uuid>,
}

impl Plan {
    /// What the database had at `as_of`, by its clock.
    pub fn new(as_of: Timestamp, entries: impl IntoIterator<Item = Entry>) -> Self {
        let entries: BTreeMap<_, _> =
            entries.into_iter().map(|entry| (entry.reservation, entry)).collect();
        let by_key = entries.values().map(|entry| (entry.key, entry.reservation)).collect();
        Self { as_of, entries, by_key }
    }

    /// Takes in rows that have changed, as the database had them at `as_of`. Returns whether anything is
    /// different now.
    pub fn merge(&mut self, as_of: Timestamp, changed: impl IntoIterator<Item = Entry>) -> bool {
        self.as_of = self.as_of.max(as_of);
        let mut different = false;
        for entry in changed {
            let (id, key) = (entry.reservation, entry.key);
            if self.entries.get(&id) == Some(&entry) {
                continue;
            }
            different = true;
            if let Some(old) = self.entries.insert(id, entry) {
                self.by_key.remove(&old.key);
            }
            self.by_key.insert(key, id);
        }
        different
    }

    /// Time of the database's clock up to which everything committed is in here.
    pub fn as_of(&self) -> Timestamp {
        self.as_of
    }

    /// Whether it is too old to admit anybody.
    pub fn stale(&self, now: Timestamp, stale_max: TimeDelta) -> bool {
        now - self.as_of > stale_max
    }

    /// By id.
    pub fn get(&self, reservation: Uuid) -> Option<&Entry> {
        self.entries.get(&reservation)
    }

    /// The reservation that a key opens.
    pub fn with_key(&self, key: &KeyHash) -> Option<&Entry> {
        self.entries.get(self.by_key.get(key)?)
    }

    /// All, by id.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    /// The first end of a window after `now`: when to look again who must go.
    pub fn next_end(&self, now: Timestamp) -> Option<Timestamp> {
        self.entries.values().map(|entry| entry.window.end).filter(|end| *end > now).min()
    }
}
