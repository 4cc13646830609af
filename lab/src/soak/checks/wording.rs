//! Puts the service's answers and the naive model's into the same words, to compare them.

use holdfast::message::answer::{Answer, QuotaReceipt, ReservationView};

use crate::naive::said::Answer as Expected;
use crate::naive::truth::micros;

/// How an answer differs from the expected one.
pub fn differs(answer: &Answer, expected: &Expected) -> Option<String> {
    let (given, must) = (told(answer), expected_told(expected));
    (given != must).then(|| format!("{given}, must be {must}"))
}

fn told(answer: &Answer) -> String {
    match answer {
        Answer::Accepted { reservation, quota, .. } => {
            format!(
                "accepted {} {:?}",
                view(reservation),
                quota.iter().map(receipt).collect::<Vec<_>>()
            )
        }
        Answer::Reconfirmed { reservation, .. } => format!("reconfirmed {}", view(reservation)),
        Answer::Withdrawn { reservation, .. } => format!("withdrawn {}", view(reservation)),
        Answer::Refused { code, reason, quota, .. } => {
            let receipts: Vec<_> = quota.iter().map(receipt).collect();
            format!("refused {code} {} {receipts:?}", reason.as_deref().unwrap_or("-"))
        }
        other => format!("{other:?}"),
    }
}

fn view(view: &ReservationView) -> String {
    let ReservationView { id, server, state, start_at, end_at, deadline_at, price, .. } = view;
    let times = [start_at, end_at, deadline_at].map(|at| micros(*at));
    format!("{id} on {server} {state} {times:?} for {}", price.amount_minor)
}

/// Period, limit, used and requested.
fn receipt(receipt: &QuotaReceipt) -> (i64, i64, i64, i64) {
    let QuotaReceipt { period_start, limit_seconds, used_seconds, requested_seconds, .. } = receipt;
    (micros(*period_start), *limit_seconds, *used_seconds, *requested_seconds)
}

fn expected_told(expected: &Expected) -> String {
    let receipts: Vec<_> = expected
        .receipts
        .iter()
        .map(|line| (line.period.0, line.limit, line.used, line.requested))
        .collect();
    let row = expected.row.as_ref().map(|row| {
        let times = [row.start, row.end, row.deadline];
        format!("{} on {} {} {times:?} for {}", row.id, row.server, row.state, row.price)
    });
    match (expected.kind, row) {
        ("accepted", Some(row)) => format!("accepted {row} {receipts:?}"),
        (kind, Some(row)) => format!("{kind} {row}"),
        (kind, None) => {
            format!("{kind} {} {} {receipts:?}", expected.code, expected.reason.unwrap_or("-"))
        }
    }
}
