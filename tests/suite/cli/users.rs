//! Users and terminals in the database.

use crate::support::database::{COLUMNS, Database};
use crate::support::program::Transcript;

#[tokio::test]
async fn users_are_listed_with_what_they_use_and_get_other_limits() {
    let database = Database::new().await;
    database.server("cam", 9, 0).await;
    database.user("ann", None).await;
    database.user("bob", Some(7_200)).await;
    // The first hour of this month is in this period, whatever day it is.
    let hour = format!(
        "insert into reservations ({COLUMNS})
         select gen_random_uuid(), 'bob-t', 'm', 'bob', 'cam', 0, start, start + interval '1 hour',
             start + interval '1 hour', start, 'held', null, 0, 'EUR', 1, start, null, null
         from date_trunc('month', now(), 'UTC') start"
    );
    database.accepts(&hour).await;
    let mut operator = Transcript::new(&[("DATABASE_URL", database.url.as_str())]);
    operator.run("user list", 0).await;
    operator.run("user list --json", 0).await;
    operator.run("user set ann --quota-seconds 36000", 0).await;
    operator.run("user set ann --holds-max 3 --json", 0).await;
    operator.run("user list", 0).await;
    operator.run("user set ann --quota-seconds default --holds-max default", 0).await;
    // Below what is reserved; that stays.
    operator.run("user set bob --quota-seconds 0", 0).await;
    operator.run("user set nobody --quota-seconds 1", 4).await;
    operator.run("user set ann --quota-seconds many", 2).await;
    operator.run("user list", 0).await;
    operator.check("users");
    database.finish().await;
}

#[tokio::test]
async fn terminals_are_listed_disabled_and_enabled() {
    let database = Database::new().await;
    database.user("ann", None).await;
    database.user("bob", None).await;
    let mut operator = Transcript::new(&[("DATABASE_URL", database.url.as_str())]);
    operator.run("terminal list", 0).await;
    operator.run("terminal disable bob-t", 0).await;
    operator.run("terminal disable bob-t --json", 0).await;
    operator.run("terminal disable none", 4).await;
    operator.run("terminal list --user bob", 0).await;
    operator.run("terminal enable bob-t", 0).await;
    operator.run("terminal enable none", 4).await;
    operator.run("terminal list --json", 0).await;
    operator.run("terminal list --user nobody", 0).await;
    operator.check("terminals");
    database.finish().await;
}
