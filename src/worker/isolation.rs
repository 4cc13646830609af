//! Messages that were delivered several times before: somebody may have crashed on one of them.
//!
//! Most have only been in the hands of workers that came and went, hundreds at a time. So they are
//! tried together first. What is interrupted is tried in fewer and fewer at a time, and what was
//! alone when it was interrupted, again and again, is to blame. Interrupted means that the worker died:
//! attempts that it survived, because it was told to stop or lost a connection, are taken back.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use deadpool_postgres::Pool;
use sha2::{Digest as _, Sha256};

use crate::domain::snapshot::Digest;
use crate::message::envelope::Received;
use crate::store::{self, error::StoreError};

/// Delivered this often before, a message is suspect.
const DELIVERIES: u64 = 2;

/// How many suspects are tried at a time, by how often they were tried before. Alone more than once or
/// twice: where everything breaks all the time, chance also hits one message twice.
const TOGETHER: [usize; 6] = [usize::MAX, 16, 1, 1, 1, 1];

/// Delivered this often before, a message is no longer spared what its worker survived: it may be what
/// breaks the connections.
const SPARED_DELIVERIES_MAX: u64 = 100;

/// Consecutive messages of a batch that are suspect or are not.
pub fn groups(messages: &[Received]) -> Vec<Range<usize>> {
    cut(messages.len(), |index| (is_suspect(&messages[index]), usize::MAX))
}

/// Whether somebody may have crashed on it.
pub fn is_suspect(message: &Received) -> bool {
    message.delivery_count >= DELIVERIES
}

/// Consecutive suspects that are tried together, by how often each was tried before.
pub fn tries(attempts: &[i32]) -> Vec<Range<usize>> {
    cut(attempts.len(), |index| {
        let attempts = usize::try_from(attempts[index]).unwrap_or_default();
        (attempts, TOGETHER.get(attempts).copied().unwrap_or(1))
    })
}

/// Whether a message was tried as often as any is.
pub fn is_to_blame(attempts: i32) -> bool {
    usize::try_from(attempts).unwrap_or_default() >= TOGETHER.len()
}

/// Attempts that were counted and that we have survived, by partition: at most one batch's each.
#[derive(Default)]
pub struct Survived(Mutex<HashMap<i32, Vec<Digest>>>);

impl Survived {
    /// Notes that an attempt at these has come to nothing without killing us.
    pub fn note(&self, partition: i32, messages: &[Received]) {
        let spared = messages.iter().filter(|m| m.delivery_count < SPARED_DELIVERIES_MAX);
        self.lock().insert(partition, spared.map(fingerprint).collect());
    }

    /// Takes back what was noted of a partition. It stays noted if the database cannot be reached.
    pub async fn take_back(&self, pool: &Pool, partition: i32) -> Result<(), StoreError> {
        let noted = self.lock().get(&partition).cloned().unwrap_or_default();
        if !noted.is_empty() {
            store::delivery_attempts::take_back(pool, partition, &noted).await?;
            self.lock().remove(&partition);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<i32, Vec<Digest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Neighbours of the same kind, at most so many together.
fn cut<K: PartialEq>(len: usize, kind: impl Fn(usize) -> (K, usize)) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for index in 0..len {
        let (this, together) = kind(index);
        match ranges.last_mut() {
            Some(last) if kind(last.start).0 == this && last.len() < together => {
                last.end = index + 1;
            }
            _ => ranges.push(index..index + 1),
        }
    }
    ranges
}

/// Tells a message from others.
pub fn fingerprint(message: &Received) -> Digest {
    let mut hash = Sha256::new();
    for part in [&message.user_id, &message.message_id] {
        hash.update(part.as_deref().unwrap_or_default());
        hash.update([0]);
    }
    hash.update(&message.body);
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suspects_stand_apart() {
        let delivered = |counts: &[u64]| -> Vec<Received> {
            counts
                .iter()
                .map(|count| Received { delivery_count: *count, ..Received::default() })
                .collect()
        };
        assert_eq!(groups(&delivered(&[0, 1, 0])), std::slice::from_ref(&(0..3)));
        assert_eq!(groups(&delivered(&[0, 2, 3, 0, 0])), [0..1, 1..3, 3..5]);
        assert!(groups(&[]).is_empty());
    }

    #[test]
    fn what_was_interrupted_is_tried_in_fewer_at_a_time() {
        assert_eq!(tries(&[0; 300]), std::slice::from_ref(&(0..300)));
        assert_eq!(tries(&[1; 20]), [0..16, 16..20]);
        assert_eq!(tries(&[0, 0, 1, 2, 2, 0]), [0..2, 2..3, 3..4, 4..5, 5..6]);
        assert_eq!(tries(&[9, 9]), [0..1, 1..2]);
        assert!(!is_to_blame(5) && is_to_blame(6));
    }

    #[test]
    fn what_breaks_everything_is_not_spared_for_ever() {
        let survived = Survived::default();
        let delivered = |delivery_count| Received { delivery_count, ..Received::default() };
        survived.note(3, &[delivered(99), delivered(100)]);
        assert_eq!(survived.lock()[&3].len(), 1);
    }
}
