//! Cancelling by an operator (R14): decided and written as a worker's batches are.

use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::time::sleep;

use super::batch::decide_batch;
use super::render::Reaction;
use crate::backoff;
use crate::domain::input::{Cancellation, Input};
use crate::domain::outcome::{Cancelled, Refusal};
use crate::store::error::StoreError;
use crate::store::outbox;

/// Tries of a cancellation that workers' batches contend with.
const TRIES_MAX: u32 = 5;

/// Most that passes between two tries.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Cancels a live reservation: history, event, notice and, if it was billed, a credit with an event
/// of its own are written in one transaction. Refused (`unknown_reservation`, `already_cancelled`)
/// nothing changes.
pub async fn cancel(
    pool: &Pool,
    request: Cancellation,
) -> Result<Result<Cancelled, Refusal>, StoreError> {
    let input = Input::Cancel(request);
    let mut tries = 0;
    let committed = loop {
        tries += 1;
        match decide_batch(pool, None, &[(&input, ())]).await {
            Err(error) if tries < TRIES_MAX && error.is_contention() => {
                sleep(backoff::up_to(PAUSE_MAX)).await;
            }
            outcome => break outcome?,
        }
    };
    let Some((Reaction::Cancelled(cancelled), ())) = committed.reactions.into_iter().next() else {
        unreachable!("a cancellation has one outcome, which is its own");
    };
    if cancelled.is_ok() {
        // Without it the workers find the messages some seconds later.
        outbox::notify(pool).await?;
    }
    Ok(cancelled)
}
