//! What the worker's last looks have shown.

use std::sync::Mutex;
use std::time::Instant;

use strum::{IntoStaticStr, VariantArray};

/// What a worker needs to do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Check {
    /// It is not stopping.
    Worker,
    /// Heartbeats are written.
    Database,
    /// There is a session.
    Broker,
    /// The database has this program's migrations.
    Schema,
    /// The broker has every exchange and queue.
    Topology,
    /// Each of the worker's partitions is consumed.
    Partitions,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// What, one sentence.
    pub what: String,
    /// Since when.
    pub since: Instant,
}

/// The last look at each thing, by its check.
pub struct Checks([Mutex<Option<Wrong>>; Check::VARIANTS.len()]);

impl Default for Checks {
    /// Nothing is good before it was looked at. What the worker knows of itself needs no look.
    fn default() -> Self {
        let unseen = |check: &Check| {
            let wrong = Wrong { what: "not looked at yet".to_owned(), since: Instant::now() };
            let known = [Check::Worker, Check::Partitions].contains(check);
            Mutex::new((!known).then_some(wrong))
        };
        Self(std::array::from_fn(|index| unseen(&Check::VARIANTS[index])))
    }
}

impl Checks {
    /// It was looked at, and all is well.
    pub fn good(&self, check: Check) {
        *self.lock(check) = None;
    }

    /// It was looked at, and this is wrong. It has been since the first look that was not good.
    pub fn wrong(&self, check: Check, what: impl ToString) {
        let mut seen = self.lock(check);
        let since = seen.as_ref().map_or_else(Instant::now, |wrong| wrong.since);
        *seen = Some(Wrong { what: what.to_string(), since });
    }

    /// What was seen last; `None`: all is well.
    pub fn seen(&self, check: Check) -> Option<Wrong> {
        self.lock(check).clone()
    }

    fn lock(&self, check: Check) -> std::sync::MutexGuard<'_, Option<Wrong>> {
        self.0[check as usize].lock().expect("nothing panics with it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_wrong_has_been_wrong_since_the_first_look() {
        let checks = Checks::default();
        assert!(checks.seen(Check::Broker).is_some(), "nobody has looked");
        assert_eq!(checks.seen(Check::Worker), None);
        checks.good(Check::Broker);
        assert_eq!(checks.seen(Check::Broker), None);
        checks.wrong(Check::Broker, "refused");
        let first = checks.seen(Check::Broker).unwrap();
        checks.wrong(Check::Broker, "silent");
        let second = checks.seen(Check::Broker).unwrap();
        assert_eq!((second.what.as_str(), second.since), ("silent", first.since));
    }
}
