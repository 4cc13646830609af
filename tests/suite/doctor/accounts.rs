//! Accounts that may not do what they need, and accounts that nobody has.

use holdfast::broker::accounts::Purpose;
use holdfast::domain::id::TerminalId;
use holdfast::store::registry;
use rabbitmq_http_client::requests::Permissions;

use super::{found_and_healed, looked, until};
use crate::support::engines;
use crate::support::stack::Stack;

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_account_without_a_right() {
    let stack = Stack::new().await;
    let account = format!("narrow_{}", stack.suffix());
    let made = stack.broker_accounts().create(Purpose::Worker, &account, engines::PASSWORD).await;
    made.expect("an account");
    assert!(registry::insert_worker_account(&stack.db, &account).await.expect("recorded"));
    until(&stack, "accounts.workers", "green", &[&account]).await;
    let grant = async |configure, write, read| {
        let (user, vhost) = (account.as_str(), stack.vhost.as_str());
        let grants = Permissions { user, vhost, configure, write, read };
        engines::management().declare_permissions(&grants).await.expect("granted");
    };
    // It may not send wake-ups.
    let read = r"^reservation\.commands\.v2\.[0-9]+$|^reservation\.queries\.v2$";
    let write = r"^reservation\.(replies|events|dead)\.v1$|^billing\.entries\.v1$";
    grant("^$", write, read).await;
    let lacks = format!("{account} lacks write on reservation.due.v1");
    until(&stack, "accounts.workers", "red", &[&lacks, "account add broker-worker"]).await;
    grant(".*", ".*", ".*").await;
    let more = format!("{account} may do more than it needs");
    found_and_healed(&stack, "accounts.workers", "yellow", &[&more], async || {
        engines::drop_account(&account).await;
        let made = stack.broker_accounts();
        made.create(Purpose::Worker, &account, engines::PASSWORD).await.expect("an account");
    })
    .await;
    engines::drop_account(&account).await;
    until(&stack, "accounts.workers", "red", &["has no rights on this vhost, or is gone"]).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_without_its_account_and_the_other_way_round() {
    let mut stack = Stack::new().await;
    let terminal = stack.terminal_account("ann").await;
    let id: TerminalId = terminal.account().parse().expect("an id");
    assert_eq!(looked(&stack).await.level("accounts.terminals"), "green");
    engines::drop_account(id.as_str()).await;
    let named = format!("{id} has no account");
    let texts = [&*named, "holdfast terminal add"];
    found_and_healed(&stack, "accounts.terminals", "red", &texts, async || {
        stack.operate(&[], &format!("terminal add {id} --user ann"), 0).await;
    })
    .await;
    // As after a restored backup.
    stack.execute("delete from terminals where id = $1", &[&id.as_str()]).await;
    let named = format!("{id} is a terminal's account, and no terminal of the database");
    let texts = [&*named, "holdfast terminal add", "delete_user"];
    found_and_healed(&stack, "accounts.terminals", "yellow", &texts, async || {
        stack
            .execute("insert into terminals (id, user_id) values ($1, 'ann')", &[&id.as_str()])
            .await;
    })
    .await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workers_database_account_without_a_right() {
    let stack = Stack::new().await;
    until(&stack, "database.rights", "green", &[]).await;
    let role: String =
        stack.ask("select name from database_roles where kind = 'worker' limit 1", &[]).await;
    stack.execute(&format!("revoke update on timers from {role}"), &[]).await;
    let lacks = format!("{role}: update on timers");
    found_and_healed(&stack, "database.rights", "red", &[&lacks, "holdfast migrate"], async || {
        stack.operate(&[], "migrate", 0).await;
    })
    .await;
    stack.finish().await;
}
