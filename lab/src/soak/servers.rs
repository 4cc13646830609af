//! The servers of the run, and the database's clock.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};
use holdfast::domain::interval::Timestamp;
use holdfast::domain::server::LateBooking;
use holdfast::store::admin::servers::NewServer;

use crate::pick::Pick;

/// Enough that most requests find room, and some do not.
const SERVERS: i64 = 100;

/// The stream of random choices for this purpose.
const PURPOSE: u64 = u64::MAX;

/// Least time before a start, so that a late booking's start has not passed.
const LEAD_SECONDS_MIN: i64 = 600;

/// What a terminal knows of a server.
#[derive(Debug, Clone)]
pub struct Server {
    pub id: String,
    pub lead_seconds: i64,
    /// Whether it confirms late bookings at once.
    pub takes_late: bool,
}

/// Servers of all kinds. A start is one lead time after its deadline, so a long lead time costs no
/// waiting; deadlines must be near, many and spread.
pub fn all(seed: u64) -> Vec<NewServer> {
    let mut pick = Pick::new(seed, PURPOSE);
    (0..SERVERS).map(|number| server(number, &mut pick)).collect()
}

fn server(number: i64, pick: &mut Pick) -> NewServer {
    let small = |number: i64| i32::try_from(number).expect("small");
    NewServer {
        id: format!("s{number}").parse().expect("an id"),
        capacity: small(pick.number(1, 4)),
        // It differs between servers, so that a bill for the wrong one shows, and makes prices
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
        view_url: None,
        viewers_max: None,
        early_seconds: 0,
        partition: None,
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

    /// A window that starts in time, but whose deadline has passed.
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

/// Rounds up: a deadline must not come nearer.
fn whole_second(instant: Timestamp) -> Timestamp {
    instant.trunc_subsecs(0) + TimeDelta::seconds(1)
}

/// The database's clock as estimated from here. Times that are compared with a deadline are its.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    offset: TimeDelta,
}

impl Clock {
    /// `theirs` was read between `before` and `after` of our clock.
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
