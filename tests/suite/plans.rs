//! The plans of all statements of batches, sweeps and pruning: on filled tables none scans a large table,
//! neither with a custom plan nor with a generic one.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio_postgres::SimpleQueryMessage;

use crate::support::database::Database;

/// Two thousand servers, users and terminals, a hundred thousand reservations, a tenth of them live.
const FILL: &str = "
set session_replication_role = replica;
insert into servers (id, capacity, rate_minor, currency, connection_url, busy_max_seconds, partition)
    select 's-' || n, 4, 1, 'EUR', 'x', 86400, n % 4 from generate_series(0, 1999) n;
insert into moves (server_id, from_partition, to_partition, fence, phase)
    values ('s-1', 1, 0, '00000000-0000-7000-8000-000000000001', 'fencing');
insert into users (id) select 'u-' || n from generate_series(0, 1999) n;
insert into terminals (id, user_id) select 't-' || n, 'u-' || n from generate_series(0, 1999) n;
insert into closures (server_id, start_at, end_at)
    select 's-' || n, '2091-01-01Z', '2091-01-02Z' from generate_series(0, 1999) n;
insert into reservations (id, terminal_id, message_id, user_id, server_id, partition, start_at, end_at,
        busy_until, deadline_at, remind_at, state, cancel_reason, price_minor, currency, tariff_version,
        held_at, reconfirmed_at, settled_at)
    select overlay(oldest_id_of(at - interval '3 days')::text
            placing right(gen_random_uuid()::text, 12) from 25)::uuid,
        't-' || n % 2000, 'm-' || n, 'u-' || n % 2000, 's-' || n % 2000, n % 4,
        at, at + interval '1 h', at + interval '1 h', at - interval '6 h',
        case when n <= 5000 then at - interval '7 h' end,
        case when n > 10000 then case n % 3 when 0 then 'cancelled' else 'confirmed' end
             when n <= 5000 then 'held' else 'reconfirmed' end,
        case when n > 10000 and n % 3 = 0 then 'withdrawn' end, 1, 'EUR', 1,
        at - interval '2 days', at - interval '1 day', case when n > 10000 then at - interval '6 h' end
    from generate_series(1, 100000) n
    cross join lateral (select date_trunc('hour', now()) + case when n > 10000 then -n else n end
        * interval '7 min' as at) at;
insert into processed_commands select terminal_id, message_id, 'request', '', 'accepted', '', '', server_id, id, 0,
    held_at from reservations order by held_at;
insert into outbox_messages select id, 'event', 'x', 'x', true, '', held_at from reservations order by held_at;
insert into timers (partition, due_at, scheduled_until)
    select n % 4, now() + n * interval '1 min', now() from generate_series(1, 20000) n;
insert into outbox (outbox_message_id, is_copy) select id, copy from outbox_messages, (values (true), (false)) c (copy)
    limit 20000;
insert into access (reservation_id, server_id, epoch, secret_id, key_hash, changed_at, close_at)
    select id, server_id, 1, 'a', sha256(id::text::bytea), settled_at,
        case when end_at > now() then end_at + interval '60 s' end
    from reservations where state = 'confirmed';
insert into access_use select reservation_id, 'gate-1', '1', changed_at, changed_at, 0, null from access;
insert into gate_coverage select 's-' || n % 2000, 'gate-' || n / 2000, now(), now() from generate_series(0, 19999) n;
reset session_replication_role;
select recount_use();
vacuum analyze";

/// Tables that can get large; the others fit into a few pages.
const LARGE: [&str; 7] = [
    "reservations",
    "processed_commands",
    "outbox_messages",
    "timers",
    "outbox",
    "user_periods",
    "access",
];

/// A statement with arguments.
struct Case {
    name: &'static str,
    sql: &'static str,
    arguments: &'static str,
    /// Indexes that it must use.
    uses: &'static [&'static str],
}

macro_rules! case {
    ($name:literal, $arguments:expr, $uses:expr) => {
        Case {
            name: $name,
            sql: include_str!(concat!("../../src/store/sql/", $name, ".sql")),
            arguments: $arguments,
            uses: &$uses,
        }
    };
}

const ID: &str = "array['00000000-0000-7000-8000-000000000001'::uuid]";

/// What `load_figures` reads, each within its bound.
const FIGURES: [&str; 6] = [
    "reservations_due",
    "timers_unscheduled",
    "timers_pkey",
    "outbox_ready",
    "outbox_copies",
    "outbox_messages_pkey",
];

/// Of access keys, and of what becomes of the time that they open.
fn cases_of_access() -> [Case; 8] {
    [
        case!("load_admissions", "'s-1'", ["reservations_live_by_server", "access_pkey"]),
        case!("load_changed_admissions", "'s-1'", ["access_changes", "reservations_pkey"]),
        case!("load_access", "ID", ["access_pkey"]),
        case!("insert_access", "ID, array[sha256('')], 'a', 1", ["reservations_pkey"]),
        case!("rotate_access", "ID, 1", ["reservations_pkey"]),
        case!("update_access", "ID, array[1], array[sha256('')], 'a'", ["access_pkey"]),
        case!("update_closed", "ID", ["access_pkey"]),
        case!(
            "claim_closings",
            "100, 15",
            ["access_to_close", "reservations_pkey", "access_use_pkey", "gate_coverage_pkey"]
        ),
    ]
}

fn cases() -> Vec<Case> {
    let mut cases = vec![
        case!(
            "lock_servers",
            "array['s-1'], array[]::uuid[], 1, now(), 2000",
            ["reservations_due", "reservations_pkey"]
        ),
        case!(
            "lock_reservations",
            "array[]::uuid[], 1, now(), 2000",
            ["reservations_due", "reservations_to_remind", "reservations_pkey"]
        ),
        case!(
            "load_known",
            "array['t-1', 't-2'], array['m-1', 'm-2']",
            ["processed_commands_pkey"]
        ),
        case!(
            "load_quota",
            "array['t-1'], array[now()], array[now() + interval '1 h']",
            ["user_periods_pkey"]
        ),
        case!(
            "load_booked",
            "array['s-1'], array[now()], array[now() + interval '1 h']",
            ["reservations_live_by_server"]
        ),
        case!(
            "load_pages",
            "array[0], array['t-1'], array[null]::uuid[], array[20::bigint]",
            ["reservations_by_user"]
        ),
        case!(
            "load_calendars",
            "array[0], array['s-1'], array[now()], array[now() + interval '1 day'], 1000",
            ["reservations_live_by_server"]
        ),
        case!(
            "update_reservations",
            "ID, array['held'], array['reconfirmed'], array[null], array[now()],
             array[null]::timestamptz[], array[null], array[null]",
            ["reservations_pkey"]
        ),
        case!("load_listed", "ID", ["reservations_pkey", "access_pkey"]),
        case!("move_servers", "ID", ["reservations_live_by_server"]),
        case!("update_reminded", "ID, now()", ["reservations_pkey"]),
        case!("delete_timers", "1, now()", ["timers_pkey"]),
        case!("mark_scheduled", "array[1], array[now()], array[now()]", ["timers_pkey"]),
        case!("load_figures", "100, 1.0, 5.0", FIGURES),
        case!(
            "find_overdue",
            "array[0, 1, 2, 3], 1.0, array_fill('epoch'::timestamptz, array[4])",
            ["reservations_due", "reservations_to_remind"]
        ),
        case!("find_unscheduled", "array[0, 1, 2, 3], 3.0, 1000", ["timers_unscheduled"]),
        case!("claim_outbox", "500", ["outbox_ready", "outbox_messages_pkey"]),
        case!("update_retry_at", "300.0", ["outbox_ready", "outbox_copies"]),
        case!(
            "claim_copies",
            "500, 15.0",
            ["outbox_copies", "outbox_pkey", "outbox_messages_pkey"]
        ),
        case!("postpone_copies", "array[1, 2, 3]::bigint[]", ["outbox_pkey"]),
        case!("delete_outbox", "array[1, 2, 3]::bigint[]", ["outbox_pkey"]),
        case!("postpone_outbox", "array[1, 2, 3]::bigint[]", ["outbox_pkey"]),
        case!("prune_processed_commands", "1000", ["processed_commands_by_age"]),
        case!("prune_outbox_messages", "1000", ["outbox_messages_by_age"]),
        case!("prune_reservations", "1000", ["reservations_pkey"]),
    ];
    cases.extend(cases_of_access());
    cases
}

/// Collects the tables that a plan scans and the indexes that it uses.
fn walk(plan: &Value, scanned: &mut BTreeSet<String>, used: &mut BTreeSet<String>) {
    match plan {
        Value::Object(node) => {
            if node.get("Node Type").is_some_and(|kind| kind == "Seq Scan") {
                scanned.insert(node["Relation Name"].as_str().unwrap_or_default().to_owned());
            }
            used.extend(node.get("Index Name").and_then(Value::as_str).map(str::to_owned));
            node.values().for_each(|value| walk(value, scanned, used));
        }
        Value::Array(nodes) => nodes.iter().for_each(|node| walk(node, scanned, used)),
        _ => {}
    }
}

/// Returns the plan of a prepared statement in a session as workers have it.
async fn plan(database: &Database, case: &Case, mode: &str) -> Value {
    let (sql, arguments) = (case.sql, case.arguments.replace("ID", ID));
    let session = database.session().await;
    session
        .batch_execute(&format!("set plan_cache_mode = {mode}; prepare it as {sql}"))
        .await
        .expect(case.name);
    let explained =
        session.simple_query(&format!("explain (format json) execute it ({arguments})")).await;
    let text: String = explained
        .unwrap_or_else(|error| panic!("{}: {error:?}", case.name))
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test]
async fn no_large_table_is_read_from_end_to_end() {
    let database = Database::new().await;
    for statement in FILL.split_inclusive(';') {
        database
            .client
            .batch_execute(statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }
    let mut wrong = Vec::new();
    for case in cases() {
        for mode in ["force_custom_plan", "force_generic_plan"] {
            let (mut scanned, mut used) = (BTreeSet::new(), BTreeSet::new());
            walk(&plan(&database, &case, mode).await, &mut scanned, &mut used);
            scanned.retain(|table| LARGE.contains(&table.as_str()));
            if case.name == "prune_outbox_messages" {
                // At most once a minute, and the outbox is long only while nothing can be published.
                scanned.remove("outbox");
            }
            let missing: Vec<_> = case.uses.iter().filter(|name| !used.contains(**name)).collect();
            if !scanned.is_empty() || !missing.is_empty() {
                wrong.push(format!(
                    "{} ({mode}): scans {scanned:?}, does without {missing:?}, uses {used:?}",
                    case.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    database.finish().await;
}

/// A gate's two queries, with the limits of a worker's session and without: the day's plan is read from the
/// server's calendar, and what has changed lately from the keys' own index.
#[tokio::test]
async fn what_a_gate_asks_uses_indexes() {
    let database = Database::new().await;
    for statement in FILL.split_inclusive(';') {
        database.client.batch_execute(statement).await.expect(statement);
    }
    let calendars =
        ["reservations_live_by_server", "reservations_cancelled_by_server", "access_pkey"];
    let changes = ["access_changes", "reservations_pkey"];
    let plan_of_a_day = "select * from admissions where server_id = $1::text";
    let changed =
        "select * from admissions where server_id = $1::text and changed_at > $2::timestamptz";
    for (name, sql, arguments, uses) in [
        ("the plan", plan_of_a_day, "'s-1'", &calendars[..]),
        ("changes", changed, "'s-1', now() - interval '1 minute'", &changes[..]),
    ] {
        let case = Case { name, sql, arguments, uses: &[] };
        let explained = explain_admin(&database, &case).await;
        let (mut scanned, mut used) = (BTreeSet::new(), BTreeSet::new());
        walk(&explained, &mut scanned, &mut used);
        assert!(scanned.iter().all(|it| !LARGE.contains(&it.as_str())), "{name}: {scanned:?}");
        assert!(uses.iter().all(|index| used.contains(*index)), "{name}: {used:?}");
    }
    database.finish().await;
}

/// Operators' lists look at what is not over only: the index scan is bounded by the start.
#[tokio::test]
async fn operators_lists_spare_the_past() {
    macro_rules! admin {
        ($name:literal, $arguments:expr) => {
            Case {
                name: $name,
                sql: include_str!(concat!("../../src/store/admin/sql/", $name, ".sql")),
                arguments: $arguments,
                uses: &["reservations_live_by_server"],
            }
        };
    }
    let database = Database::new().await;
    for statement in FILL.split_inclusive(';') {
        database.client.batch_execute(statement).await.expect(statement);
    }
    for case in [
        admin!("list_servers", ""),
        admin!("list_places", ""),
        admin!("load_server", "'s-1'"),
        admin!("load_touched_reservations", "'s-1', now(), now() + interval '1 h'"),
    ] {
        let explained = explain_admin(&database, &case).await;
        let (mut scanned, mut used) = (BTreeSet::new(), BTreeSet::new());
        walk(&explained, &mut scanned, &mut used);
        assert!(!scanned.contains("reservations"), "{}: {scanned:?}", case.name);
        assert!(used.contains(case.uses[0]), "{}: {used:?}", case.name);
        let mut bounds = Vec::new();
        conditions(&explained, &mut bounds);
        assert!(bounds.iter().any(|it| it.contains("start_at >")), "{}: {bounds:?}", case.name);
    }
    database.finish().await;
}

/// Each step of a count of all use reads its users' rows only, and its beginning each server's first and last
/// reservation.
#[tokio::test]
async fn steps_of_a_recount_use_indexes() {
    macro_rules! admin {
        ($name:literal, $arguments:expr, $uses:expr) => {
            Case {
                name: $name,
                sql: include_str!(concat!("../../src/store/admin/sql/", $name, ".sql")),
                arguments: $arguments,
                uses: &$uses,
            }
        };
    }
    let database = Database::new().await;
    for statement in FILL.split_inclusive(';') {
        database.client.batch_execute(statement).await.expect(statement);
    }
    database
        .client
        .query("select begin_recount('week', 'Europe/Berlin')", &[])
        .await
        .expect("begun");
    let body = "select prosrc from pg_proc where proname = 'time_to_store'";
    let body: &str = database.ask::<String>(body).await.leak();
    let begin = Case {
        name: "time_to_store",
        sql: body,
        arguments: "",
        uses: &["reservations_live_by_server"],
    };
    for case in [
        begin,
        admin!("lock_page", "'u-5', 20", ["users_pkey"]),
        admin!("touch_page", "array['u-1', 'u-2']", ["users_pkey"]),
        admin!("delete_page", "1, array['u-1', 'u-2']", ["user_periods_pkey"]),
        admin!("load_holds", "array['u-1', 'u-2']", ["users_pkey"]),
        admin!("count_page", "array['u-1', 'u-2']", ["reservations_by_user"]),
        admin!("lock_counted", "array['u-1', 'u-2']", ["users_pkey"]),
        admin!("add_holds", "array['u-1', 'u-2'], array[1, 2]", ["users_pkey"]),
        admin!("delete_stale_use", "10", ["user_periods_pkey"]),
    ] {
        let explained = explain_admin(&database, &case).await;
        let (mut scanned, mut used) = (BTreeSet::new(), BTreeSet::new());
        walk(&explained, &mut scanned, &mut used);
        let large = scanned.iter().find(|table| LARGE.contains(&table.as_str()));
        assert_eq!(large, None, "{}: {scanned:?}", case.name);
        for index in case.uses {
            assert!(used.contains(*index), "{}: {used:?}", case.name);
        }
    }
    database.finish().await;
}

/// Lists of reservations begin with each server's first ones that can match, whatever is asked for.
#[tokio::test]
async fn lists_of_reservations_use_indexes() {
    let database = Database::new().await;
    for statement in FILL.split_inclusive(';') {
        database.client.batch_execute(statement).await.expect(statement);
    }
    let all = "array['held', 'reconfirmed', 'confirmed', 'cancelled']";
    let (live, cancelled) = ("reservations_live_by_server", "reservations_cancelled_by_server");
    let by_server = include_str!("../../src/store/admin/sql/list_reservations.sql");
    let by_user = include_str!("../../src/store/admin/sql/list_reservations_of_user.sql");
    let unsettled = include_str!("../../src/store/admin/sql/count_unsettled.sql");
    let none = "null, null, null, null";
    for (name, sql, arguments, uses) in [
        ("all", by_server, format!("null, {all}, {none}, 101"), vec![live, cancelled]),
        ("a server's", by_server, format!("'s-1', {all}, {none}, 101"), vec![live, cancelled]),
        (
            "live",
            by_server,
            format!("null, array['held'], {none}, 101"),
            vec![live, "reservations_due"],
        ),
        ("cancelled", by_server, format!("null, array['cancelled'], {none}, 101"), vec![cancelled]),
        (
            "a window",
            by_server,
            format!("null, {all}, now(), now() + interval '1 h', null, null, 101"),
            vec![live, cancelled],
        ),
        (
            "a user's",
            by_user,
            format!("'u-1', null, {all}, {none}, 101"),
            vec!["reservations_by_user"],
        ),
        ("unsettled", unsettled, "'s-1'".to_owned(), vec![live, "reservations_due"]),
    ] {
        let case = Case { name, sql, arguments: arguments.leak(), uses: &[] };
        let explained = explain_admin(&database, &case).await;
        let (mut scanned, mut used) = (BTreeSet::new(), BTreeSet::new());
        walk(&explained, &mut scanned, &mut used);
        assert!(!scanned.contains("reservations"), "{name}: {scanned:?}");
        for index in uses {
            assert!(used.contains(index), "{name}: {used:?}");
        }
    }
    database.finish().await;
}

async fn explain_admin(database: &Database, case: &Case) -> Value {
    let session = database.session().await;
    session.batch_execute(&format!("prepare it as {}", case.sql)).await.expect(case.name);
    let arguments = match case.arguments {
        "" => String::new(),
        arguments => format!("({arguments})"),
    };
    let explain = format!("explain (format json) execute it {arguments}");
    let explained = session.simple_query(&explain).await.expect(case.name);
    let text: String = explained
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    serde_json::from_str(&text).expect("JSON")
}

/// Collects the conditions of all index scans of a plan.
fn conditions(plan: &Value, found: &mut Vec<String>) {
    match plan {
        Value::Object(node) => {
            found.extend(node.get("Index Cond").and_then(Value::as_str).map(str::to_owned));
            node.values().for_each(|value| conditions(value, found));
        }
        Value::Array(nodes) => nodes.iter().for_each(|node| conditions(node, found)),
        _ => {}
    }
}

/// Every statement is in the cases above, or touches no large table.
#[test]
fn every_statement_is_looked_at() {
    let small = [
        "beat",
        "delete_worker",
        "prune_workers",
        "has_migrations",
        "insert_topology",
        "load_changed_bounds",
        "load_outdated_collations",
        "insert_worker_account",
        "load_installation",
        "load_worker_accounts",
        "load_roles",
        "load_migrations_lock",
        "load_session",
        "load_topology",
        "lock_migrations",
        "terminal_exists",
        "claim_sweep",
        "load_clock",
        "load_gate_clock",
        "load_applied_migrations",
        "load_view_clock",
        "claim_fences",
        "draw_block",
        "load_closures",
        "load_servers",
        "load_terminals",
        "load_users",
        "lock_retention",
        "load_replayed",
        "prune_dead_letters",
        "lock_use",
        "lock_users",
        "prune_attempts",
        "update_timekeeping",
        "insert_access_secret",
        "load_access_secrets",
        "notify_gates",
        "prune_coverage",
        "load_attempts",
        "count_attempt",
        "uncount_attempt",
        "delete_attempts",
        // Inserts read nothing, or their own key.
        "upsert_access_use",
        "upsert_gate_coverage",
        "insert_outbox_messages",
        "insert_billing_entries",
        "insert_history",
        "insert_processed_commands",
        "insert_reservations",
        "insert_timers",
    ];
    let looked_at: BTreeSet<&str> = cases().iter().map(|case| case.name).chain(small).collect();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/sql");
    for entry in std::fs::read_dir(directory).expect("the statements") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        let name = name.trim_end_matches(".sql");
        assert!(looked_at.contains(name), "{name}");
    }
}

/// `explain` does not look into functions, so their bodies are explained on their own.
#[tokio::test]
async fn the_guards_functions_use_indexes() {
    let database = Database::new().await;
    for statement in FILL.split_inclusive(';') {
        database.client.batch_execute(statement).await.expect(statement);
    }
    for (name, parameters, types, arguments, index) in [
        (
            "used_seconds",
            &["of_user", "from_at"][..],
            "text, timestamptz",
            "'u-1', now()",
            "user_periods_pkey",
        ),
        (
            "peak_depth",
            &["of_server", "from_at", "to_at", "busy_max_seconds"][..],
            "text, timestamptz, timestamptz, integer",
            "'s-1', now(), now() + interval '1 h', 86400",
            "reservations_live_by_server",
        ),
    ] {
        let query = "select prosrc from pg_proc where proname = $1";
        let mut body: String =
            database.client.query_one(query, &[&name]).await.expect("a function").get(0);
        for (number, parameter) in (1..).zip(parameters) {
            // Not the columns of the same name.
            body = body.replace(parameter, &format!("${number}"));
        }
        let body = body.replace("secs => $4", "secs => $4::integer");
        let session = database.session().await;
        let prepare =
            format!("set plan_cache_mode = force_generic_plan; prepare it ({types}) as {body}");
        session
            .batch_execute(&prepare)
            .await
            .unwrap_or_else(|error| panic!("{prepare}: {error:?}"));
        let explain = format!("explain (format json) execute it ({arguments})");
        let explained = session.simple_query(&explain).await.expect("explained");
        let text: String = explained
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => row.get(0),
                _ => None,
            })
            .collect();
        let (mut scanned, mut used) = (BTreeSet::new(), BTreeSet::new());
        walk(&serde_json::from_str(&text).expect("JSON"), &mut scanned, &mut used);
        assert!(
            used.contains(index) && !scanned.contains("reservations"),
            "{name}: {used:?} {scanned:?}"
        );
    }
    database.finish().await;
}
