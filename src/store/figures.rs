//! Figures of the whole installation, for those who watch it.

use super::error::StoreError;
use super::membership::DEAD_AFTER_SECONDS;
use super::pool::{Pool, Session, bounded};
use super::sql;

/// Most rows counted of each figure: some milliseconds of work.
pub const COUNT_MAX: i64 = 10_000;

/// Until then a deadline's wake-up may be on its way.
const OVERDUE_GRACE_SECONDS: f64 = 1.0;

/// What the database has of the installation, at one moment. No number exceeds [`COUNT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Live workers.
    pub workers: i64,
    /// Reservations that are not settled a second after their deadline.
    pub overdue: i64,
    /// Age of the oldest of these deadlines; 0: there is none.
    pub overdue_seconds: f64,
    /// Instants without a confirmed wake-up.
    pub timers_waiting: i64,
    /// Instants whose wake-up is on its way.
    pub timers_sent: i64,
    /// Bills and notices to publish, and the age of the oldest in seconds.
    pub outbox: (i64, f64),
    /// Copies of events to publish, and the age of the oldest in seconds.
    pub copies: (i64, f64),
    /// Pauses of deciding, and the age of the oldest in seconds.
    pub pauses: (i64, f64),
    /// Dead letters that were filed and are open.
    pub filed_letters: i64,
}

/// Reads them in one statement.
pub async fn load(pool: &Pool) -> Result<Figures, StoreError> {
    bounded("gathering figures", async {
        let session = Session::take(pool).await?;
        let statement = session.client().prepare_cached(sql!("load_figures")).await?;
        let arguments: [&(dyn tokio_postgres::types::ToSql + Sync); 3] =
            [&COUNT_MAX, &OVERDUE_GRACE_SECONDS, &DEAD_AFTER_SECONDS];
        let row = session.client().query_one(&statement, &arguments).await?;
        session.finish();
        Ok(Figures {
            workers: row.get("workers"),
            overdue: row.get("overdue"),
            overdue_seconds: row.get("overdue_seconds"),
            timers_waiting: row.get("timers_waiting"),
            timers_sent: row.get("timers_sent"),
            outbox: (row.get("outbox_messages"), row.get("outbox_seconds")),
            copies: (row.get("outbox_copies"), row.get("copies_seconds")),
            pauses: (row.get("pauses"), row.get("pause_seconds")),
            filed_letters: row.get("filed_letters"),
        })
    })
    .await
}
