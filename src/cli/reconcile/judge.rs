//! Compares what was told with what is stored.

use serde::Serialize;
use strum::Display;
use uuid::Uuid;

use super::records::{Bill, Heard};
use crate::domain::reservation::State;
use crate::store::admin::ledger::Entry;
use crate::store::admin::reconcile::{Fate, StoredFate};

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum What {
    ChargeMissing,
    CreditMissing,
    EntryDiffers,
    NotReceived,
    ReservationMissing,
    ReconfirmationMissing,
    ConfirmationMissing,
    CancellationMissing,
}

/// One thing that somebody was told and that is not stored so, or the other way round.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub what: What,
    pub reservation: Uuid,
    /// A state, or the kind of a bill.
    pub told: Option<String>,
    pub stored: Option<String>,
    pub user: Option<String>,
    pub server: Option<String>,
    pub amount_minor: Option<i64>,
    pub currency: Option<String>,
    /// The id of the billing entry and its event.
    pub entry: Option<Uuid>,
}

impl Difference {
    /// An entry that the biller has not received.
    pub fn not_received(entry: &Entry) -> Self {
        Self {
            what: What::NotReceived,
            reservation: entry.reservation,
            told: None,
            stored: Some(entry.kind.clone()),
            user: Some(entry.user.clone()),
            server: Some(entry.server.clone()),
            amount_minor: Some(entry.amount_minor),
            currency: Some(entry.currency.clone()),
            entry: Some(entry.id),
        }
    }
}

/// Compares the biller's record with the ledger's. Times differ if a charge was decided twice; that is none.
pub fn judge_bill(id: Uuid, bill: &Bill, entry: Option<&Entry>) -> Option<Difference> {
    let what = match entry {
        None if bill.kind == "credit" => What::CreditMissing,
        None => What::ChargeMissing,
        Some(entry) => {
            let same = entry.kind == bill.kind
                && entry.reservation == bill.reservation
                && entry.user == bill.user
                && (entry.amount_minor, &entry.currency) == (bill.amount_minor, &bill.currency);
            if same {
                return None;
            }
            What::EntryDiffers
        }
    };
    Some(Difference {
        what,
        reservation: bill.reservation,
        told: Some(bill.kind.to_owned()),
        stored: entry.map(|entry| entry.kind.clone()),
        user: Some(bill.user.clone()),
        server: Some(bill.server.clone()),
        amount_minor: Some(bill.amount_minor),
        currency: Some(bill.currency.clone()),
        entry: Some(id),
    })
}

/// Compares what terminals were told of a reservation with what is stored. What happened since they were told
/// is no difference.
pub fn judge_reservation(id: Uuid, heard: &Heard, fate: Option<&Fate>) -> Option<Difference> {
    let stored = fate.and_then(|fate| fate.stored.as_ref());
    let charged = fate.is_some_and(|fate| fate.charged);
    let (what, told) = missing(heard, stored, charged)?;
    Some(Difference {
        what,
        reservation: id,
        told: Some(told.to_string()),
        stored: stored.map(|stored| stored.state.clone()),
        user: stored.map(|stored| stored.user.clone()),
        server: Some(heard.server.clone()),
        amount_minor: None,
        currency: None,
        entry: None,
    })
}

/// What is missing, and the state that was told and is not stored. A restored database may have told
/// something else afterwards, so each word counts, and not only the last one.
fn missing(heard: &Heard, stored: Option<&StoredFate>, charged: bool) -> Option<(What, State)> {
    let Some(stored) = stored else {
        // Retention has deleted the reservation; its charge stays.
        return (!charged).then_some((What::ReservationMissing, heard.state()));
    };
    let is_cancelled = stored.state == State::Cancelled.as_str();
    if heard.confirmed && !charged {
        return Some((What::ConfirmationMissing, State::Confirmed));
    }
    if (heard.ended || heard.lapsed) && !is_cancelled {
        return Some((What::CancellationMissing, State::Cancelled));
    }
    // Its user no longer wants it, so it does not matter why it is cancelled.
    let is_missed = heard.reconfirmed && !heard.ended && !stored.reconfirmed;
    is_missed.then_some((What::ReconfirmationMissing, State::Reconfirmed))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was heard, by letters: `r`econfirmed, `c`onfirmed, `l`apsed, `e`nded.
    fn heard(words: &str) -> Heard {
        let said = |word| words.contains(word);
        Heard {
            server: "s".to_owned(),
            reconfirmed: said('r'),
            confirmed: said('c'),
            lapsed: said('l'),
            ended: said('e'),
        }
    }

    #[test]
    fn only_what_was_told_and_is_not_stored_is_missing() {
        use State::{Cancelled, Confirmed, Held, Reconfirmed};
        use What::{
            CancellationMissing, ConfirmationMissing, ReconfirmationMissing, ReservationMissing,
        };
        // What was heard; state, whether it was reconfirmed and charged; what is missing.
        let cases = [
            ("", Some((Held, false, false)), None),
            ("", Some((Cancelled, false, false)), None),
            ("", Some((Confirmed, true, true)), None),
            ("r", Some((Reconfirmed, true, false)), None),
            ("r", Some((Cancelled, true, false)), None),
            ("r", Some((Held, false, false)), Some(ReconfirmationMissing)),
            ("r", Some((Cancelled, false, false)), Some(ReconfirmationMissing)),
            // Told by the restored database.
            ("rl", Some((Cancelled, false, false)), Some(ReconfirmationMissing)),
            ("re", Some((Cancelled, false, false)), None),
            ("c", Some((Cancelled, true, true)), None),
            ("rc", Some((Cancelled, false, false)), Some(ConfirmationMissing)),
            ("rcl", Some((Cancelled, false, false)), Some(ConfirmationMissing)),
            ("rc", Some((Reconfirmed, true, false)), Some(ConfirmationMissing)),
            ("e", Some((Held, false, false)), Some(CancellationMissing)),
            ("ce", Some((Confirmed, true, true)), Some(CancellationMissing)),
            ("l", Some((Cancelled, false, false)), None),
            ("", None, Some(ReservationMissing)),
            ("c", None, Some(ReservationMissing)),
        ];
        for (words, now, expected) in cases {
            let charged = now.is_some_and(|(_, _, charged)| charged);
            let stored = now.map(|(state, reconfirmed, _)| StoredFate {
                user: "u".to_owned(),
                state: state.to_string(),
                reconfirmed,
            });
            let found = missing(&heard(words), stored.as_ref(), charged);
            assert_eq!(found.map(|(what, _)| what), expected, "{words} {now:?}");
        }
        // Deleted by retention.
        assert_eq!(missing(&heard("c"), None, true), None);
    }

    #[test]
    fn a_charge_that_was_decided_twice_is_the_same_and_another_amount_is_not() {
        let id = Uuid::from_u128(1);
        let entry = Entry {
            id,
            kind: "charge".to_owned(),
            reservation: Uuid::from_u128(2),
            charge: None,
            user: "ann".to_owned(),
            server: "cam".to_owned(),
            seconds: 60,
            amount_minor: 5,
            currency: "EUR".to_owned(),
            tariff_version: 1,
            created_at: chrono::DateTime::from_timestamp(0, 0).unwrap(),
        };
        let bill = Bill {
            kind: "charge",
            reservation: entry.reservation,
            user: entry.user.clone(),
            server: entry.server.clone(),
            amount_minor: 5,
            currency: "EUR".to_owned(),
        };
        let what = |bill: &Bill, entry| judge_bill(id, bill, entry).map(|found| found.what);
        assert_eq!(what(&bill, Some(&entry)), None);
        assert_eq!(what(&bill, None), Some(What::ChargeMissing));
        let credit = Bill { kind: "credit", ..bill.clone() };
        assert_eq!(what(&credit, None), Some(What::CreditMissing));
        let other = Bill { amount_minor: 6, ..bill };
        assert_eq!(what(&other, Some(&entry)), Some(What::EntryDiffers));
    }
}
