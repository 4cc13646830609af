//! Access keys: what has one, and what gates are told of it.

use super::database;
use crate::support::database::{Database, Row, minute};

fn key(row: &Row) -> String {
    let id = row.id;
    format!(
        "insert into access (reservation_id, server_id, epoch, secret_id, key_hash, changed_at, close_at)
         select id, server_id, 1, 'a', sha256(id::text::bytea), now() - interval '1 hour',
                end_at + interval '60 s'
         from reservations where id = '{id}'"
    )
}

async fn confirmed(database: &Database) -> Row {
    let row = Row { state: "confirmed", ..Row::held(0., 60.) };
    database.accepts(&row.insert()).await;
    database.accepts(&key(&row)).await;
    row
}

/// Whether the key was changed just now, and when its use is to be recorded.
async fn changed(database: &Database) -> (bool, Option<String>) {
    let query = "select changed_at > now() - interval '1 minute',
        to_char(close_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') from access";
    let row = database.client.query_one(query, &[]).await.expect("a key");
    (row.get(0), row.get(1))
}

#[tokio::test]
async fn only_what_is_confirmed_gets_a_key_and_an_old_key_stays_dead() {
    let database = database(9).await;
    for state in ["held", "reconfirmed", "cancelled"] {
        let row = Row { state, ..Row::held(0., 60.) };
        database.accepts(&row.insert()).await;
        database.refuses("ZR003", &key(&row)).await;
    }
    let row = confirmed(&database).await;
    database.accepts("update access set epoch = 3").await;
    database.refuses("ZR003", "update access set epoch = 2").await;
    database.refuses("ZR003", "update access set reservation_id = gen_random_uuid()").await;
    database.refuses("23514", "update access set key_hash = 'short'").await;
    let other = Row { state: "confirmed", ..Row::held(60., 120.) };
    database.accepts(&other.insert()).await;
    let twice = key(&other).replace("sha256(id::text::bytea)", &format!("sha256('{}')", row.id));
    database.refuses("23505", &twice).await;
    database.finish().await;
}

/// A cancelled one is not closed any more; a longer one is, later.
#[tokio::test]
async fn changes_of_the_reservation_are_told_to_gates() {
    let database = database(9).await;
    let row = confirmed(&database).await;
    assert!(!changed(&database).await.0);
    let later = |minutes: f64| minute(minutes);
    let of = |set: String| format!("update reservations set {set} where id = '{}'", row.id);
    database.accepts(&of("reminded_at = now()".to_owned())).await;
    assert!(!changed(&database).await.0, "no gate cares for that");
    let longer = format!("end_at = '{0}', busy_until = '{0}'", later(90.));
    database.accepts(&of(longer)).await;
    assert_eq!(changed(&database).await, (true, Some("2091-03-05T01:31:00".to_owned())));
    database.accepts("update access set changed_at = now() - interval '1 hour'").await;
    let cancelled = "state = 'cancelled', cancel_reason = 'operator', settled_at = now()";
    database.accepts(&of(cancelled.to_owned())).await;
    assert_eq!(changed(&database).await, (true, None));
    database.finish().await;
}

/// A day ahead and a minute back, with the numbers that admission goes by.
#[tokio::test]
async fn gates_see_a_day_of_what_has_a_key() {
    let database = database(9).await;
    database.accepts("update servers set viewers_max = 3, early_seconds = 30").await;
    let mut seen = Vec::new();
    // Minutes from now.
    let rows = [
        (-70, -2, "confirmed"),
        (-10, 20, "confirmed"),
        (-3, -1, "cancelled"),
        (26 * 60 - 1, 26 * 60 + 9, "confirmed"),
        (26 * 60 + 1, 26 * 60 + 9, "confirmed"),
    ];
    for (start, end, state) in rows {
        let row = Row { state: "confirmed", gap: 2., ..Row::held(0., 60.) };
        database.accepts(&row.insert()).await;
        database.accepts(&key(&row)).await;
        let (id, end) = (row.id, f64::from(end) + 0.5);
        database
            .accepts(&format!(
                "update reservations set start_at = now() + interval '{start} min',
                     deadline_at = now() + interval '{start} min',
                     end_at = now() + interval '{end} min',
                     busy_until = now() + interval '{end} min' + interval '2 min'
                 where id = '{id}'"
            ))
            .await;
        if state == "cancelled" {
            let cancel = "state = 'cancelled', cancel_reason = 'operator', settled_at = now()";
            database.accepts(&format!("update reservations set {cancel} where id = '{id}'")).await;
        }
        seen.push((id, state));
    }
    let query = "select reservation_id, state, capacity, viewers_max, early_seconds, gap_seconds
        from admissions where server_id = 'cam' and key_hash = sha256(reservation_id::text::bytea)
        order by reservation_id";
    let told = database.client.query(query, &[]).await.expect("admissions");
    let told: Vec<(uuid::Uuid, String)> = told
        .iter()
        .map(|row| {
            let numbers: [i32; 4] = [row.get(2), row.get(3), row.get(4), row.get(5)];
            assert_eq!(numbers, [9, 3, 30, 120]);
            (row.get(0), row.get(1))
        })
        .collect();
    let mut expected: Vec<_> =
        [1, 2, 3].map(|at| (seen[at].0, seen[at].1.to_owned())).into_iter().collect();
    expected.sort();
    assert_eq!(told, expected);
    database.finish().await;
}
