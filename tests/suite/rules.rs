//! Each rule on real engines: what is refused with which code, what is still taken right beside it,
//! and what a terminal is told.

mod capacity;
mod late;
mod order;
mod price;
mod quota;
mod refusals;
mod repeats;
mod reservation;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::broker::routes::{self, Route};
use holdfast::client::Reply;
use holdfast::domain::id::ServerId;
use holdfast::message::answer::{Answer, QuotaReceipt};
use serde_json::Value;

use crate::support::stack::Stack;
use crate::support::terminal::Terminal;

type Window = (DateTime<Utc>, DateTime<Utc>);

/// `[start, end)` in seconds after `base`.
fn span(base: DateTime<Utc>, start: i64, end: i64) -> Window {
    (base + TimeDelta::seconds(start), base + TimeDelta::seconds(end))
}

/// What a terminal can act on in a refusal.
#[derive(Debug, PartialEq, Eq)]
struct Refused {
    code: String,
    retry: String,
    retry_after_ms: Option<u64>,
    field: Option<String>,
    reason: Option<String>,
    decided: bool,
}

impl Refused {
    /// A refusal that is stored under its message id.
    fn decided(code: &str) -> Self {
        Self {
            code: code.to_owned(),
            retry: "new_id".to_owned(),
            retry_after_ms: None,
            field: None,
            reason: None,
            decided: true,
        }
    }

    /// A refusal that leaves its message id as it was.
    fn undecided(code: &str, retry: &str) -> Self {
        Self { retry: retry.to_owned(), decided: false, ..Self::decided(code) }
    }

    fn of(answer: Answer) -> Self {
        match answer {
            Answer::Refused { code, retry, retry_after_ms, field, reason, decided_at, .. } => {
                let decided = decided_at.is_some();
                Self { code, retry, retry_after_ms, field, reason, decided }
            }
            other => panic!("not refused: {other:?}"),
        }
    }
}

/// Binds a server that there is not, as an interrupted `server add` does.
async fn bind_nowhere(stack: &Stack) {
    let nowhere = Route { server: "nowhere".to_owned(), partition: 0 };
    routes::bind(&stack.amqp, &[nowhere]).await.expect("bound");
}

/// Requests what must be refused for its quota; returns the receipts.
async fn over_quota(terminal: &mut Terminal, server: &ServerId, wanted: Window) -> Vec<[i64; 3]> {
    match terminal.request(server, wanted).await {
        Answer::Refused { code, quota, .. } if code == "quota_exceeded" => sums(&quota),
        other => panic!("not over quota: {other:?}"),
    }
}

/// Requests what must be accepted; returns the receipts.
async fn in_quota(terminal: &mut Terminal, server: &ServerId, wanted: Window) -> Vec<QuotaReceipt> {
    match terminal.request(server, wanted).await {
        Answer::Accepted { quota, .. } => quota,
        other => panic!("not accepted: {other:?}"),
    }
}

/// Limit, used and requested seconds of each receipt.
fn sums(receipts: &[QuotaReceipt]) -> Vec<[i64; 3]> {
    receipts.iter().map(|r| [r.limit_seconds, r.used_seconds, r.requested_seconds]).collect()
}

/// Moves the end of the month out of the way, for a test whose times must lie in one period.
async fn far_from_the_end_of_a_period(stack: &Stack) {
    let statement = "update policy set quota_zone = 'Etc/GMT+12'
        where date_part('month', clock_timestamp() at time zone 'UTC')
           <> date_part('month', (clock_timestamp() + interval '3 h') at time zone 'UTC')";
    stack.execute(statement, &[]).await;
}

/// An answer's body but for the instant of the decision.
fn timeless(reply: &Reply) -> String {
    let body = String::from_utf8(reply.body.clone()).expect("UTF-8");
    let value: Value = serde_json::from_str(&body).expect("JSON");
    body.replace(&format!(r#""decided_at":{}"#, value["decided_at"]), "")
}
