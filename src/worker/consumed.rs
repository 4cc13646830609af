//! Partitions with a running pipeline, one that drains included.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard};

#[derive(Default)]
pub struct Consumed(Mutex<BTreeSet<i32>>);

/// A pipeline, until it is dropped.
pub struct Running<'a> {
    consumed: &'a Consumed,
    partition: i32,
}

impl Consumed {
    /// Notes that a partition's pipeline begins. There is one per partition at a time.
    pub fn begin(&self, partition: i32) -> Running<'_> {
        self.lock().insert(partition);
        Running { consumed: self, partition }
    }

    pub fn partitions(&self) -> Vec<i32> {
        self.lock().iter().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().expect("nothing panics with it")
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.consumed.lock().remove(&self.partition);
    }
}
