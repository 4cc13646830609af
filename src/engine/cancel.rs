//! Cancellation by an operator (R14), decided and written like a worker's batch.

use std::time::Duration;

use crate::store::pool::Pool;
use tokio::time::sleep;

use super::batch::{BatchError, decide_batch};
use super::render::Reaction;
use crate::backoff;
use crate::domain::input::{Cancellation, Input};
use crate::domain::outcome::{Cancelled, Refusal};
use crate::store::error::StoreError;
use crate::store::outbox;

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
    let input = Input::Cancel(request);
    let mut tries = 0;
    let committed = loop {
        tries += 1;
        match decide_batch(pool, None, &[(&input, ())]).await {
            Err(BatchError::Store(error)) if tries < TRIES_MAX && error.is_contention() => {
                sleep(backoff::up_to(PAUSE_MAX)).await;
            }
            Err(BatchError::Store(error)) => return Err(error),
            Err(BatchError::Early(_)) => unreachable!("a cancellation came through no queue"),
            Ok(committed) => break committed,
        }
    };
    let Some((Reaction::Cancelled(cancelled), ())) = committed.reactions.into_iter().next() else {
        unreachable!("a cancellation has one outcome, which is its own");
    };
    if cancelled.is_ok() {
        // Otherwise workers find the messages some seconds later.
        outbox::notify(pool).await?;
    }
    Ok(cancelled)
}
