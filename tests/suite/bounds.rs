//! Every number has one bound: the database's CHECKs, the command line and the domain agree, and at the
//! extremes of all bounds requests are decided.

use std::collections::BTreeMap;

use holdfast::domain::bounds::{self, Bounds};
use holdfast::message::answer::Answer;
use holdfast::message::shape::Shape;
use tokio_postgres::types::ToSql;

use crate::support::database::{Database, Row};
use crate::support::facts;
use crate::support::program::holdfast;
use crate::support::stack::{DELAY_LEVELS, Stack};
use crate::support::terminal::{code, in_seconds, new_id};

const CHECK_VIOLATION: &str = "23514";

/// The bound of each bounded column.
const COLUMNS: [(&str, &str, Bounds); 32] = [
    ("policy", "quota_default_seconds", bounds::QUOTA_SECONDS),
    ("policy", "holds_default_max", bounds::HOLDS),
    ("policy", "answers_kept_seconds", bounds::ANSWERS_KEPT_SECONDS),
    ("policy", "reservations_kept_seconds", bounds::RESERVATIONS_KEPT_SECONDS),
    ("policy", "terminal_rate_max", bounds::MESSAGE_RATE),
    ("policy", "query_rate_max", bounds::MESSAGE_RATE),
    ("topology", "partitions", bounds::PARTITIONS),
    ("topology", "delay_levels", bounds::DELAY_LEVELS),
    ("servers", "capacity", bounds::CAPACITY),
    ("servers", "rate_minor", bounds::RATE_MINOR),
    ("servers", "slot_seconds", bounds::SLOT_SECONDS),
    ("servers", "min_seconds", bounds::LENGTH_SECONDS),
    ("servers", "max_seconds", bounds::LENGTH_SECONDS),
    ("servers", "gap_seconds", bounds::GAP_SECONDS),
    ("servers", "lead_seconds", bounds::LEAD_SECONDS),
    ("servers", "reminder_seconds", bounds::REMINDER_SECONDS),
    ("servers", "horizon_seconds", bounds::HORIZON_SECONDS),
    ("servers", "viewers_max", bounds::VIEWERS),
    ("servers", "early_seconds", bounds::EARLY_SECONDS),
    ("servers", "busy_max_seconds", bounds::BUSY_SECONDS),
    ("servers", "partition", bounds::PARTITION),
    ("tariffs", "rate_minor", bounds::RATE_MINOR),
    ("moves", "from_partition", bounds::PARTITION),
    ("moves", "to_partition", bounds::PARTITION),
    ("users", "quota_seconds", bounds::QUOTA_SECONDS),
    ("users", "holds_max", bounds::HOLDS),
    ("reservations", "partition", bounds::PARTITION),
    ("reservations", "price_minor", bounds::PRICE_MINOR),
    ("billing_entries", "seconds", bounds::LENGTH_SECONDS),
    ("billing_entries", "amount_minor", bounds::PRICE_MINOR),
    ("access", "epoch", bounds::ACCESS_EPOCH),
    ("access_use", "seconds", bounds::USED_SECONDS),
];

/// Columns of the CHECKs that hold one number between constants, with their ends.
async fn checked(database: &Database) -> BTreeMap<(String, String), (i64, i64)> {
    let query = r"select conrelid::regclass::text, m[1], m[2]::bigint, m[3]::bigint
        from pg_constraint, regexp_match(pg_get_constraintdef(oid),
            '^CHECK \(\(\((\w+) >= (?:\()?''?(\d+)''?(?:::bigint)?(?:\))?\) AND \(\1 <= (?:\()?''?(\d+)''?(?:::bigint)?(?:\))?\)\)\)$') m
        where contype = 'c' and m is not null";
    let rows = database.client.query(query, &[]).await.expect("the constraints");
    rows.iter().map(|row| ((row.get(0), row.get(1)), (row.get(2), row.get(3)))).collect()
}

#[tokio::test]
async fn the_databases_bounds_are_the_domains() {
    let database = Database::new().await;
    let expected: BTreeMap<(String, String), (i64, i64)> = COLUMNS
        .iter()
        .map(|(table, column, bounds)| {
            (((*table).to_owned(), (*column).to_owned()), (*bounds.start(), *bounds.end()))
        })
        .collect();
    assert_eq!(checked(&database).await, expected);
    database.finish().await;
}

/// Numbers that operators set, and what else stores one: a new column must be listed above or here.
#[tokio::test]
async fn every_stored_number_has_a_bound_or_a_reason() {
    const UNBOUNDED: [&str; 34] = [
        // Counted by the database, one at a time.
        "audit.id",
        "closures.id",
        "history.seq",
        "outbox.attempts",
        "outbox.seq",
        "processed_commands.seq",
        "delivery_attempts.attempts",
        "dead_letters.attempts",
        "dead_letters.times",
        "users.holds",
        "user_periods.reserved_us",
        "policy.generation",
        "quota_bounds.generation",
        "user_periods.generation",
        "recounts.generation",
        "kept_generations.generation",
        "recounts.marks",
        // At most as many as there are partitions.
        "topology.open_partitions",
        // Copies of bounded ones.
        "reservations.tariff_version",
        "admissions.capacity",
        "admissions.viewers_max",
        "admissions.early_seconds",
        "admissions.gap_seconds",
        "timers.partition",
        "sweeps.partition",
        "delivery_attempts.partition",
        "dead_letters.partition",
        // Of the machine.
        "workers.pid",
        "workers.decided",
        "history.lateness_ms",
        "schema_migrations.version",
        "servers.tariff_version",
        "billing_entries.tariff_version",
        "tariffs.version",
    ];
    let database = Database::new().await;
    let query = "select table_name || '.' || column_name from information_schema.columns
        where table_schema = 'public' and data_type in ('integer', 'bigint', 'numeric', 'smallint')";
    let rows = database.client.query(query, &[]).await.expect("the columns");
    let bounded: Vec<String> =
        COLUMNS.iter().map(|(table, column, _)| format!("{table}.{column}")).collect();
    for row in rows {
        let column: String = row.get(0);
        let known = bounded.contains(&column) || UNBOUNDED.contains(&column.as_str());
        assert!(known, "{column} has no bound in `domain::bounds`");
    }
    database.finish().await;
}

/// Texts that gates and operators write, each as long as it may be and one byte longer.
#[tokio::test]
async fn texts_of_gates_and_urls_are_bounded() {
    let database = Database::new().await;
    database.server("cam", 1, 0).await;
    database.user("ann", None).await;
    let held = Row::held(0.0, 60.0);
    database.accepts(&held.insert()).await;
    let of = |length: usize| "x".repeat(length);
    let gate = bounds::GATE_LEN_MAX;
    let used = |gate: usize, session: usize, ended: usize| {
        let (id, gate, session, ended) = (held.id, of(gate), of(session), of(ended));
        format!(
            "insert into access_use values ('{id}', '{gate}', '{session}', now(), now(), 0, '{ended}')"
        )
    };
    let watched = |gate: usize| {
        format!("insert into gate_coverage values ('cam', '{}', now(), now())", of(gate))
    };
    let url =
        |column: &str, length: usize| format!("update servers set {column} = '{}'", of(length));
    let (session, ended, longest) =
        (bounds::SESSION_LEN_MAX, bounds::ENDED_LEN_MAX, bounds::URL_LEN_MAX);
    for taken in [
        used(gate, session, ended),
        used(1, 1, 1),
        watched(gate),
        url("connection_url", longest),
        url("view_url", longest),
    ] {
        database.accepts(&taken).await;
    }
    for beyond in [
        used(gate + 1, session, ended),
        used(gate, session + 1, ended),
        used(gate, session, ended + 1),
        used(0, 1, 1),
        watched(gate + 1),
        url("connection_url", longest + 1),
        url("view_url", longest + 1),
        "update servers set view_url = 'rtmp://cam/{key}'".to_owned(),
    ] {
        database.refuses(CHECK_VIOLATION, &beyond).await;
    }
    database.finish().await;
}

/// What an operator types: both ends of each bound are taken, and what is beyond is refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_takes_exactly_what_the_database_takes() {
    let days = |bounds: Bounds| bounds.start() / 86_400..=bounds.end() / 86_400;
    let stack = Stack::new().await;
    stack.server("cam", &[]).await;
    stack.user("ann", None, None).await;
    let server = "server set cam";
    let flags: [(&str, &str, Bounds); 17] = [
        ("policy set", "quota-default-seconds", bounds::QUOTA_SECONDS),
        ("policy set", "holds-default-max", bounds::HOLDS),
        ("policy set", "answers-kept-days", days(bounds::ANSWERS_KEPT_SECONDS)),
        ("policy set", "reservations-kept-days", days(bounds::RESERVATIONS_KEPT_SECONDS)),
        ("policy set", "terminal-rate-max", bounds::or_zero(&bounds::MESSAGE_RATE)),
        ("policy set", "query-rate-max", bounds::or_zero(&bounds::MESSAGE_RATE)),
        ("user set ann", "quota-seconds", bounds::QUOTA_SECONDS),
        ("user set ann", "holds-max", bounds::HOLDS),
        (server, "capacity", bounds::CAPACITY),
        (server, "rate-minor", bounds::RATE_MINOR),
        (server, "slot-seconds", bounds::SLOT_SECONDS),
        (server, "gap-seconds", bounds::GAP_SECONDS),
        (server, "lead-seconds", bounds::LEAD_SECONDS),
        (server, "reminder-seconds", bounds::REMINDER_SECONDS),
        (server, "horizon-seconds", bounds::HORIZON_SECONDS),
        (server, "viewers-max", bounds::or_zero(&bounds::VIEWERS)),
        (server, "early-seconds", bounds::EARLY_SECONDS),
    ];
    for (command, flag, bounds) in flags {
        // In an order in which reservations are always kept for longer than answers.
        if flag == "reservations-kept-days" {
            stack.execute("update policy set answers_kept_seconds = 86400", &[]).await;
        } else if flag == "answers-kept-days" {
            let most = *bounds::RESERVATIONS_KEPT_SECONDS.end();
            stack.execute("update policy set reservations_kept_seconds = $1", &[&most]).await;
        }
        for (number, exit) in [
            (*bounds.start(), 0),
            (*bounds.end(), 0),
            (bounds.start() - 1, 2),
            (bounds.end() + 1, 2),
            (i64::MAX, 2),
        ] {
            stack.operate(&[], &format!("{command} --{flag}={number}"), exit).await;
        }
    }
    let length = bounds::LENGTH_SECONDS;
    for (min, max, exit) in
        [(1, 1, 0), (1, *length.end(), 0), (*length.end(), *length.end(), 0), (0, 1, 2)]
    {
        let line = format!("{server} --min-seconds={min} --max-seconds={max}");
        stack.operate(&[], &line, exit).await;
    }
    let beyond = length.end() + 1;
    stack.operate(&[], &format!("{server} --max-seconds={beyond}"), 2).await;
    // By hand, past the command line.
    let quota = "update users set quota_seconds = 9223372036855";
    let error = stack.db.execute(quota, &[]).await.expect_err("beyond the bound");
    assert_eq!(error.code().map(|state| state.code()), Some(CHECK_VIOLATION));
    stack.finish().await;
}

#[tokio::test]
async fn instants_and_lengths_by_hand_are_bounded() {
    let database = Database::new().await;
    database.server("cam", 9, 0).await;
    database.user("ann", None).await;
    database.accepts(&Row::held(0.0, 60.0).insert()).await;
    for change in [
        "end_at = start_at + interval '31 days 1 s', busy_until = start_at + interval '31 days 1 s'",
        "busy_until = end_at + interval '1 day 1 s'",
        "deadline_at = '1969-12-31T23:59:59Z'",
        "start_at = '99999-01-01Z', end_at = '99999-01-02Z', busy_until = '99999-01-02Z'",
        "remind_at = '-infinity'",
    ] {
        database.refuses(CHECK_VIOLATION, &format!("update reservations set {change}")).await;
    }
    for (start, end) in [("2091-01-01", "99999-01-01"), ("1969-01-01", "2091-01-01")] {
        let closure = format!(
            "insert into closures (server_id, start_at, end_at) values ('cam', '{start}', '{end}')"
        );
        database.refuses(CHECK_VIOLATION, &closure).await;
    }
    let url = [("DATABASE_URL", database.url.as_str())];
    let far = ["server", "closure", "add", "cam", "--start", "+1d", "--end", "+9999999d"];
    let run = holdfast(&url, &far).await;
    assert_eq!(run.code, 4, "{run:?}");
    database.finish().await;
}

/// Sets every number that operators set to one end of its bound.
async fn set_all(stack: &Stack, end: impl Fn(&Bounds) -> i64) {
    let operators = ["policy", "servers", "users"];
    let not_set = ["partition", "busy_max_seconds", "tariff_version", "reservations_kept_seconds"];
    for (table, column, bounds) in &COLUMNS {
        if operators.contains(table) && !not_set.contains(column) {
            // `min_seconds` must not pass `max_seconds` on the way.
            let set = match *column {
                "min_seconds" => "min_seconds = least(max_seconds, 1), max_seconds",
                column => column,
            };
            let value = end(bounds);
            stack.execute(&format!("update {table} set {set} = {value}"), &[]).await;
        }
    }
}

/// Each with all of the largest numbers, and with all of the smallest: both are decided, settled by the
/// database's own arithmetic, and the invariants can be computed.
#[tokio::test(flavor = "multi_thread")]
async fn at_every_extreme_requests_are_decided() {
    let mut stack = Stack::new().await;
    let confirm: &(dyn ToSql + Sync) = &"confirm";
    let server = stack.server("cam", &[("late_booking", confirm)]).await;
    let mut terminal = stack.terminal("ann").await;
    let kept = *bounds::RESERVATIONS_KEPT_SECONDS.end();
    stack.execute("update policy set reservations_kept_seconds = $1", &[&kept]).await;
    set_all(&stack, |bounds| *bounds.end()).await;
    let longest = *bounds::LENGTH_SECONDS.end();
    stack.execute("update servers set min_seconds = max_seconds", &[]).await;
    let _worker = stack.worker();
    let midnight = |days: i64| {
        let day = in_seconds(days * 86_400).timestamp() / 86_400 * 86_400;
        chrono::DateTime::from_timestamp(day, 0).expect("an instant")
    };
    // The deadline of the first has passed: it is confirmed and billed.
    for (days, state) in [(300, "confirmed"), (729, "held")] {
        let start = midnight(days);
        let end = start + chrono::TimeDelta::seconds(longest);
        let accepted = terminal.accepted(&server, (start, end)).await;
        assert_eq!(accepted.state, state);
        assert_eq!(accepted.price.amount_minor, *bounds::PRICE_MINOR.end());
    }
    stack.operate(&[], "user list", 0).await;
    stack.operate(&[], "server show cam", 0).await;

    set_all(&stack, |bounds| *bounds.start()).await;
    stack.execute("update servers set max_seconds = 1", &[]).await;
    let start = in_seconds(1);
    let answer = terminal.request(&server, (start, start + chrono::TimeDelta::seconds(1))).await;
    // Which of the checks comes first depends on the clock; none is an error.
    let refused = code(&answer).expect("the smallest limits take nothing more");
    let expected = ["too_many_holds", "start_in_past", "beyond_horizon"];
    assert!(expected.contains(&refused), "{refused}");
    // The invariants judge by the current limits.
    stack.execute("update users set quota_seconds = null", &[]).await;
    let quota = *bounds::QUOTA_SECONDS.end();
    stack.execute("update policy set quota_default_seconds = $1", &[&quota]).await;
    stack.finish().await;
}

/// A number that the guard cannot compute with, as a database without the CHECK may have: nothing is
/// parked, and what waited is decided once it is corrected.
#[tokio::test(flavor = "multi_thread")]
async fn an_arithmetic_error_is_no_poison_message() {
    let mut stack = Stack::with_shape(Shape { partitions: 1, delay_levels: DELAY_LEVELS }).await;
    let server = stack.server("cam", &[]).await;
    let mut terminal = stack.terminal("ann").await;
    stack.execute("alter table users drop constraint users_quota_seconds_check", &[]).await;
    stack.execute("update users set quota_seconds = $1", &[&i64::MAX]).await;
    let mut worker = stack.worker();
    let (start, end) = (in_seconds(7_200), in_seconds(7_260));
    let id = new_id();
    let command = holdfast::client::Command::request(id.clone(), server.as_str(), start, end);
    terminal.client.send(&command).await.expect("the command is sent");
    facts::until("the worker complains", async || {
        worker.log().matches("stored numbers are out of bounds").count() >= 5
    })
    .await;
    assert!(terminal.answers_to(&id).is_empty(), "it waits");
    assert!(!worker.log().contains("message parked"));
    stack.execute("update users set quota_seconds = 3600", &[]).await;
    let answer = terminal.reply_to(&id).await.answer().expect("an answer");
    assert!(matches!(answer, Answer::Accepted { .. }), "{answer:?}");
    assert!(worker.stop().await.success());
    stack.finish().await;
}
