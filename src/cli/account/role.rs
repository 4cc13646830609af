//! Accounts of the database.

use anyhow::Result;
use serde_json::json;
use tokio_postgres::Transaction;

use crate::cli::context::Context;
use crate::cli::exit::refuse;
use crate::cli::secret::{NewUrl, UrlFile, new_password};
use crate::store::admin::roles::{self, Kind};

pub(super) async fn add(
    context: &Context,
    kind: Kind,
    name: &str,
    url_file: &UrlFile,
) -> Result<()> {
    let mut client = context.database().await?;
    let transaction = client.transaction().await?;
    let password = new_password();
    if !roles::create(&transaction, name, kind, &password).await? {
        return refuse(format!(
            "account {name}: exists already in the database; choose another name, or make another \
             password with `holdfast account rotate`"
        ));
    }
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
        return refuse(format!(
            "account {name}: is none that `holdfast account add database-{}` has made",
            kind.as_str()
        ));
    }
    commit(context, transaction, kind, name, &password, url_file).await
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
