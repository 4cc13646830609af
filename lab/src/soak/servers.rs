//! The servers of the run, and their clock.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use holdfast::domain::interval::Timestamp;
use holdfast::domain::server::LateBooking;
use holdfast::store::admin::servers::NewServer;

use crate::pick::Pick;

/// Enough for most requests to find room; at some all the same there is none left.
const SERVERS: i64 = 100;

/// Told apart from what else is drawn from the seed.
const PURPOSE: u64 = u64::MAX;

/// Starts lie at least so far ahead, so that a late booking's start is still to come.
const LEAD_SECONDS_MIN: i64 = 600;

/// A server as far as a terminal has to know it.
#[derive(Debug, Clone)]
pub struct Server {
    pub id: String,
    pub lead_seconds: i64,
    /// Confirms at once what comes after its deadline.
    pub takes_late: bool,
}

/// Servers of all sorts. A start lies the lead time behind its deadline, so a long lead time costs
/// no waiting; what matters is that deadlines are near, many and spread.
pub fn all(seed: u64) -> Vec<NewServer> {
    let mut pick = Pick::new(seed, PURPOSE);
    (0..SERVERS).map(|number| server(number, &mut pick)).collect()
}

fn server(number: i64, pick: &mut Pick) -> NewServer {
    let small = |number: i64| i32::try_from(number).expect("small");
    NewServer {
        id: format!("s{number}").parse().expect("an id"),
        capacity: small(pick.number(1, 4)),
        // Differs from server to server, so that a bill for the wrong one shows; and prices have to be
        // rounded.
        rate_minor: 360_100 + 3_700 * number,
        currency: "EUR".to_owned(),
        slot_seconds: 1,
        min_seconds: 1,
        max_seconds: 3_600,
        gap_seconds: small(pick.weighted(&[(70, 0), (20, 1), (10, 3)])),
        lead_seconds: small(pick.number(LEAD_SECONDS_MIN, 7_200)),
        reminder_seconds: small(pick.weighted(&[(50, 0), (30, 3), (20, 8)])),
        horizon_seconds: 86_400,
        late_booking: pick.weighted(&[(80, LateBooking::Reject), (20, LateBooking::Confirm)]),
        connection_url: format!("rtmp://s{number}.example/live"),
    }
}

impl From<&NewServer> for Server {
    fn from(server: &NewServer) -> Self {
        Self {
            id: server.id.to_string(),
            lead_seconds: server.lead_seconds.into(),
            takes_late: server.late_booking == LateBooking::Confirm,
        }
    }
}

impl Server {
    /// The window of `length` seconds with its deadline `ahead` of `now`, or a little later.
    pub fn window(&self, now: Timestamp, ahead: Duration, length: i64) -> (Timestamp, Timestamp) {
        let deadline = whole_second(now + TimeDelta::from_std(ahead).expect("short"));
        let start = deadline + TimeDelta::seconds(self.lead_seconds);
        (start, start + TimeDelta::seconds(length))
    }

    /// A window that starts in time but has its deadline behind it.
    pub fn late_window(
        &self,
        now: Timestamp,
        ahead: Duration,
        length: i64,
    ) -> (Timestamp, Timestamp) {
        let soon = TimeDelta::seconds(LEAD_SECONDS_MIN / 2);
        let start = whole_second(now + soon + TimeDelta::from_std(ahead).expect("short"));
        (start, start + TimeDelta::seconds(length))
    }
}

/// Up, never down: a deadline must not come nearer.
fn whole_second(instant: Timestamp) -> Timestamp {
    instant.trunc_subsecs(0) + TimeDelta::seconds(1)
}

/// The clock of record, as seen from here: what is compared with a deadline is told by it.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    offset: TimeDelta,
}

impl Clock {
    /// `theirs` was read while ours went from `before` to `after`.
    pub fn new(theirs: Timestamp, before: DateTime<Utc>, after: DateTime<Utc>) -> Self {
        Self { offset: theirs - (before + (after - before) / 2) }
    }

    pub fn now(&self) -> Timestamp {
        Utc::now() + self.offset
    }

    /// How long until `instant`; zero if it has passed.
    pub fn until(&self, instant: Timestamp) -> Duration {
        (instant - self.now()).to_std().unwrap_or_default()
    }
}
