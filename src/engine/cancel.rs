//! What operators do to a reservation, decided and written like a worker's batch: cancel it (R14), or replace its
//! access key (R16).

use std::time::Duration;

use crate::store::pool::Pool;
use tokio::time::sleep;

use super::batch::{BatchError, decide_batch};
use super::render::Reaction;
use crate::backoff;
use crate::domain::input::{Cancellation, Input, Rotation};
use crate::domain::outcome::{Cancelled, NotRotated, Refusal};
use crate::domain::reservation::Reservation;
use crate::store::error::StoreError;
use crate::store::{access, outbox};

/// Tries while workers' batches contend.
const TRIES_MAX: u32 = 5;

/// Longest pause between tries.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Cancels a live reservation in one transaction: history, event, notice and, if it was billed, a credit
/// with its own event. A refusal (`unknown_reservation`, `already_cancelled`) changes nothing.
pub async fn cancel(
    pool: &Pool,
    request: Cancellation,
) -> Result<Result<Cancelled, Refusal>, StoreError> {
    let Reaction::Cancelled(cancelled) = decide_alone(pool, &Input::Cancel(request)).await? else {
        unreachable!("a cancellation has one outcome, which is its own");
    };
    if let Ok(Cancelled { reservation, .. }) = &cancelled {
        // Otherwise workers find the messages some seconds later, and gates the change.
        outbox::notify(pool).await?;
        access::notify(pool, std::slice::from_ref(&reservation.server)).await?;
    }
    Ok(cancelled)
}

/// Replaces the access key of a confirmed reservation: history, and a notice with the new key. The old one is
/// dead with the commit; a worker derives the new one as it sends the notice.
pub async fn rotate_key(
    pool: &Pool,
    request: Rotation,
) -> Result<Result<Reservation, NotRotated>, StoreError> {
    let Reaction::Rotated(rotated) = decide_alone(pool, &Input::Rotate(request)).await? else {
        unreachable!("a rotation has one outcome, which is its own");
    };
    if let Ok(reservation) = &rotated {
        access::notify(pool, std::slice::from_ref(&reservation.server)).await?;
        outbox::notify(pool).await?;
    }
    Ok(rotated)
}

async fn decide_alone(pool: &Pool, input: &Input) -> Result<Reaction, StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match decide_batch(pool, None, &[(input, ())], None).await {
            Err(BatchError::Store(error)) if tries < TRIES_MAX && error.is_contention() => {
                sleep(backoff::up_to(PAUSE_MAX)).await;
            }
            Err(BatchError::Store(error)) => return Err(error),
            Err(BatchError::Early(_)) => {
                unreachable!("an operator's request came through no queue")
            }
            Ok(committed) => {
                let first = committed.reactions.into_iter().next();
                return Ok(first.map_or(Reaction::Nothing, |(reaction, ())| reaction));
            }
        }
    }
}
