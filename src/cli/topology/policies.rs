//! Policies over the queues and exchanges, and terminals' reply queues, for `apply` and `verify`.

use anyhow::Result;
use tokio_postgres::Client;

use crate::broker::policies::{Deviation, Policies};
use crate::cli::context::Context;
use crate::store::admin::terminals::list_terminals;

/// Most lines of one kind in a text; JSON has all.
const LINES_MAX: usize = 50;

/// What to do about deviations.
pub(super) const REMEDY: &str = "messages may be lost or refused. Narrow the pattern of the policies that are \
    named, or delete them. `holdfast topology apply`, with RABBITMQ_MANAGEMENT_URL and an account that may set \
    policies, keeps off those of a priority below 1000; operator policies it cannot";

/// `None` without the management API.
pub(super) fn policies(context: &Context) -> Result<Option<Policies>> {
    match context.config.management() {
        Ok(management) => Ok(Some(Policies::new(management, context.config.broker()?)?)),
        Err(_) => Ok(None),
    }
}

pub(super) async fn terminal_ids(database: &Client) -> Result<Vec<String>> {
    let terminals = list_terminals(database, None).await?;
    Ok(terminals.into_iter().map(|terminal| terminal.id).collect())
}

pub(super) fn lines(deviations: &[Deviation]) -> Vec<String> {
    shortened("changed by a policy", deviations)
}

/// At most some lines, and how many more there are.
pub(super) fn shortened(label: &str, items: &[impl std::fmt::Display]) -> Vec<String> {
    let shown = items.iter().take(LINES_MAX).map(|item| format!("{label}: {item}"));
    let more = items.len().saturating_sub(LINES_MAX);
    shown.chain((more > 0).then(|| format!("{label}: {more} more; --json lists all"))).collect()
}
