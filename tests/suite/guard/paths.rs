//! Ways into the table other than a plain insert or update.

use std::io::Cursor;

use futures::SinkExt;

use super::database;
use crate::support::database::{COLUMNS, Database, Row, insert, refused};

/// A row in `COPY`'s CSV form.
fn csv(row: &Row) -> String {
    let values = row.values();
    let values = values.trim().trim_start_matches('(').trim_end_matches(')');
    let fields = values.split(',').map(|field| field.trim().trim_matches('\''));
    fields.map(|field| if field == "null" { "" } else { field }).collect::<Vec<_>>().join(",")
}

/// Copies rows in; returns PostgreSQL's code if it refuses.
async fn copy(database: &Database, rows: &[Row]) -> Result<u64, String> {
    let session = database.session().await;
    let statement = format!("copy reservations ({COLUMNS}) from stdin with (format csv)");
    let sink = session.copy_in::<_, Cursor<Vec<u8>>>(&statement).await.expect("copy begins");
    let mut sink = std::pin::pin!(sink);
    let lines: Vec<String> = rows.iter().map(csv).collect();
    sink.send(Cursor::new(lines.join("\n").into_bytes())).await.expect("rows are sent");
    sink.as_mut().finish().await.map_err(|error| refused(error).code)
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_is_judged() {
    let database = database(1).await;
    let refused = copy(&database, &[Row::held(0., 60.), Row::held(59., 70.)]).await;
    assert_eq!(refused, Err("ZR001".to_owned()));
    assert_eq!(copy(&database, &[Row::held(0., 60.), Row::held(60., 70.)]).await, Ok(2));
    assert_eq!(copy(&database, &[Row::held(30., 40.)]).await, Err("ZR001".to_owned()));
    database.assert_not_overbooked().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn upserts_are_judged() {
    let database = database(1).await;
    let booked = Row::held(0., 60.);
    database.accepts(&insert(&[booked.clone(), Row::held(100., 160.)])).await;
    let upsert =
        |rows: &[Row], set: &str| format!("{} on conflict (id) do update set {set}", insert(rows));
    // The new row overlaps; the changed row overlaps; both fit alone and overlap each other.
    let lengthen = "end_at = excluded.end_at, busy_until = excluded.busy_until";
    let longer = Row { end: 101., ..booked.clone() };
    database.refuses("ZR001", &upsert(&[Row::held(30., 40.)], lengthen)).await;
    database.refuses("ZR001", &upsert(std::slice::from_ref(&longer), lengthen)).await;
    let up_to_80 = Row { end: 80., ..booked.clone() };
    let both = [up_to_80.clone(), Row::held(70., 90.)];
    database.refuses("ZR001", &upsert(&both, lengthen)).await;
    database.accepts(&upsert(&[up_to_80, Row::held(80., 90.)], lengthen)).await;
    // An upsert that would revive a cancelled row.
    let cancel = format!(
        "update reservations set state = 'cancelled', cancel_reason = 'operator', settled_at = now()
         where id = '{}'",
        booked.id
    );
    database.accepts(&cancel).await;
    let revive = "state = 'held', cancel_reason = null, settled_at = null";
    database.refuses("ZR003", &upsert(&[booked], revive)).await;
    database.assert_not_overbooked().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn merges_are_judged() {
    let database = database(1).await;
    let booked = Row::held(0., 60.);
    database.accepts(&insert(&[booked.clone(), Row::held(100., 160.)])).await;
    let merge = |rows: &[Row]| {
        let values: Vec<String> = rows.iter().map(Row::values).collect();
        format!(
            "merge into reservations r
             using (select id::uuid, terminal_id, message_id, user_id, server_id, partition,
                        start_at::timestamptz, end_at::timestamptz, busy_until::timestamptz,
                        deadline_at::timestamptz, state, cancel_reason::text, price_minor, currency,
                        tariff_version, held_at::timestamptz, reconfirmed_at::timestamptz,
                        settled_at::timestamptz
                    from (values {}) raw ({COLUMNS})) n on r.id = n.id
             when matched then update set end_at = n.end_at, busy_until = n.busy_until
             when not matched then insert ({COLUMNS}) values (n.id, n.terminal_id, n.message_id,
                 n.user_id, n.server_id, n.partition, n.start_at, n.end_at, n.busy_until,
                 n.deadline_at, n.state, n.cancel_reason, n.price_minor, n.currency,
                 n.tariff_version, n.held_at, n.reconfirmed_at, n.settled_at)",
            values.join(", ")
        )
    };
    database.refuses("ZR001", &merge(&[Row::held(30., 40.)])).await;
    database.refuses("ZR001", &merge(&[Row { end: 101., ..booked.clone() }])).await;
    let up_to_80 = Row { end: 80., ..booked };
    database.refuses("ZR001", &merge(&[up_to_80.clone(), Row::held(70., 90.)])).await;
    database.accepts(&merge(&[up_to_80, Row::held(80., 90.)])).await;
    database.assert_not_overbooked().await;
    database.finish().await;
}

/// Two inserts in one statement see neither each other's rows nor each other's triggers: the guard judges
/// what the statement leaves.
#[tokio::test(flavor = "multi_thread")]
async fn statements_inside_statements_are_judged() {
    let database = database(1).await;
    let two = |a: &Row, b: &Row| format!("with a as ({}) {}", a.insert(), b.insert());
    database.refuses("ZR001", &two(&Row::held(0., 60.), &Row::held(30., 90.))).await;
    database.accepts(&two(&Row::held(0., 60.), &Row::held(60., 90.))).await;
    let cancel = "update reservations set state = 'cancelled', cancel_reason = 'operator',
        settled_at = now()";
    let swap = format!("with a as ({cancel}) {}", Row::held(30., 70.).insert());
    database.accepts(&swap).await;
    database.assert_not_overbooked().await;
    database.finish().await;
}
