//! Statements sent before the first answer is in: one round trip for all. The server executes them in the
//! order of the calls to [`send`].

use std::pin::Pin;

use deadpool_postgres::ClientWrapper;
use futures::future::{MaybeDone, maybe_done};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Row, Statement};

use super::error::StoreError;

/// A sent statement whose answer is pending.
pub(super) struct Sent<F: Future>(Pin<Box<MaybeDone<F>>>);

/// tokio-postgres writes a statement when its future is first polled. It must be prepared already, or those
/// behind it overtake it.
///
/// Fails at once if it cannot be sent, for example for a wrong parameter type. Then nothing may be sent
/// behind it, least of all the commit.
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
    pub async fn answer(mut self) -> F::Output {
        self.0.as_mut().await;
        self.0.as_mut().take_output().expect("taken once, when it is there")
    }
}

pub(super) type Param<'a> = &'a (dyn ToSql + Sync);

/// A query's rows; none unless `wanted`.
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

/// For `begin` and `commit`.
pub(super) async fn run(client: &ClientWrapper, text: &'static str) -> Result<(), StoreError> {
    Ok(client.batch_execute(text).await?)
}
