//! Cancelling by an operator: one transaction, decided and written as a worker's batches are.

use std::time::Duration;

use deadpool_postgres::Pool;
use rand::Rng;
use tokio::time::sleep;

use super::announce::announcements;
use super::batch::{self, Rendered};
use super::error::StoreError;
use super::outbox::CHANNEL;
use super::pool::{Session, bounded};
use super::save::NO_PARTITION;
use crate::domain::reservation::Reservation;
use crate::domain::snapshot::{Cancellation, Outcome, Refusal, Step, Transition};

/// Tries of one that workers' batches contend with.
const TRIES_MAX: u32 = 5;

/// Most that passes between two tries.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A reservation that an operator has cancelled.
#[derive(Debug, Clone)]
pub struct Cancelled {
    /// As it is now.
    pub reservation: Reservation,
    /// Whether it had been billed, and was credited.
    pub credited: bool,
}

/// Cancels a live reservation (R14): history, event, notice and, if it was billed, a credit with an
/// event of its own are written in the same transaction. Refused
/// (`unknown_reservation`, `already_cancelled`) nothing changes.
pub async fn cancel(
    pool: &Pool,
    wish: Cancellation,
) -> Result<Result<Cancelled, Refusal>, StoreError> {
    let mut tries = 0;
    loop {
        tries += 1;
        match cancel_once(pool, wish.clone()).await {
            Err(error) if tries < TRIES_MAX && error.is_contention() => {
                let pause = rand::rng().random_range(Duration::ZERO..=PAUSE_MAX);
                sleep(pause).await;
            }
            outcome => return outcome,
        }
    }
}

async fn cancel_once(
    pool: &Pool,
    wish: Cancellation,
) -> Result<Result<Cancelled, Refusal>, StoreError> {
    let id = wish.reservation;
    let steps = [Step::Cancel(wish)];
    let committed = batch::run(pool, NO_PARTITION, &steps, |decided| {
        let outcome = match decided.verdicts.first() {
            Some(Outcome::Cancel(Err(refusal))) => Err(refusal.clone()),
            _ => Ok(Cancelled {
                reservation: decided.world.reservations[&id].clone(),
                credited: decided.effects.transitions.iter().any(Transition::is_credit),
            }),
        };
        let announcements = announcements(&decided.world, &decided.effects);
        (Rendered { commands: Vec::new(), announcements }, outcome)
    })
    .await?;
    if committed.rendered.is_ok() {
        // Only a nudge: without it the workers find the announcements a few seconds later.
        bounded("a nudge", async {
            let session = Session::take(pool).await?;
            session.client().batch_execute(&format!("notify {CHANNEL}")).await?;
            session.finish();
            Ok(())
        })
        .await?;
    }
    Ok(committed.rendered)
}
