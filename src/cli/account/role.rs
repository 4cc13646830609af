//! Accounts of the database.

use anyhow::Result;
use serde_json::json;
use tokio_postgres::Transaction;

use super::new::New;
use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::secret::{NewUrl, UrlFile, new_password};
use crate::store::admin::audit;
use crate::store::admin::roles::{self, Kind, Removed};

pub(super) async fn add(context: &Context, kind: Kind, new: New<'_>) -> Result<()> {
    let New { name, url_file, beside } = new;
    let mut client = context.database().await?;
    if let Some(old) = beside {
        let all = roles::list(&client).await?;
        let is_old =
            |role: &roles::Role| role.name == old && role.kind == kind.as_str() && role.exists;
        if !all.iter().any(is_old) {
            return unknown(old, kind);
        }
    }
    let transaction = client.transaction().await?;
    let password = new_password();
    if !roles::create(&transaction, name, kind, &password).await? {
        return refuse(format!(
            "account {name}: exists already in the database; choose another name, or make another \
             password with `holdfast account rotate`"
        ));
    }
    record(&transaction, kind, name, "add").await?;
    commit(context, transaction, kind, name, &password, url_file).await
}

pub(super) async fn rotate(
    context: &Context,
    kind: Kind,
    name: &str,
    url_file: &UrlFile,
) -> Result<()> {
    let mut client = context.database().await?;
    let transaction = client.transaction().await?;
    let password = new_password();
    if !roles::update_password(&transaction, name, kind, &password).await? {
        return unknown(name, kind);
    }
    record(&transaction, kind, name, "rotate").await?;
    commit(context, transaction, kind, name, &password, url_file).await
}

/// Deletes an account that has no open session.
pub(super) async fn remove(context: &Context, kind: Kind, name: &str) -> Result<()> {
    if !roles::is_name(name) {
        return unknown(name, kind);
    }
    let mut client = context.database().await?;
    let transaction = client.transaction().await?;
    match roles::remove(&transaction, name, kind).await? {
        Removed::Unknown => return unknown(name, kind),
        Removed::InUse(sessions) => {
            return refuse(format!(
                "account {name}: has {sessions} open sessions, expected none; stop what uses it, or restart \
                 it with another account"
            ));
        }
        Removed::Gone => {}
    }
    record(&transaction, kind, name, "remove").await?;
    transaction.commit().await?;
    context.output.print(&json!({ "removed": name }), || format!("removed account {name}"))
}

async fn record(transaction: &Transaction<'_>, kind: Kind, name: &str, action: &str) -> Result<()> {
    let what = json!({ "kind": format!("database-{}", kind.as_str()) });
    Ok(audit::write(transaction, "account", name, action, &what).await?)
}

fn unknown<T>(name: &str, kind: Kind) -> Result<T> {
    refuse(format!(
        "account {name}: is none that `holdfast account add database-{}` has made",
        kind.as_str()
    ))
}

async fn commit(
    context: &Context,
    transaction: Transaction<'_>,
    kind: Kind,
    name: &str,
    password: &str,
    url_file: &UrlFile,
) -> Result<()> {
    let new = NewUrl {
        about: format!("account {name}"),
        value: json!({ "account": name, "kind": kind.as_str() }),
        key: "database_url",
        url: context.config.database()?.for_account(name, password),
    };
    url_file.write_first(context.output, new, async { Ok(transaction.commit().await?) }).await
}
