//! Statements that are sent one behind the other, before the first answer is in: one round trip for
//! all. The order of the calls to [`send`] is the order in which the server executes them.

use std::pin::Pin;

use deadpool_postgres::ClientWrapper;
use futures::future::{MaybeDone, maybe_done};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::error::StoreError;

/// A statement that was sent; its answer is still to come.
pub(super) struct Sent<F: Future>(Pin<Box<MaybeDone<F>>>);

/// Sends a statement. tokio-postgres writes it when its future is polled for the first time, which
/// this does; a statement that still had to be prepared would be overtaken by those behind it.
///
/// Fails at once with a statement that cannot be sent, for example because a parameter is of the wrong
/// type. The server never hears of it, so nothing may be sent behind it, least of all the commit.
pub(super) async fn send<F, T>(statement: F) -> Result<Sent<F>, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut sent = Box::pin(maybe_done(statement));
    let _ = futures::poll!(sent.as_mut());
    let failed = matches!(sent.as_mut().output_mut(), Some(Err(_)));
    let sent = Sent(sent);
    match failed {
        true => Err(sent.answer().await.err().expect("it has failed")),
        false => Ok(sent),
    }
}

impl<F: Future> Sent<F> {
    /// Waits for the answer.
    pub async fn answer(mut self) -> F::Output {
        self.0.as_mut().await;
        self.0.as_mut().take_output().expect("taken once, when it is there")
    }
}

/// Parameters of a statement.
pub(super) type Param<'a> = &'a (dyn ToSql + Sync);

/// The rows of a query, or none where there is nothing to ask.
pub(super) async fn rows<const N: usize>(
    client: &ClientWrapper,
    wanted: bool,
    statement: &Statement,
    params: [Param<'_>; N],
) -> Result<Vec<Row>, StoreError> {
    if !wanted {
        return Ok(Vec::new());
    }
    Ok(client.query(statement, &params).await?)
}

/// Executes a statement, unless there is nothing to write.
pub(super) async fn execute<const N: usize>(
    client: &ClientWrapper,
    wanted: bool,
    statement: &Statement,
    params: [Param<'_>; N],
) -> Result<u64, StoreError> {
    if !wanted {
        return Ok(0);
    }
    Ok(client.execute(statement, &params).await?)
}

/// Executes one of the texts that need no parameters: `begin`, `commit`.
pub(super) async fn run(client: &ClientWrapper, text: &'static str) -> Result<(), StoreError> {
    Ok(client.batch_execute(text).await?)
}
