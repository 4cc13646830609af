//! Each query of `schema/invariants.sql` finds what it looks for, and no other query turns red. Violations
//! are written past the guard, as only a superuser can.

use std::collections::BTreeSet;

use tokio_postgres::Client;

use crate::support::database::Database;
use crate::support::engines;
use crate::support::invariants::{QUERIES, violations};

/// Functions that write a reservation's whole life: `live(3, at, '{held,cancelled}')` writes reservation 3,
/// of an hour, with its request, history, bills and events.
const LIVE: &str = "
create function name(kind integer, n integer) returns uuid language sql as $$
    select lpad((kind * 100 + n)::text, 32, '0')::uuid $$;
create function tell(id uuid, type text, of uuid) returns void language sql as $$
    insert into outbox_messages values (id, 'event', type, type || '.cam', true,
        json_build_object('subject', of), now()) $$;
create function bill(id uuid, kind text, of uuid, charge uuid) returns void language sql as $$
    insert into billing_entries values (id, kind, of, charge, 'ann', 'cam', 3600, 3600, 'EUR', 1, now())
    $$;
create function live(n integer, start timestamptz, states text[]) returns void language plpgsql as $$
declare
    it uuid := name(1, n);
    last text := states[cardinality(states)];
begin
    insert into reservations values (it, 'ann-t', 'm' || n, 'ann', 'cam', 0, start,
        start + interval '1 hour', start + interval '1 hour', start - interval '1 hour', null, null,
        last, case when last = 'cancelled' then 'withdrawn' end, 3600, 'EUR', 1, now(),
        case when 'reconfirmed' = any (states) then now() end,
        case when last in ('confirmed', 'cancelled') then now() end);
    insert into processed_commands values ('ann-t', 'm' || n, 'request', '', 'accepted', 'answer', '{}', 'cam',
        it, n * 10 + 1, now());
    insert into history (seq, reservation_id, from_state, to_state, actor, trigger, lateness_ms, server_id, at)
    select n * 10 + place, it, states[place - 1], states[place],
           case when states[place] = 'confirmed' then 'deadline' else 'terminal' end, 'command',
           case when states[place] = 'confirmed' then 0 end, 'cam', start - interval '1 hour'
    from generate_series(1, cardinality(states)) place;
    if 'confirmed' = any (states) then
        perform bill(name(2, n), 'charge', it, null), tell(name(2, n), 'reservation.confirmed', it);
    end if;
    if last = 'cancelled' then
        perform tell(name(4, n), 'reservation.cancelled', it);
    end if;
    if last = 'cancelled' and 'confirmed' = any (states) then
        perform bill(name(3, n), 'credit', it, name(2, n)), tell(name(3, n), 'reservation.credited', it);
    end if;
end $$;";

/// Rows without a violation: 1 was confirmed, 2 too and then credited, 3 is held and 4 withdrawn.
const ALL_IS_WELL: &str = "set session_replication_role = replica;
select live(1, now() - interval '1 hour', '{held,reconfirmed,confirmed}'),
       live(2, now() - interval '3 hours', '{held,reconfirmed,confirmed,cancelled}'),
       live(3, '2091-03-05T10:00Z', '{held}'), live(4, '2091-03-06T10:00Z', '{held,cancelled}');
insert into access_secrets values ('a', sha256('a'));
insert into access select id, 'cam', 1, 'a', sha256(id::text::bytea), now(),
    case when state = 'confirmed' then now() + interval '1 hour' end
from reservations where id in (name(1, 1), name(1, 2));
select recount_use();";

/// Queries that turn red, and the SQL that makes them. More than one only where one implies another.
const SEEDS: &[(&[&str], &str)] = &[
    (
        // What is overbooked now was overbooked when it was accepted.
        &["I1 overbooked", "I2 overbooked in the past"],
        "select live(5, '2091-03-05T10:30Z', '{held}'); select recount_use()",
    ),
    (
        &["I2 overbooked in the past"],
        "select live(5, '2091-03-05T10:30Z', '{held,cancelled}'); select recount_use()",
    ),
    (&["I3 over quota"], "update users set quota_seconds = 3599 where id = 'ann'"),
    (&["I3 use is not what is kept"], "update user_periods set reserved_us = reserved_us - 1"),
    (&["I3 use is not what is kept"], "delete from user_periods"),
    (
        // Of a count that has come to all users, and counted nothing.
        &["I3 use is not what is kept"],
        "insert into recounts (quota_period, quota_zone, marked_until, counted_until)
         values ('week', 'UTC', '~', '~')",
    ),
    (&["I3 holds are not what is kept"], "update users set holds = holds + 1 where id = 'ann'"),
    (
        &["I9 illegal change"],
        "insert into history (seq, reservation_id, from_state, to_state, actor, trigger, server_id, at)
         values (43, name(1, 4), 'cancelled', 'reconfirmed', 'operator', 'operator', 'cam', now()),
                (44, name(1, 4), 'reconfirmed', 'cancelled', 'operator', 'operator', 'cam', now())",
    ),
    (
        &["I9 broken chain"],
        "insert into history (seq, reservation_id, from_state, to_state, actor, trigger, server_id, at)
         values (43, name(1, 4), 'held', 'cancelled', 'operator', 'operator', 'cam', now())",
    ),
    (
        &["I9 history and table differ"],
        "update reservations set state = 'reconfirmed', reconfirmed_at = now() where id = name(1, 3);
         select recount_use()",
    ),
    (
        &["I10 charge does not fit the state"],
        "delete from billing_entries where id = name(2, 1); delete from outbox_messages where id = name(2, 1)",
    ),
    (
        &["I10 charge does not fit the state"],
        "select bill(name(2, 3), 'charge', name(1, 3), null),
                tell(name(2, 3), 'reservation.confirmed', name(1, 3))",
    ),
    (
        &["I10 charge of another time or price"],
        "update billing_entries set amount_minor = 3599 where id = name(2, 1)",
    ),
    (
        &["I10 charge of another time or price"],
        "update billing_entries set seconds = 3601 where id = name(2, 1)",
    ),
    (
        &["I10 charge of another time or price"],
        "update billing_entries set tariff_version = 2 where id = name(2, 1)",
    ),
    (
        &["I10 credit does not fit"],
        "delete from billing_entries where id = name(3, 2); delete from outbox_messages where id = name(3, 2)",
    ),
    (
        &["I10 credit does not fit"],
        "update billing_entries set charge_id = name(2, 1) where id = name(3, 2)",
    ),
    (&["I11 billing entry without event"], "delete from outbox_messages where id = name(2, 1)"),
    (
        &["I11 billing event without entry"],
        "select tell(name(2, 3), 'reservation.confirmed', name(1, 3))",
    ),
    (
        &["I11 two events of one kind"],
        "select tell(name(9, 4), 'reservation.cancelled', name(1, 4))",
    ),
    (
        &["I13 settled early"],
        "update history set at = at - interval '1 ms' where reservation_id = name(1, 1) and actor = 'deadline'",
    ),
    (
        &["I13 settled early"],
        "update history set lateness_ms = -1 where reservation_id = name(1, 1) and actor = 'deadline'",
    ),
    (
        &["I13 outstanding"],
        "update reservations set deadline_at = clock_timestamp() - interval '61 s' where id = name(1, 3)",
    ),
    (
        &["I14 not told"],
        "insert into outbox (outbox_message_id) values (name(2, 1));
         update outbox_messages set created_at = clock_timestamp() - interval '61 s' where id = name(2, 1)",
    ),
    (
        &["I15 accepted without reservation"],
        "insert into processed_commands values ('ann-t', 'm9', 'request', '', 'accepted', 'answer', '{}', 'cam',
             name(1, 9), 91, now())",
    ),
    (
        &["I15 accepted without reservation"],
        "update processed_commands set outcome = 'capacity_exceeded' where message_id = 'm3';
         update reservations set held_at = now() - interval '31 days' where id = name(1, 3)",
    ),
    (
        &["I16 key without confirmation"],
        "insert into access select id, 'cam', 1, 'a', sha256('b'), now() from reservations where id = name(1, 3)",
    ),
    (&["I16 key of another server"], "update access set server_id = 'other'"),
    (&["I16 key of an unknown secret"], "update access set secret_id = 'b'"),
    (
        &["I16 use not recorded"],
        "update access set close_at = clock_timestamp() - interval '61 s' where reservation_id = name(1, 1)",
    ),
    (&["I16 use not recorded"], "update access set close_at = now() where reservation_id = name(1, 2)"),
    (
        &["I16 use recorded twice"],
        "insert into history (seq, reservation_id, from_state, to_state, reason, actor, trigger, server_id, at)
         values (14, name(1, 1), 'confirmed', 'confirmed', 'used', 'end', 'sweep', 'cam', now()),
                (15, name(1, 1), 'confirmed', 'confirmed', 'no_show', 'end', 'sweep', 'cam', now())",
    ),
    (
        &["I19 in another partition than its server"],
        "update servers set partition = 1 where id = 'cam'",
    ),
    (
        &["I19 move that does not end"],
        "insert into moves (server_id, from_partition, to_partition, fence, started_at)
         values ('cam', 0, 1, gen_random_uuid(), clock_timestamp() - interval '61 s')",
    ),
    (&["I15 reservation that nobody asked for"], "delete from processed_commands where message_id = 'm3'"),
];

/// The two queries that look at sessions, tested below.
const OF_SESSIONS: [&str; 2] = ["I18 prepared transaction", "I18 idle in transaction"];

/// Returns the names of what the queries look for.
fn names() -> Vec<BTreeSet<&'static str>> {
    let mut queries = vec![BTreeSet::new()];
    for line in QUERIES.lines().filter(|line| !line.trim_start().starts_with("--")) {
        let quoted = line.split('\'').skip(1).step_by(2);
        let named = quoted.filter(|text| {
            text.strip_prefix('I')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        });
        queries.last_mut().expect("one at least").extend(named);
        if line.ends_with(';') {
            queries.push(BTreeSet::new());
        }
    }
    queries.pop();
    queries
}

/// Returns the names of what is found.
async fn red(client: &Client) -> BTreeSet<String> {
    let found = violations(client).await;
    found.iter().filter_map(|line| Some(line.split_once(": ")?.0.to_owned())).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A database without violations, with the functions of [`LIVE`].
async fn database() -> Database {
    let database = Database::new().await;
    database.server("cam", 1, 0).await;
    database.user("ann", None).await;
    database.client.batch_execute(LIVE).await.expect("functions");
    database.client.batch_execute(ALL_IS_WELL).await.expect("four lives");
    assert_eq!(database.violations().await, Vec::<String>::new());
    database
}

#[test]
fn every_query_is_shown_what_it_looks_for() {
    // Where one finding implies another, the first is the expected one.
    let shown: BTreeSet<&str> =
        SEEDS.iter().map(|(names, _)| names[0]).chain(OF_SESSIONS).collect();
    let queries = names();
    assert_eq!(queries.len(), 27, "{queries:#?}");
    for query in &queries {
        assert!(!query.is_empty(), "a query without a name: {queries:#?}");
    }
    assert_eq!(queries.into_iter().flatten().collect::<BTreeSet<_>>(), shown);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_violation_is_found_by_its_query_alone() {
    let database = database().await;
    let client = &database.client;
    for (names, seed) in SEEDS {
        client.batch_execute(&format!("begin; {seed}")).await.expect(seed);
        assert_eq!(red(client).await, set(names), "{seed}");
        client.batch_execute("rollback").await.expect("a rollback");
        assert_eq!(red(client).await, set(&[]), "after {seed}");
    }
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prepared_transaction_is_found() {
    let database = database().await;
    let name = format!("left-{}", uuid::Uuid::new_v4());
    let prepare = format!("begin; prepare transaction '{name}'");
    let prepared = database.session().await.batch_execute(&prepare).await;
    prepared.expect("max_prepared_transactions is not 0");
    let found = red(&database.client).await;
    // A prepared transaction would outlive the test.
    database.accepts(&format!("rollback prepared '{name}'")).await;
    assert_eq!(found, set(&[OF_SESSIONS[0]]));
    database.finish().await;
}

/// Sets the clock that the queries read forward, instead of waiting for a minute.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_is_left_open_is_found() {
    let database = database().await;
    let idle = engines::connect(&database.url).await;
    idle.batch_execute("begin; select 1").await.expect("a transaction");
    assert_eq!(red(&database.client).await, set(&[]), "a short while is no matter");
    let later = "create schema later;
        create function later.clock_timestamp() returns timestamptz language sql as
            $$ select pg_catalog.clock_timestamp() + interval '61 s' $$;
        set search_path = later, public, pg_catalog";
    database.client.batch_execute(later).await.expect("a clock");
    assert_eq!(red(&database.client).await, set(&[OF_SESSIONS[1]]));
    idle.batch_execute("rollback").await.expect("its end");
    assert_eq!(red(&database.client).await, set(&[]));
    database.finish().await;
}
