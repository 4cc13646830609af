//! Queries: one read-only transaction for many.

use super::render::{Reply, refused, unknown_terminal};
use crate::domain::access::{Key, Secrets};
use crate::domain::interval::Timestamp;
use crate::domain::query::{Found, Query, QueryOutcome, answer};
use crate::domain::refusal::Code;
use crate::message::answer::Answer;
use crate::message::envelope::DeadReason;
use crate::store::error::StoreError;
use crate::store::view::{ReadPool, load_view};

/// Answered queries. `T` is the caller's value beside each.
pub struct Answered<T> {
    /// The clock of the database that was asked.
    pub now: Timestamp,
    /// One per query, in order.
    pub replies: Vec<Replied<T>>,
}

/// An answered query.
pub struct Replied<T> {
    /// The answer.
    pub reply: Reply,
    /// Why the query was refused, if it was.
    pub refused: Option<Code>,
    /// Why it is also dead-lettered.
    pub dead: Option<DeadReason>,
    /// What the caller keeps beside it.
    pub beside: T,
}

/// Answers queries from what is committed now, or from a standby as of a moment ago.
///
/// The answer to `show` has the reservation's access key, if it is derived of one of `secrets`.
pub async fn answer_queries<T: Copy>(
    from: &ReadPool,
    queries: &[(&Query, T)],
    secrets: Option<&Secrets>,
) -> Result<Answered<T>, StoreError> {
    let asked: Vec<&Query> = queries.iter().map(|(query, _)| *query).collect();
    let view = load_view(from, &asked).await?;
    let reply = |(query, beside): &(&Query, T)| {
        let (reply, refused, dead) = match answer(&view, query) {
            QueryOutcome::Found(found) => {
                let mut answer = Answer::to_query(&found, view.now, view.as_of);
                answer.hand_over(secrets.and_then(|secrets| key(secrets, &found)));
                (reply(query, answer.type_name(), answer.to_json()), None, None)
            }
            QueryOutcome::Refused(refusal) => {
                let reply = refused(query.terminal.as_str(), Some(&query.message_id), &refusal);
                (reply, Some(refusal.code), None)
            }
            QueryOutcome::UnknownTerminal => (
                unknown_terminal(query.terminal.as_str(), &query.message_id),
                Some(Code::UnknownTerminal),
                Some(DeadReason::UnknownTerminal),
            ),
        };
        Replied { reply, refused, dead, beside: *beside }
    };
    Ok(Answered { now: view.now, replies: queries.iter().map(reply).collect() })
}

fn key(secrets: &Secrets, found: &Found) -> Option<Key> {
    let Found::Reservation(listed) = found else { return None };
    secrets.key(listed.reservation.id, listed.access.as_ref()?)
}

fn reply(query: &Query, type_name: &str, body: String) -> Reply {
    Reply {
        terminal: query.terminal.to_string(),
        message_id: Some(query.message_id.clone()),
        type_name: type_name.to_owned(),
        body,
        refused: None,
    }
}
