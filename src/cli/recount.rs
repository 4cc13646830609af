//! Counts of all use anew, for `policy set` and `user recount`: in steps, with progress, and again from where the
//! last one stopped.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};
use tokio_postgres::Client;

use super::context::Context;
use super::exit::{refusal, refuse};
use super::output::{hint, time};
use crate::store::admin::policy::{self, Policy, PolicyChange};
use crate::store::admin::recount::{self, Recount};
use crate::store::error::StoreError;

/// Between two lines about a count that goes on.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Users in the first page.
const PAGE_START: i64 = 20;

/// Most users in a page: their locks are taken one after the other, and held until the last one is.
const PAGE_MAX: i64 = 200;

/// A page that takes less is followed by a larger one, and by a smaller one if it takes more: a snapshot holds back
/// vacuum, and an interrupted page is counted again.
const PAGE_TIME: Duration = Duration::from_secs(1);

/// Tries for locks in a row. Each waits for half a second, so a transaction that keeps a user locked for about a
/// minute ends the command.
const TRIES_MAX: u32 = 60;

/// Between two tries, for decisions to go on.
const PAUSE: Duration = Duration::from_millis(500);

/// Changes the policy, and counts first if its period or zone is another. Errors of the database are left as they
/// are.
pub(super) async fn for_policy(
    context: &Context,
    mut client: Client,
    change: &PolicyChange,
) -> Result<Policy> {
    let current = policy::load_policy(&client).await?;
    let period = change.quota_period.as_ref().unwrap_or(&current.quota_period);
    let zone = change.quota_zone.as_ref().unwrap_or(&current.quota_zone);
    let is_current =
        *period == current.quota_period && zone.eq_ignore_ascii_case(&current.quota_zone);
    if is_current && recount::load_recount(&client).await?.is_none() {
        return Ok(policy::update_policy(&client, change).await?);
    }
    // What is refused is refused before the count.
    let rest = PolicyChange { quota_period: None, quota_zone: None, ..change.clone() };
    policy::try_policy(&mut client, &rest).await?;
    run(context, client, (period, zone), change).await
}

/// Counts by the policy in force and this session's zone rules.
pub(super) async fn for_zone_rules(context: &Context, client: Client) -> Result<()> {
    let current = policy::load_policy(&client).await?;
    let by = (current.quota_period.as_str(), current.quota_zone.as_str());
    run(context, client, by, &PolicyChange::default()).await?;
    Ok(())
}

/// Ends the count that is under way; `false` if there is none.
pub(super) async fn abandon(client: &Client) -> Result<bool> {
    let abandoned = recount::abandon(client).await.map_err(refusal)?;
    recount::delete_stale(client).await?;
    Ok(abandoned)
}

/// Says that a count is under way, if so.
pub(super) async fn hint_under_way(client: &Client) -> Result<()> {
    if let Some(recount) = recount::load_recount(client).await? {
        let left = recount::count_users_left(client).await?;
        hint!("{}; {left} users are left", under_way(&recount));
    }
    Ok(())
}

fn under_way(recount: &Recount) -> String {
    format!(
        "a count of all use by {} in {} is under way, begun by {} at {}",
        recount.quota_period,
        recount.quota_zone,
        recount.operator,
        time(recount.started_at)
    )
}

async fn run(
    context: &Context,
    mut client: Client,
    (period, zone): (&str, &str),
    change: &PolicyChange,
) -> Result<Policy> {
    let known = recount::load_recount(&client).await?;
    let begun = retried(&mut 0, async || recount::begin(&client, period, zone).await).await?;
    if !begun.is_by(period, zone) {
        return refuse(format!(
            "{}. Finish it with `holdfast policy set --quota-period {} --quota-zone {}`, or give it up with \
             `holdfast user recount --abandon`",
            under_way(&begun),
            begun.quota_period,
            begun.quota_zone
        ));
    }
    if known.is_some() {
        hint!("{}; going on with it", under_way(&begun));
    }
    let mut reader = context.database().await?;
    Count { generation: begun.generation, page: PAGE_START, tries: 0 }
        .all_users(&mut client, &mut reader)
        .await?;
    let finished = finish(&mut client, &begun, change).await?;
    let Some(policy) = finished else { return replaced() };
    recount::delete_stale(&client).await?;
    Ok(policy)
}

fn replaced<T>() -> Result<T> {
    refuse(
        "the count was abandoned, finished or taken over by another session; look at the policy with \
         `holdfast policy show`",
    )
}

/// Retries what only a lock stopped.
async fn retried<T>(
    tries: &mut u32,
    mut work: impl AsyncFnMut() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    loop {
        match work().await {
            Err(error) if error.is_contention() && *tries < TRIES_MAX => {
                *tries += 1;
                sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

async fn finish(
    client: &mut Client,
    recount: &Recount,
    change: &PolicyChange,
) -> Result<Option<Policy>, StoreError> {
    retried(&mut 0, async || recount::finish(client, recount, change).await).await
}

/// The steps of a count.
struct Count {
    generation: i64,
    /// Users in the next page.
    page: i64,
    /// Tries in a row that a lock has stopped.
    tries: u32,
}

impl Count {
    /// Counts all users that are left.
    async fn all_users(&mut self, client: &mut Client, reader: &mut Client) -> Result<()> {
        let left = recount::count_users_left(client).await?;
        hint!(
            "counting the use of {left} users; decisions go on. Interrupted, run the same command again: it \
             goes on where it stopped"
        );
        let (mut counted, mut shown) = (0, Instant::now());
        loop {
            let recount = recount::load_recount(client).await?;
            match recount.filter(|it| it.generation == self.generation) {
                Some(recount) if recount.is_counted() => break,
                Some(_) => {}
                None => return replaced(),
            }
            let began = Instant::now();
            match self.one_page(client, reader).await {
                Ok(Some(users)) => {
                    counted += users;
                    self.resize(began.elapsed());
                }
                Ok(None) => return replaced(),
                Err(error) if error.is_contention() && self.tries < TRIES_MAX => {
                    self.give_way().await;
                }
                Err(error) => return Err(error.into()),
            }
            if shown.elapsed() >= PROGRESS_INTERVAL {
                shown = Instant::now();
                hint!("counted {counted} of {left} users");
            }
        }
        hint!("counted {counted} users");
        Ok(())
    }

    /// Returns how many users it has counted; `None`: another session has ended the count or goes on with it.
    async fn one_page(
        &mut self,
        client: &mut Client,
        reader: &mut Client,
    ) -> Result<Option<usize>, StoreError> {
        let marked = recount::mark(client, reader, self.generation, self.page).await?;
        let Some(marked) = marked else { return Ok(None) };
        let users = marked.users();
        let mut counted = marked.count().await?;
        let added = retried(&mut self.tries, async || counted.add(client).await).await?;
        self.tries = 0;
        Ok(added.then_some(users))
    }

    /// Smaller pages need fewer locks at a time.
    async fn give_way(&mut self) {
        self.tries += 1;
        self.page = (self.page / 2).max(1);
        sleep(PAUSE).await;
    }

    fn resize(&mut self, took: Duration) {
        if took > PAGE_TIME {
            self.page = (self.page / 2).max(1);
        } else if took < PAGE_TIME / 2 {
            self.page = (self.page * 2).min(PAGE_MAX);
        }
    }
}
