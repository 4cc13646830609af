//! Operators' commands on large tables, and their sessions.

use std::time::Duration;

use holdfast::store::pool;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::support::database::Database;
use crate::support::facts;
use crate::support::program::{Transcript, command, holdfast};

/// Enough that all of them in memory would be ten times [`MEMORY_MAX_KB`].
const ENTRIES: usize = 300_000;

const MEMORY_MAX_KB: u64 = 150_000;

/// Past the guard: their reservations are gone.
const FILL: &str = "set session_replication_role = replica;
    insert into billing_entries (id, kind, reservation_id, user_id, server_id, seconds, amount_minor,
        currency, tariff_version, created_at)
    select gen_random_uuid(), 'charge', gen_random_uuid(), 'u-' || n % 100, 's-' || n % 10, 60, n, 'EUR', 1,
        '2091-01-01Z'::timestamptz + n / 3 * interval '1 s' from generate_series(1, 300000) n;
    reset session_replication_role; analyze billing_entries";

#[tokio::test(flavor = "multi_thread")]
async fn a_large_ledger_takes_little_memory() {
    let database = Database::new().await;
    database.client.batch_execute(FILL).await.expect("entries");
    let environment = [("DATABASE_URL", database.url.as_str())];
    let range =
        ["billing", "ledger", "--from", "2091-01-01T00:00:00Z", "--to", "2092-01-01T00:00:00Z"];
    let mut program =
        command(&environment, &[&range[..], &["--csv"]].concat()).spawn().expect("it starts");
    let status = format!("/proc/{}/status", program.id().expect("it runs"));
    let mut lines = BufReader::new(program.stdout.take().expect("piped")).lines();
    let mut printed: usize = 0;
    let mut total: u64 = 0;
    while let Some(line) = lines.next_line().await.expect("text") {
        printed += 1;
        // More than a pipe holds is left, so the program still runs.
        if printed == ENTRIES - 5_000 {
            let status = std::fs::read_to_string(&status).expect("it runs");
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.expect("a peak").trim().trim_end_matches(" kB");
            let peak: u64 = peak.parse().expect("a number");
            assert!(peak < MEMORY_MAX_KB, "{peak} kB");
        }
        total += line.split(',').nth(7).and_then(|amount| amount.parse::<u64>().ok()).unwrap_or(0);
    }
    assert!(program.wait().await.expect("it ends").success());
    let entries = ENTRIES as u64;
    assert_eq!((printed, total), (ENTRIES + 1, entries * (entries + 1) / 2), "a header and all");
    database.finish().await;
}

#[tokio::test]
async fn the_ledgers_pages_and_formats_have_all_entries() {
    let database = Database::new().await;
    let few = FILL.replace("300000", "5").replace("gen_random_uuid()", "md5(n::text)::uuid");
    database.client.batch_execute(&few).await.expect("entries");
    let mut operator = Transcript::new(&[("DATABASE_URL", database.url.as_str())]);
    let range = "billing ledger --from 2091-01-01T00:00:00Z --to 2092-01-01T00:00:00Z";
    operator.run(range, 0).await;
    operator.run(&format!("{range} --csv"), 0).await;
    operator.run(&format!("{range} --limit 2"), 0).await;
    let query = "select id::text from billing_entries order by created_at, id offset 1 limit 1";
    let second: String = database.ask(query).await;
    operator.run(&format!("{range} --after {second} --limit 2 --json"), 0).await;
    operator.run(&format!("{range} --after {second}"), 0).await;
    operator.run(&format!("{range} --after {second} --limit 1 --csv"), 0).await;
    operator.run(&format!("{range} --after 00000000-0000-0000-0000-000000000000"), 4).await;
    operator.run(&format!("{range} --csv --json"), 4).await;
    operator.run("billing ledger --from -1d --to now", 0).await;
    operator.check("ledger_pages");
    database.finish().await;
}

#[tokio::test]
async fn lists_are_printed_as_comma_separated_values() {
    let database = Database::new().await;
    database.server("cam", 2, 0).await;
    database.user("ann", Some(60)).await;
    let mut operator = Transcript::new(&[("DATABASE_URL", database.url.as_str())]);
    operator.run("server list --csv", 0).await;
    operator.run("terminal list --csv", 0).await;
    operator.run("terminal list --user nobody --csv", 0).await;
    operator.run("reservation list --csv", 0).await;
    operator.run("server closure add cam --start now --end +1h --reason one,two", 0).await;
    operator.run("server closure list --csv", 0).await;
    let users = operator.run("user list --csv", 0).await;
    assert_eq!(users.stdout.lines().count(), 2, "{users:?}");
    operator.check("csv");
    database.finish().await;
}

#[tokio::test]
async fn an_operators_session_has_its_own_limits_and_ends_with_the_program() {
    let database = Database::new().await;
    let settings = pool::operator_settings(&database.url.parse().expect("a URL"));
    let (client, driver) = settings.connect().await.expect("a connection");
    let driver = tokio::spawn(driver);
    for (name, value) in [("statement_timeout", "1h"), ("lock_timeout", "5s")] {
        let row = client.query_one(&format!("show {name}"), &[]).await.expect("a setting");
        assert_eq!(row.get::<_, &str>(0), value, "{name}");
    }
    let pid: i32 = client.query_one("select pg_backend_pid()", &[]).await.expect("a pid").get(0);
    let running =
        format!("select count(*) from pg_stat_activity where pid = {pid} and state = 'active'");
    let work = tokio::spawn(async move { client.batch_execute("select pg_sleep(3000)").await });
    facts::until("it runs", async || database.ask::<i64>(&running).await == 1).await;
    // As when the program is killed.
    driver.abort();
    work.abort();
    let gone = format!("select count(*) from pg_stat_activity where pid = {pid}");
    let ended = facts::until("the server notices", async || database.ask::<i64>(&gone).await == 0);
    tokio::time::timeout(Duration::from_secs(60), ended).await.expect("it ends");
    database.finish().await;
}

/// The limits of decisions would cancel what takes minutes.
#[tokio::test]
async fn commands_work_in_such_a_session() {
    let database = Database::new().await;
    database.user("ann", None).await;
    let noted = "create table noted (statement_timeout text);
        create function note() returns trigger language plpgsql as $$ begin
            insert into noted values (current_setting('statement_timeout'));
            return null;
        end $$;
        create trigger noted after update on users for each statement execute function note()";
    database.client.batch_execute(noted).await.expect("a trigger");
    let environment = [("DATABASE_URL", database.url.as_str())];
    let run = holdfast(&environment, &["user", "set", "ann", "--quota-seconds", "60"]).await;
    assert_eq!(run.code, 0, "{run:?}");
    assert_eq!(database.ask::<String>("select statement_timeout from noted").await, "1h");
    database.finish().await;
}
