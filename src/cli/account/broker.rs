//! Accounts of the broker.

use anyhow::Result;
use serde_json::json;
use tokio_postgres::Client;

use super::new::New;
use crate::broker::accounts::{Accounts, Found, Purpose};
use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::output::hint;
use crate::cli::secret::{NewUrl, UrlFile, new_password, tagged};
use crate::store::admin::audit;
use crate::store::admin::worker_accounts::{self, WorkerAccount};

pub(super) async fn add(context: &Context, purpose: Purpose, new: New<'_>) -> Result<()> {
    let database = context.database().await?;
    context.check_owner(&database).await?;
    let New { name, url_file, beside } = new;
    let account = purpose.account(name);
    let accounts = accounts(context)?;
    if let Some(old) = beside {
        check_made(&accounts, purpose, &purpose.account(old)).await?;
    }
    match accounts.find(&account).await? {
        Found::Nothing => {}
        Found::HalfMade => hint!("completing account {account}, which has no rights yet"),
        Found::Tagged(tags) => return refuse(tagged(&account, &tags)),
        Found::Complete => {
            return refuse(format!(
                "account {account}: exists already on the broker; make another password with `holdfast \
                 account rotate`, or choose another name"
            ));
        }
    }
    let password = new_password();
    let new = new_url(context, purpose, &account, &password)?;
    url_file
        .write_first(context.output, new, accounts.create(purpose, &account, &password))
        .await?;
    record(&database, purpose, &account, "add").await
}

/// After the broker's part: what the audit has is done.
async fn record(database: &Client, purpose: Purpose, account: &str, action: &str) -> Result<()> {
    let what = json!({ "kind": purpose.kind() });
    Ok(audit::write(database, "account", account, action, &what).await?)
}

pub(super) async fn rotate(
    context: &Context,
    purpose: Purpose,
    name: &str,
    url_file: &UrlFile,
) -> Result<()> {
    let database = context.database().await?;
    context.check_owner(&database).await?;
    let account = purpose.account(name);
    let accounts = accounts(context)?;
    check_made(&accounts, purpose, &account).await?;
    let password = new_password();
    let new = new_url(context, purpose, &account, &password)?;
    url_file
        .write_first(context.output, new, accounts.set_password(purpose, &account, &password))
        .await?;
    record(&database, purpose, &account, "rotate").await
}

/// Deletes an account that is no worker's.
pub(super) async fn remove(context: &Context, purpose: Purpose, name: &str) -> Result<()> {
    let database = context.database().await?;
    context.check_owner(&database).await?;
    let account = purpose.account(name);
    let accounts = accounts(context)?;
    check_made(&accounts, purpose, &account).await?;
    check_unconnected(&accounts, &account).await?;
    accounts.delete(&account).await?;
    record(&database, purpose, &account, "remove").await?;
    context.output.print(&json!({ "removed": account }), || format!("removed account {account}"))
}

async fn check_unconnected(accounts: &Accounts, account: &str) -> Result<()> {
    match accounts.count_connections(account).await? {
        0 => Ok(()),
        connections => refuse(format!(
            "account {account}: has {connections} connections, expected none; stop what uses it, or restart \
             it with another account"
        )),
    }
}

/// Deletes it first: an interrupted command leaves an account that is gone and not yet retired, and can be
/// run again.
pub(super) async fn remove_workers(context: &Context, account: &str) -> Result<()> {
    let database = context.database().await?;
    context.check_owner(&database).await?;
    let accounts = accounts(context)?;
    let recorded = worker_accounts::load(&database, account).await?;
    match accounts.find(account).await? {
        Found::Nothing if recorded != Some(WorkerAccount::InUse) => {
            return refuse(format!("account {account}: unknown, or removed already"));
        }
        Found::Nothing => {}
        _ => {
            check_made(&accounts, Purpose::Worker, account).await?;
            check_unconnected(&accounts, account).await?;
            accounts.delete(account).await?;
        }
    }
    worker_accounts::retire(&database, account).await?;
    record(&database, Purpose::Worker, account, "remove").await?;
    context.output.print(&json!({ "removed": account }), || {
        format!("removed account {account}; the wake-ups that it has published are still believed")
    })
}

fn accounts(context: &Context) -> Result<Accounts> {
    Accounts::new(context.config.management()?, context.config.broker()?)
}

/// Refuses an account that was not made for this purpose: another password would lock others out.
async fn check_made(accounts: &Accounts, purpose: Purpose, account: &str) -> Result<()> {
    let kind = purpose.kind();
    match accounts.find(account).await? {
        Found::Tagged(tags) => refuse(tagged(account, &tags)),
        Found::Complete if accounts.is_for(purpose, account).await? => Ok(()),
        Found::Complete => refuse(format!(
            "account {account}: is on the broker, but none that `holdfast account add {kind}` has made \
             on this vhost"
        )),
        Found::HalfMade | Found::Nothing => refuse(format!(
            "account {account}: does not exist, or is incomplete; make it with `holdfast account add {kind}`"
        )),
    }
}

fn new_url(context: &Context, purpose: Purpose, account: &str, password: &str) -> Result<NewUrl> {
    let mut value = json!({ "account": account });
    let mut about = format!("account {account}");
    if let Some(queue) = purpose.queue() {
        value["queue"] = json!(queue);
        about.push_str(&format!(" for {queue}"));
    }
    let url = context.config.broker()?.url_for(account, password);
    Ok(NewUrl { about, value, key: "amqp_url", url })
}
