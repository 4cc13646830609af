//! Redelivery isolation: finds the message that crashes workers among those that are redelivered.
//!
//! Most redelivered messages only were in the hands of workers that came and went, hundreds at a
//! time. So they are tried together first, and in ever smaller groups each time a worker dies. A
//! message that repeatedly crashes the worker while processed alone is poison. An attempt that the
//! worker outlived, because it was told to stop or lost a connection, does not count.
//!
//! See `docs/decisions/0015-redelivery-isolation.md`.

use deadpool_postgres::Pool;
use sha2::{Digest as _, Sha256};

use super::stages::{Delivered, Delivery};
use crate::domain::input::Digest;
use crate::message::envelope::Received;
use crate::store::{delivery_attempts, error::StoreError};

/// Delivered this often before, a message is isolated.
const DELIVERIES: u64 = 2;

/// How many messages are tried together, by how often they were tried before. Alone more than once or
/// twice: where everything breaks all the time, chance also hits one message twice.
const TOGETHER: [usize; 6] = [usize::MAX, 16, 1, 1, 1, 1];

/// Delivered this often before, a message's attempts count even if the worker outlived them: it may be
/// what breaks the connections.
const UNCOUNTED_DELIVERIES_MAX: u64 = 100;

/// Neighbours in the queue that are processed alike.
pub(super) enum Group {
    /// As they come.
    Ordinary(Delivered),
    /// With their attempts counted.
    Isolated(Delivered),
}

/// Splits deliveries into groups, in queue order.
pub(super) fn groups(delivered: Delivered) -> Vec<Group> {
    let isolated = |delivery: &Delivery| delivery.message.delivery_count >= DELIVERIES;
    let runs = runs(delivered.0, |delivery| (isolated(delivery), usize::MAX));
    let group = |run: Vec<Delivery>| match run.first().is_some_and(isolated) {
        true => Group::Isolated(Delivered(run)),
        false => Group::Ordinary(Delivered(run)),
    };
    runs.into_iter().map(group).collect()
}

/// A redelivered message and how often it was tried.
pub(super) struct Attempted {
    pub delivery: Delivery,
    pub fingerprint: Digest,
    /// Attempts that a worker did not outlive.
    pub attempts: usize,
}

impl Attempted {
    /// Whether a message was tried as often as any is.
    pub fn is_poison(&self) -> bool {
        self.attempts >= TOGETHER.len()
    }

    /// Whether an attempt that the worker outlives is uncounted.
    pub fn may_be_uncounted(&self) -> bool {
        self.delivery.message.delivery_count < UNCOUNTED_DELIVERIES_MAX
    }
}

/// Looks up how often messages were tried.
pub(super) async fn attempted(
    pool: &Pool,
    partition: i32,
    delivered: Delivered,
) -> Result<Vec<Attempted>, StoreError> {
    let prints: Vec<Digest> = delivered.0.iter().map(|d| fingerprint(&d.message)).collect();
    let attempts = delivery_attempts::attempts(pool, partition, &prints).await?;
    let counted = delivered.0.into_iter().zip(prints).zip(attempts);
    let attempted = |((delivery, fingerprint), attempts)| Attempted {
        delivery,
        fingerprint,
        attempts: usize::try_from(attempts).unwrap_or_default(),
    };
    Ok(counted.map(attempted).collect())
}

/// Neighbours that are tried together.
pub(super) fn tries(attempted: Vec<Attempted>) -> Vec<Vec<Attempted>> {
    let together = |attempts: usize| TOGETHER.get(attempts).copied().unwrap_or(1);
    runs(attempted, |message| (message.attempts, together(message.attempts)))
}

/// Neighbours of the same kind, at most so many together.
fn runs<T, K: PartialEq>(items: Vec<T>, kind: impl Fn(&T) -> (K, usize)) -> Vec<Vec<T>> {
    let mut runs: Vec<Vec<T>> = Vec::new();
    for item in items {
        let (this, together) = kind(&item);
        match runs.last_mut() {
            Some(run) if kind(&run[0]).0 == this && run.len() < together => run.push(item),
            _ => runs.push(vec![item]),
        }
    }
    runs
}

/// Tells a message from others.
fn fingerprint(message: &Received) -> Digest {
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

    fn delivered(counts: &[u64]) -> Delivered {
        let delivery = |(tag, count): (u64, &u64)| Delivery {
            tag,
            message: Received { delivery_count: *count, ..Received::default() },
        };
        Delivered((0..).zip(counts).map(delivery).collect())
    }

    fn tried(attempts: &[usize]) -> Vec<Attempted> {
        let deliveries = delivered(&vec![2; attempts.len()]).0.into_iter().zip(attempts);
        let attempted = |(delivery, attempts): (Delivery, &usize)| Attempted {
            delivery,
            fingerprint: [0; 32],
            attempts: *attempts,
        };
        deliveries.map(attempted).collect()
    }

    #[test]
    fn redelivered_messages_are_processed_apart() {
        let split = |counts: &[u64]| -> Vec<(bool, usize)> {
            let group = |group: &Group| match group {
                Group::Ordinary(delivered) => (false, delivered.0.len()),
                Group::Isolated(delivered) => (true, delivered.0.len()),
            };
            groups(delivered(counts)).iter().map(group).collect()
        };
        assert_eq!(split(&[0, 1, 0]), [(false, 3)]);
        assert_eq!(split(&[0, 2, 3, 0, 0]), [(false, 1), (true, 2), (false, 2)]);
        assert!(split(&[]).is_empty());
    }

    #[test]
    fn each_death_makes_groups_smaller() {
        let sizes = |attempts: &[usize]| -> Vec<usize> {
            tries(tried(attempts)).iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[0; 300]), [300]);
        assert_eq!(sizes(&[1; 20]), [16, 4]);
        assert_eq!(sizes(&[0, 0, 1, 2, 2, 0]), [2, 1, 1, 1, 1]);
        assert_eq!(sizes(&[9, 9]), [1, 1]);
        let poison: Vec<bool> = tried(&[5, 6]).iter().map(Attempted::is_poison).collect();
        assert_eq!(poison, [false, true]);
    }

    #[test]
    fn what_may_break_connections_stays_counted() {
        let mut tried = tried(&[0, 0]);
        tried[0].delivery.message.delivery_count = 99;
        tried[1].delivery.message.delivery_count = 100;
        let uncounted: Vec<bool> = tried.iter().map(Attempted::may_be_uncounted).collect();
        assert_eq!(uncounted, [true, false]);
    }
}
