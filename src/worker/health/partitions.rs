//! Which partitions the worker owns, and whether it consumes and decides them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use super::check::Wrong;

/// By partition.
#[derive(Default)]
pub struct Partitions(Mutex<BTreeMap<i32, Partition>>);

struct Partition {
    consumed: bool,
    /// Why it is not consumed, or what fails.
    wrong: Option<Wrong>,
}

impl Partitions {
    /// The worker owns these, and no others.
    pub fn own(&self, partitions: &[i32]) {
        let mut owned = self.lock();
        owned.retain(|partition, _| partitions.contains(partition));
        for partition in partitions {
            owned.entry(*partition).or_insert_with(|| Partition {
                consumed: false,
                wrong: Some(Wrong { what: "not consumed yet".to_owned(), since: Instant::now() }),
            });
        }
    }

    /// How many the worker owns.
    pub fn owned(&self) -> usize {
        self.lock().len()
    }

    /// It is consumed from now on.
    pub fn consumed(&self, partition: i32) {
        self.change(partition, |known| *known = Partition { consumed: true, wrong: None });
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

    /// The partitions with which something is wrong.
    pub fn wrong(&self) -> Vec<(i32, Wrong)> {
        let wrong =
            |(partition, known): (&i32, &Partition)| Some((*partition, known.wrong.clone()?));
        self.lock().iter().filter_map(wrong).collect()
    }

    fn change(&self, partition: i32, change: impl FnOnce(&mut Partition)) {
        if let Some(known) = self.lock().get_mut(&partition) {
            change(known);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<i32, Partition>> {
        self.0.lock().expect("nothing panics with it")
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
}
