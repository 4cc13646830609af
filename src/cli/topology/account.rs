//! `holdfast topology account`.

use anyhow::Result;
use serde_json::json;

use crate::broker::accounts::{Accounts, Found};
use crate::cli::Context;
use crate::cli::exit::refuse;
use crate::store::admin::roles;

pub(super) fn name(text: &str) -> Result<String, String> {
    if roles::is_name(text) && text.contains('_') {
        Ok(text.to_owned())
    } else {
        Err("a name is 1 to 63 characters of a-z, 0-9 and '_', a letter first, with an underscore"
            .to_owned())
    }
}

pub(super) async fn run(context: &Context, name: &str) -> Result<()> {
    let broker = context.config.broker()?;
    let accounts = Accounts::new(context.config.management()?, broker)?;
    match accounts.find(name).await? {
        Found::Complete => {
            return refuse(format!(
                "the broker has an account {name} already; for a new password delete it and run \
                 this again, or choose another name"
            ));
        }
        Found::HalfMade => eprintln!("completing account {name}, which has no rights yet"),
        Found::Nothing => {}
    }
    let password = accounts.create_worker(name).await?;
    let url = broker.url_for(name, &password);
    eprintln!("account {name}; its AMQP URL, with the password, is shown this once:");
    context.output.print(&json!({ "account": name, "amqp_url": url }), || url.clone())
}
