//! Files letters: from the broker's queue into the database, page by page.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use tokio_postgres::Client;

use crate::broker::dead::Taker;
use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::output::hint;
use crate::crash_point;
use crate::store::admin::dead_letters::{count_open, insert_letters};
use crate::store::registry::load_worker_accounts;

/// Letters per transaction: some megabytes at most.
const PAGE: usize = 200;

/// Most open letters. The queue keeps as many, and drops its oldest.
const OPEN_MAX: i64 = 100_000;

/// A letter leaves the queue once it is stored. What is stored twice after a crash has the same id.
pub(super) async fn file(context: &Context, database: &mut Client) -> Result<()> {
    let Ok(broker) = context.config.broker() else {
        hint!("AMQP_URL is not set: letters that are still in the broker's queue are not seen");
        return Ok(());
    };
    context.check_owner(database).await?;
    let workers = load_worker_accounts(database).await?;
    let taker = Taker::connect(broker).await?;
    let filed = file_all(database, &taker, &workers).await;
    taker.close().await?;
    match filed? {
        0 => {}
        filed => hint!("letters that were filed from the broker's queue: {filed}"),
    }
    Ok(())
}

async fn file_all(
    database: &mut Client,
    taker: &Taker,
    workers: &BTreeSet<String>,
) -> Result<usize> {
    let mut filed = 0;
    loop {
        let is_workers = |account: &str| workers.contains(account);
        let (letters, last) = taker.take(PAGE, is_workers).await.context("taking dead letters")?;
        if letters.is_empty() {
            return Ok(filed);
        }
        let transaction = database.transaction().await?;
        if count_open(&transaction).await? >= OPEN_MAX {
            return refuse(format!(
                "{OPEN_MAX} letters are open; more stay in the queue, which drops its oldest. Look at \
                 `holdfast dead-letter list --causes` without AMQP_URL, then replay or discard some"
            ));
        }
        insert_letters(&transaction, &letters).await?;
        transaction.commit().await?;
        crash_point!("letters-stored");
        taker.remove_through(last).await?;
        filed += letters.len();
    }
}
