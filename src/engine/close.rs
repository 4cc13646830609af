//! The end of confirmed reservations' time (R17): what became of it goes into the history and, if gates know, into an
//! event.
//!
//! No command changes a confirmed reservation any more, so this needs no place in a queue's order. It happens once,
//! since it takes the mark that asks for it in the same transaction.

use super::batch::{BatchError, decide_batch};
use crate::crash_point;
use crate::domain::input::Input;
use crate::store::closing;
use crate::store::error::StoreError;
use crate::store::pool::Pool;

/// What [`close_due`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closed {
    /// Reservations whose use was recorded.
    pub count: usize,
    /// Whether there may be more.
    pub more: bool,
}

/// Records the use of reservations that are over, as many as one worker claims at a time.
pub async fn close_due(pool: &Pool) -> Result<Closed, StoreError> {
    let due: Vec<Input> = closing::claim(pool).await?.into_iter().map(Input::Close).collect();
    if due.is_empty() {
        return Ok(Closed::default());
    }
    crash_point!("closings-claimed");
    let inputs: Vec<(&Input, ())> = due.iter().map(|input| (input, ())).collect();
    match decide_batch(pool, None, &inputs, None).await {
        Ok(_) => {}
        Err(BatchError::Store(error)) => return Err(error),
        Err(BatchError::Early(_)) => unreachable!("the end of a time came through no queue"),
    }
    crash_point!("closed");
    let more = due.len() as i64 >= closing::CLOSINGS_MAX;
    Ok(Closed { count: due.len(), more })
}
