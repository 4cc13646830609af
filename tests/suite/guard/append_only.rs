//! History and bills are append-only (R15, P3).

use super::database;
use crate::support::database::Row;

#[tokio::test(flavor = "multi_thread")]
async fn history_and_bills_are_not_rewritten() {
    let database = database(1).await;
    let row = Row { state: "confirmed", ..Row::held(0., 60.) };
    database.accepts(&row.insert()).await;
    let id = row.id;
    database
        .accepts(&format!(
            "insert into history values (1, '{id}', null, 'held', null, 'terminal', 'ann-t',
                 'command', 'm', null, 'cam', now());
             insert into billing_entries values (gen_random_uuid(), 'charge', '{id}', null, 'ann',
                 'cam', 3600, 3600, 'EUR', 1, now())"
        ))
        .await;
    for table in ["history", "billing_entries"] {
        for rewrite in [
            format!("update {table} set server_id = 'mic'"),
            format!("update {table} set server_id = server_id where false"),
            format!("delete from {table}"),
            format!("delete from {table} where reservation_id = '{id}'"),
            format!("truncate {table}"),
            format!("truncate {table} cascade"),
            format!(
                "merge into {table} t using servers s on t.server_id = s.id
                 when matched then delete"
            ),
            format!("with gone as (delete from {table} returning 1) select count(*) from gone"),
        ] {
            let refused = database.refuses("ZR004", &rewrite).await;
            assert_eq!(refused.message, format!("{table} is append-only"));
        }
        let kept: i64 = database.ask(&format!("select count(*) from {table}")).await;
        assert_eq!(kept, 1, "{table}");
    }
    // Nor through a table that others depend on.
    // By the keys that refer to it, already.
    database.refuses("0A000", "truncate reservations").await;
    database.refuses("ZR004", "truncate reservations cascade").await;
    database.finish().await;
}
