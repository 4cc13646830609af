//! Redelivery isolation finds the message that crashes workers.
//!
//! Most redelivered messages are innocent: stopped workers held them, hundreds at a time. So they
//! are retried together first, and in smaller groups after each crash. A message that repeatedly
//! crashes the worker while processed alone is poison. An attempt that the worker outlived (told to
//! stop, connection lost) does not count.
//!
//! See `docs/decisions/0015-redelivery-isolation.md`.

use crate::store::pool::Pool;
use sha2::{Digest as _, Sha256};

use super::stages::{Delivered, Delivery};
use crate::domain::input::Digest;
use crate::message::envelope::Received;
use crate::store::{delivery_attempts, error::StoreError};

/// From this many earlier deliveries on, a message is isolated.
const DELIVERIES: u64 = 2;

/// Group size by earlier attempts. Several attempts are lone: in a storm of crashes, chance also
/// hits an innocent message twice.
const TOGETHER: [usize; 6] = [usize::MAX, 16, 1, 1, 1, 1];

/// From this many earlier deliveries on, outlived attempts count, too: the message may be what
/// breaks the connections.
const UNCOUNTED_DELIVERIES_MAX: u64 = 100;

/// Adjacent messages that are processed alike.
pub(super) enum Group {
    /// Processed normally.
    Ordinary(Delivered),
    /// With counted attempts.
    Isolated(Delivered),
}

/// Keeps queue order.
pub(super) fn groups(delivered: Delivered) -> Vec<Group> {
    let isolated = |delivery: &Delivery| delivery.message.delivery_count >= DELIVERIES;
    let runs = runs(delivered.0, |delivery| (isolated(delivery), usize::MAX));
    let group = |run: Vec<Delivery>| match run.first().is_some_and(isolated) {
        true => Group::Isolated(Delivered(run)),
        false => Group::Ordinary(Delivered(run)),
    };
    runs.into_iter().map(group).collect()
}

pub(super) struct Attempted {
    pub delivery: Delivery,
    pub fingerprint: Digest,
    /// Attempts that a worker did not outlive.
    pub attempts: usize,
}

impl Attempted {
    /// Whether all attempts are used up.
    pub fn is_poison(&self) -> bool {
        self.attempts >= TOGETHER.len()
    }

    /// Whether outlived attempts are uncounted.
    pub fn may_be_uncounted(&self) -> bool {
        self.delivery.message.delivery_count < UNCOUNTED_DELIVERIES_MAX
    }
}

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

/// Groups to try together.
pub(super) fn tries(attempted: Vec<Attempted>) -> Vec<Vec<Attempted>> {
    let together = |attempts: usize| TOGETHER.get(attempts).copied().unwrap_or(1);
    runs(attempted, |message| (message.attempts, together(message.attempts)))
}

/// Splits into runs of one kind, each within the size that `kind` gives.
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

/// Identifies a message across deliveries.
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
