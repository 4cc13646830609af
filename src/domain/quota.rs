//! Time per user and calendar period (R5).
//!
//! PostgreSQL computes the periods: two time-zone databases would disagree.

use std::collections::HashMap;

use super::id::UserId;
use super::interval::{Interval, Timestamp};

/// Use of one calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodUse {
    /// Its bounds.
    pub bounds: Interval,
    /// Limit in seconds.
    pub limit_seconds: i64,
    /// Seconds of live reservations, clipped to the period.
    pub used_seconds: i64,
}

/// A period's line in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its bounds.
    pub bounds: Interval,
    /// Limit in seconds.
    pub limit_seconds: i64,
    /// Seconds reserved before.
    pub used_seconds: i64,
    /// Seconds of this request in the period.
    pub requested_seconds: i64,
}

impl Receipt {
    /// Whether the request fits.
    pub fn fits(&self) -> bool {
        self.used_seconds + self.requested_seconds <= self.limit_seconds
    }
}

/// Use of a batch's periods, updated while it is decided.
#[derive(Debug, Clone, Default)]
pub struct QuotaLedger {
    periods: HashMap<UserId, HashMap<Timestamp, PeriodUse>>,
}

impl QuotaLedger {
    /// Adds a period from the database.
    pub fn load(&mut self, user: UserId, period: PeriodUse) {
        self.periods.entry(user).or_default().insert(period.bounds.start, period);
    }

    /// One receipt per period touched, in order of time.
    pub fn receipts(&self, user: &UserId, wanted: &Interval) -> Vec<Receipt> {
        let mut receipts: Vec<Receipt> = self
            .periods
            .get(user)
            .into_iter()
            .flat_map(HashMap::values)
            .filter(|period| period.bounds.overlaps(wanted))
            .map(|period| Receipt {
                bounds: period.bounds,
                limit_seconds: period.limit_seconds,
                used_seconds: period.used_seconds,
                requested_seconds: period.bounds.shared_seconds(wanted),
            })
            .collect();
        receipts.sort_by_key(|receipt| receipt.bounds.start);
        receipts
    }

    /// Books `interval` in every loaded period.
    pub fn take(&mut self, user: &UserId, interval: &Interval) {
        self.shift(user, interval, 1);
    }

    /// Gives `interval` back.
    pub fn give_back(&mut self, user: &UserId, interval: &Interval) {
        self.shift(user, interval, -1);
    }

    fn shift(&mut self, user: &UserId, interval: &Interval, sign: i64) {
        for period in self.periods.get_mut(user).into_iter().flat_map(HashMap::values_mut) {
            period.used_seconds += sign * period.bounds.shared_seconds(interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;

    fn span(start: i64, end: i64) -> Interval {
        let at = |s| DateTime::from_timestamp(s, 0).unwrap();
        Interval::new(at(start), at(end)).unwrap()
    }

    #[test]
    fn a_straddling_request_gets_a_receipt_per_period() {
        let user = UserId::parse("u").unwrap();
        let mut ledger = QuotaLedger::default();
        for (bounds, used) in [(span(0, 100), 90), (span(100, 200), 10)] {
            let period = PeriodUse { bounds, limit_seconds: 100, used_seconds: used };
            ledger.load(user.clone(), period);
        }
        let receipts = ledger.receipts(&user, &span(95, 120));
        let requested: Vec<i64> = receipts.iter().map(|r| r.requested_seconds).collect();
        assert_eq!(requested, [5, 20]);
        assert!(receipts.iter().all(Receipt::fits));

        ledger.take(&user, &span(95, 120));
        let used: Vec<i64> =
            ledger.receipts(&user, &span(95, 120)).iter().map(|r| r.used_seconds).collect();
        assert_eq!(used, [95, 30]);
        assert!(!ledger.receipts(&user, &span(94, 100))[0].fits());

        ledger.give_back(&user, &span(95, 120));
        assert_eq!(ledger.receipts(&user, &span(0, 1))[0].used_seconds, 90);
    }
}
