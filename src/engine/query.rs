//! Queries: one read-only transaction for many.

use super::render::{Reply, refused, unknown_terminal};
use crate::domain::interval::Timestamp;
use crate::domain::query::{Query, QueryOutcome, answer};
use crate::message::answer::Answer;
use crate::message::envelope::DeadReason;
use crate::store::error::StoreError;
use crate::store::view::{ReadPool, load_view};

/// Answered queries. `T` is the caller's value beside each.
pub struct Answered<T> {
    /// The clock of the database that was asked.
    pub now: Timestamp,
    /// An answer for each query, and why it is also dead-lettered.
    pub replies: Vec<(Reply, Option<DeadReason>, T)>,
}

/// Answers queries from what is committed now, or from a standby as of a moment ago.
pub async fn answer_queries<T: Copy>(
    from: &ReadPool,
    queries: &[(&Query, T)],
) -> Result<Answered<T>, StoreError> {
    let asked: Vec<&Query> = queries.iter().map(|(query, _)| *query).collect();
    let view = load_view(from, &asked).await?;
    let reply = |(query, beside): &(&Query, T)| {
        let (reply, dead) = match answer(&view, query) {
            QueryOutcome::Found(found) => {
                let answer = Answer::to_query(&found, view.now, view.as_of);
                (reply(query, answer.type_name(), answer.to_json()), None)
            }
            QueryOutcome::Refused(refusal) => {
                (refused(query.terminal.as_str(), Some(&query.message_id), &refusal), None)
            }
            QueryOutcome::UnknownTerminal => (
                unknown_terminal(query.terminal.as_str(), &query.message_id),
                Some(DeadReason::UnknownTerminal),
            ),
        };
        (reply, dead, *beside)
    };
    Ok(Answered { now: view.now, replies: queries.iter().map(reply).collect() })
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
