//! Reservations and bills, as they stand in the database.

use chrono::{DateTime, Utc};
use holdfast::store::admin::servers::count_unsettled;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::support::database::{Database, Row, minute};
use crate::support::program::Transcript;

/// Five reservations of `ann` and `bob`, by start.
async fn some(database: &Database) -> Vec<Row> {
    database.server("cam", 9, 0).await;
    database.server("mic", 9, 0).await;
    database.user("ann", None).await;
    database.user("bob", None).await;
    let rows = vec![
        Row { state: "confirmed", ..Row::held(0.0, 30.0) },
        Row { user: "bob", state: "reconfirmed", ..Row::held(10.0, 20.0) },
        // The same start: the id decides.
        Row { server: "mic", ..Row::held(60.0, 90.0) },
        Row { gap: 5.0, ..Row::held(60.0, 120.0) },
        Row { user: "bob", state: "cancelled", ..Row::held(120.0, 150.0) },
    ];
    for row in &rows {
        database.accepts(&row.insert()).await;
    }
    rows
}

fn charge(row: &Row, minor: i64, currency: &str, at: &str) -> String {
    let Row { id, user, server, .. } = row;
    format!(
        "insert into billing_entries (id, kind, reservation_id, user_id, server_id, seconds,
             amount_minor, currency, tariff_version, created_at)
         values (gen_random_uuid(), 'charge', '{id}', '{user}', '{server}', 1800, {minor},
             '{currency}', 1, '{at}')"
    )
}

fn credit(row: &Row, at: &str) -> String {
    let id = row.id;
    format!(
        "insert into billing_entries (id, kind, reservation_id, charge_id, user_id, server_id,
             seconds, amount_minor, currency, tariff_version, created_at)
         select gen_random_uuid(), 'credit', reservation_id, id, user_id, server_id, seconds,
             amount_minor, currency, tariff_version, '{at}'
         from billing_entries where reservation_id = '{id}'"
    )
}

#[tokio::test]
async fn reservations_are_listed_page_by_page_and_shown() {
    let database = Database::new().await;
    let rows = some(&database).await;
    database.accepts(&charge(&rows[0], 1_800, "EUR", "2091-03-04T18:00:00Z")).await;
    let mut operator = Transcript::new(&[("DATABASE_URL", database.url.as_str())]);
    operator.run("reservation list", 0).await;
    operator.run("reservation list --user bob", 0).await;
    operator.run("reservation list --server cam --state held --state confirmed", 0).await;
    // Touching intervals do not overlap.
    let time = "--from 2091-03-05T00:30:00Z --to 2091-03-05T02:00:00Z";
    operator.run(&format!("reservation list {time}"), 0).await;
    operator.run("reservation list --from +2h --to +1h", 4).await;
    operator.run("reservation list --limit 3", 0).await;
    operator.run(&format!("reservation list --limit 3 --after {}", rows[2].id), 0).await;
    operator.run(&format!("reservation list --after {}", Uuid::nil()), 4).await;
    operator.run("reservation list --user bob --limit 1 --json", 0).await;
    let after = rows[1].id;
    operator.run(&format!("reservation list --user bob --after {after} --json"), 0).await;
    operator.run("reservation list --user nobody", 0).await;

    operator.run(&format!("reservation show {}", rows[0].id), 0).await;
    operator.run(&format!("reservation show {} --json", rows[0].id), 0).await;
    operator.run(&format!("reservation show {}", rows[3].id), 0).await;
    operator.run(&format!("reservation show {}", Uuid::nil()), 4).await;
    operator.check("reservations");
    database.finish().await;
}

#[tokio::test]
async fn the_ledger_adds_up_per_currency() {
    let database = Database::new().await;
    let rows = some(&database).await;
    for entry in [
        charge(&rows[0], 1_800, "EUR", "2091-03-01T00:00:00Z"),
        charge(&rows[1], 700, "EUR", "2091-03-02T00:00:00Z"),
        credit(&rows[1], "2091-03-03T00:00:00Z"),
        charge(&rows[2], 500, "USD", "2091-03-02T12:00:00Z"),
        // Not in March.
        charge(&rows[3], 1, "EUR", "2091-02-28T23:59:59.999999Z"),
        charge(&rows[4], 1, "EUR", "2091-04-01T00:00:00Z"),
    ] {
        database.accepts(&entry).await;
    }
    let mut operator = Transcript::new(&[("DATABASE_URL", database.url.as_str())]);
    let march = "--from 2091-03-01T00:00:00Z --to 2091-04-01T00:00:00Z";
    operator.run(&format!("billing ledger {march}"), 0).await;
    operator.run(&format!("billing ledger {march} --user bob"), 0).await;
    operator.run(&format!("billing ledger {march} --user bob --json"), 0).await;
    operator.run("billing ledger --from 2092-01-01T00:00:00Z --to 2093-01-01T00:00:00Z", 0).await;
    operator.run("billing ledger --from 2092-01-01T00:00:00Z --to 2091-01-01T00:00:00Z", 4).await;
    operator.run("billing ledger --from 2092-01-01T00:00:00Z", 2).await;
    operator.check("ledger");
    database.finish().await;
}

#[tokio::test]
async fn an_operator_cancels_what_is_live() {
    let database = Database::new().await;
    let rows = some(&database).await;
    // The charge of a confirmed one has the id that its credit names.
    let charge = holdfast::message::event::charge_id(rows[0].id);
    database
        .accepts(&format!(
            "insert into billing_entries values ('{charge}', 'charge', '{}', null, 'ann', 'cam',
                 1800, 0, 'EUR', 1, now())",
            rows[0].id
        ))
        .await;
    let mut operator = Transcript::new(&[("DATABASE_URL", database.url.as_str())]);
    let by = "--operator olga --reason power-failure";
    operator.run(&format!("reservation cancel {} {by}", rows[2].id), 0).await;
    operator.run(&format!("reservation cancel {} {by}", rows[2].id), 4).await;
    operator.run(&format!("reservation history {}", rows[2].id), 0).await;
    operator.run(&format!("reservation cancel {} {by} --json", rows[1].id), 0).await;
    operator.run(&format!("reservation cancel {} {by}", rows[0].id), 0).await;
    operator.run(&format!("reservation show {}", rows[0].id), 0).await;
    operator.run(&format!("reservation cancel {} {by}", Uuid::nil()), 4).await;
    operator.run(&format!("reservation cancel {} --operator olga", rows[3].id), 2).await;
    operator.check("cancel");
    database.finish().await;
}

/// The bounds that keep scans short must not change what is found: every combination of filters, in pages,
/// against one plain query.
#[tokio::test]
async fn lists_find_what_a_plain_query_finds() {
    let database = Database::new().await;
    for server in ["cam", "mic"] {
        database.server(server, 100, 0).await;
    }
    for user in ["ann", "bob"] {
        database.user(user, None).await;
    }
    database.accepts("update policy set quota_default_seconds = 1000000000").await;
    for number in 0..48_u8 {
        let user = if number % 3 == 0 { "ann" } else { "bob" };
        let server = if number % 5 == 0 { "mic" } else { "cam" };
        let state = STATES[usize::from(number % 4)];
        // Some of each state are over, also unsettled ones, and some last for weeks.
        let start = f64::from(number % 7) * 500. - f64::from(number / 4 % 2) * 40_000_000.;
        let length = if number % 11 == 0 { 40_000. } else { 30. };
        let row = Row { user, server, state, ..Row::held(start, start + length) };
        database.accepts(&row.insert()).await;
    }
    for server in ["cam", "mic"] {
        let id = server.parse().expect("an id");
        let counted = count_unsettled(&database.client, &id).await.expect("a count");
        let query = format!(
            "select count(*) from reservations
             where server_id = '{server}' and state in ('held', 'reconfirmed')"
        );
        assert_eq!(counted, database.ask::<i64>(&query).await, "{server}");
    }
    for case in 0..256_u32 {
        let filter = Filter::of(case);
        let plain = filter.page(&database, PLAIN, None, 1_000).await;
        let statement = if filter.user.is_some() { OF_USER } else { OF_SERVERS };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = filter.page(&database, statement, after, 5).await;
            after = page.last().copied();
            found.extend(page);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, plain, "{filter:?}");
    }
    database.finish().await;
}

const STATES: [&str; 4] = ["held", "reconfirmed", "confirmed", "cancelled"];

const OF_USER: &str = include_str!("../../../src/store/admin/sql/list_reservations_of_user.sql");
const OF_SERVERS: &str = include_str!("../../../src/store/admin/sql/list_reservations.sql");
const PLAIN: &str = "select * from reservations
    where ($1::text is null or user_id = $1) and ($2::text is null or server_id = $2)
      and state = any ($3::text[])
      and ($4::timestamptz is null or end_at > $4) and ($5::timestamptz is null or start_at < $5)
      and ($6::timestamptz is null or (start_at, id) > ($6, $7::uuid))
    order by start_at, id limit $8";

#[derive(Debug)]
struct Filter {
    user: Option<&'static str>,
    server: Option<&'static str>,
    states: Vec<&'static str>,
    from: Option<DateTime<Utc>>,
    to: Option<DateTime<Utc>>,
}

impl Filter {
    /// The bits of `case` say which filters there are.
    fn of(case: u32) -> Self {
        let bit = |number: usize| case >> number & 1 == 1;
        let instant = |at: f64| minute(at).parse().expect("an instant");
        Self {
            user: bit(0).then_some("bob"),
            server: bit(1).then_some("cam"),
            states: (0..4).filter(|number| bit(2 + number)).map(|number| STATES[number]).collect(),
            from: bit(6).then(|| instant(1_010.)),
            to: bit(7).then(|| instant(2_510.)),
        }
    }

    async fn page(
        &self,
        database: &Database,
        statement: &str,
        after: Option<(DateTime<Utc>, Uuid)>,
        most: i64,
    ) -> Vec<(DateTime<Utc>, Uuid)> {
        let Self { user, server, states, from, to } = self;
        let (start, id) = after.unzip();
        let all: [&(dyn ToSql + Sync); 8] = [user, server, states, from, to, &start, &id, &most];
        let given = if statement == OF_SERVERS { &all[1..] } else { &all };
        let rows = database.client.query(statement, given).await.expect("a page");
        rows.iter().map(|row| (row.get("start_at"), row.get("id"))).collect()
    }
}
