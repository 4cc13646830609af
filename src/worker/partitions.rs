//! The worker's partitions: which it owns, whether it consumes and decides them, and what operators have paused.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::health::check::Wrong;
use crate::store::membership::Paused;

#[derive(Default)]
pub struct Partitions {
    /// Those that the worker owns, and those whose pipeline still drains.
    known: Mutex<BTreeMap<i32, Partition>>,
    /// As the last heartbeat said.
    paused: Mutex<Vec<Paused>>,
}

#[derive(Default)]
struct Partition {
    owned: bool,
    /// Whether it has a pipeline, be it one that drains.
    runs: bool,
    consumed: bool,
    /// Why it is not consumed, or what fails.
    wrong: Option<Wrong>,
}

/// A pipeline, until it is dropped.
pub struct Running<'a> {
    partitions: &'a Partitions,
    partition: i32,
}

impl Partitions {
    /// The worker owns these, and no others.
    pub fn own(&self, partitions: &[i32]) {
        let mut known = self.lock();
        for partition in partitions {
            known.entry(*partition).or_insert_with(|| Partition {
                wrong: Some(Wrong { what: "not consumed yet".to_owned(), since: Instant::now() }),
                ..Partition::default()
            });
        }
        for (partition, known) in known.iter_mut() {
            known.owned = partitions.contains(partition);
        }
        known.retain(|_, known| known.owned || known.runs);
    }

    /// How many the worker owns.
    pub fn owned(&self) -> usize {
        self.lock().values().filter(|known| known.owned).count()
    }

    /// A partition's pipeline begins. There is one per partition at a time.
    pub fn begin(&self, partition: i32) -> Running<'_> {
        self.lock().entry(partition).or_default().runs = true;
        Running { partitions: self, partition }
    }

    /// Those with a pipeline, one that drains included.
    pub fn running(&self) -> Vec<i32> {
        let known = self.lock();
        known.iter().filter(|(_, known)| known.runs).map(|(partition, _)| *partition).collect()
    }

    /// It is consumed from now on.
    pub fn consumed(&self, partition: i32) {
        self.change(partition, |known| (known.consumed, known.wrong) = (true, None));
    }

    /// It is not consumed any more.
    pub fn not_consumed(&self, partition: i32, why: impl ToString) {
        self.change(partition, |known| {
            known.consumed = false;
            known.note(why);
        });
    }

    /// Its batch fails for now.
    pub fn failing(&self, partition: i32, why: impl ToString) {
        self.change(partition, |known| known.note(why));
    }

    /// Its batch has been decided.
    pub fn decided(&self, partition: i32) {
        self.change(partition, |known| {
            if known.consumed {
                known.wrong = None;
            }
        });
    }

    /// The worker's own partitions with which something is wrong.
    pub fn wrong(&self) -> Vec<(i32, Wrong)> {
        let known = self.lock();
        let owned = known.iter().filter(|(_, known)| known.owned);
        owned.filter_map(|(partition, known)| Some((*partition, known.wrong.clone()?))).collect()
    }

    /// These pauses are in force. Who owns a paused partition lets go of it.
    pub fn pause(&self, paused: Vec<Paused>) {
        *self.paused.lock().expect("nothing panics with it") = paused;
    }

    /// The pauses in force, as the last heartbeat said.
    pub fn paused(&self) -> Vec<Paused> {
        self.paused.lock().expect("nothing panics with it").clone()
    }

    fn change(&self, partition: i32, change: impl FnOnce(&mut Partition)) {
        if let Some(known) = self.lock().get_mut(&partition) {
            change(known);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Partition>> {
        self.known.lock().expect("nothing panics with it")
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut known = self.partitions.lock();
        if let Some(ended) = known.get_mut(&self.partition) {
            ended.runs = false;
        }
        known.retain(|_, known| known.owned || known.runs);
    }
}

impl Partition {
    fn note(&mut self, why: impl ToString) {
        let since = self.wrong.as_ref().map_or_else(Instant::now, |wrong| wrong.since);
        self.wrong = Some(Wrong { what: why.to_string(), since });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(partitions: &Partitions) -> Vec<(i32, String)> {
        partitions.wrong().into_iter().map(|(number, wrong)| (number, wrong.what)).collect()
    }

    #[test]
    fn what_is_owned_and_not_consumed_is_wrong() {
        let partitions = Partitions::default();
        partitions.own(&[0, 2]);
        partitions.consumed(0);
        partitions.consumed(1);
        assert_eq!(wrong(&partitions), [(2, "not consumed yet".to_owned())]);
        partitions.not_consumed(0, "no queue");
        partitions.own(&[0]);
        assert_eq!(wrong(&partitions), [(0, "no queue".to_owned())]);
        assert_eq!(partitions.owned(), 1);
    }

    #[test]
    fn a_batch_that_fails_is_wrong_until_it_is_decided() {
        let partitions = Partitions::default();
        partitions.own(&[0]);
        partitions.consumed(0);
        partitions.failing(0, "no answer");
        assert_eq!(wrong(&partitions), [(0, "no answer".to_owned())]);
        partitions.decided(0);
        assert_eq!(wrong(&partitions), []);
    }

    #[test]
    fn what_drains_runs_and_is_not_owned() {
        let partitions = Partitions::default();
        partitions.own(&[0, 1]);
        let draining = partitions.begin(0);
        partitions.own(&[1]);
        partitions.failing(0, "no answer");
        assert_eq!((partitions.running(), partitions.owned()), (vec![0], 1));
        assert_eq!(wrong(&partitions), [(1, "not consumed yet".to_owned())]);
        drop(draining);
        assert_eq!(partitions.running(), [0; 0]);
        let beginning = partitions.begin(1);
        drop(beginning);
        assert_eq!(wrong(&partitions).len(), 1, "it stays the worker's");
    }
}
