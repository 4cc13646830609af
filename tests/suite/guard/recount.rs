//! Counting all use anew while reservations come and go.

use std::time::Duration;

use holdfast::store::admin::policy::PolicyChange;
use holdfast::store::admin::recount::{self, Recount};
use tokio_postgres::Client;

use super::database;
use crate::support::database::{Database, Row, insert, run};
use crate::support::facts;
use crate::support::program::{Run, command, ended, holdfast};

/// Minutes of a day.
const DAY: f64 = 1_440.;

const CANCEL: &str =
    "update reservations set state = 'cancelled', cancel_reason = 'withdrawn', settled_at = now()";

/// `ann` to `eve` with two reservations each, one across midnight in UTC and Berlin.
async fn with_five() -> Database {
    let database = database(100).await;
    database.accepts("update policy set quota_default_seconds = 1000000000").await;
    for user in ["bob", "cid", "dan", "eve"] {
        database.user(user, None).await;
    }
    for user in ["ann", "bob", "cid", "dan", "eve"] {
        let rows = [(60., 90.), (DAY - 100., DAY + 10.)]
            .map(|(start, end)| Row { user, ..Row::held(start, end) });
        database.accepts(&insert(&rows)).await;
    }
    database
}

/// Neither wrong now nor in the generation that is being counted.
async fn assert_right(database: &Database, when: &str) {
    let mut violations = database.violations().await;
    violations.retain(|violation| violation.starts_with("I3 "));
    assert!(violations.is_empty(), "{when}: {violations:#?}");
}

/// Marks a page, runs `meanwhile` before and after it is read, and adds it.
async fn step(sessions: &mut [Client; 2], recount: &Recount, most: i64, meanwhile: [&str; 2]) {
    let [writer, reader] = sessions;
    let typist = meanwhile.map(str::to_owned);
    let marked = recount::mark(writer, reader, recount.generation, most).await;
    let marked = marked.expect("no contention").expect("it goes on");
    run(writer, &typist[0]).await.expect("decided before it is read");
    let mut counted = marked.count().await.expect("counted");
    run(writer, &typist[1]).await.expect("decided before it is added");
    assert!(counted.add(writer).await.expect("no contention"), "it goes on");
}

async fn sessions(database: &Database) -> [Client; 2] {
    [database.session().await, database.session().await]
}

async fn recount_of(database: &Database) -> Option<Recount> {
    recount::load_recount(&database.client).await.expect("a look")
}

/// What is reserved, cancelled and deleted between the mark of a page, its count and its end counts once, for
/// users that are counted, are being counted and are not yet.
#[tokio::test(flavor = "multi_thread")]
async fn decisions_go_on_between_all_steps() {
    let database = with_five().await;
    let mut sessions = sessions(&database).await;
    let recount = recount::begin(&database.client, "day", "europe/berlin").await.expect("begun");
    assert_eq!(recount.quota_zone, "Europe/Berlin");
    let mut at = 200.;
    while !recount_of(&database).await.expect("under way").is_counted() {
        let mut reserved = || {
            at += 10.;
            let users = ["ann", "bob", "cid", "dan", "eve"];
            let rows = users.map(|user| Row { user, ..Row::held(at, at + DAY) });
            let cancel = format!("{CANCEL} where id = '{}'", rows[1].id);
            let over = Row { state: "confirmed", ..Row::held(-40_000_000., -39_998_000.) };
            // Deletion needs a reservation that is over.
            format!(
                "begin; {}; {cancel}; {}; delete from reservations where id = '{}'; commit",
                insert(&rows),
                over.insert(),
                over.id
            )
        };
        let (before, after) = (reserved(), reserved());
        step(&mut sessions, &recount, 2, [&before, &after]).await;
        assert_right(&database, "after a page").await;
    }
    // Between the last page and the end, by one who was not there before.
    database.user("zoe", None).await;
    let rows = [Row { user: "zoe", ..Row::held(0., DAY) }, Row::held(500., 510.)];
    database.accepts(&insert(&rows)).await;
    assert_right(&database, "before the end").await;
    assert_eq!(database.ask::<String>("select quota_zone from policy").await, "UTC");

    let change = PolicyChange { holds_default_max: Some(700), ..PolicyChange::default() };
    let policy = recount::finish(&mut sessions[0], &recount, &change).await.expect("no contention");
    let policy = policy.expect("it is counted");
    assert_eq!((policy.quota_period.as_str(), policy.holds_default_max), ("day", 700));
    database.accepts(&Row::held(600., 610.).insert()).await;
    recount::delete_stale(&database.client).await.expect("deleted");
    assert_right(&database, "at the end").await;
    for table in ["user_periods", "quota_bounds"] {
        let others = format!(
            "select count(*) from {table} where generation <> (select generation from policy)"
        );
        assert_eq!(database.ask::<i64>(&others).await, 0, "{table}");
    }
    database.finish().await;
}

/// A reservation that is over for good is deleted while its user is being counted, and has no row there yet.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_meanwhile_is_not_counted() {
    let database = database(9).await;
    let over = Row { state: "confirmed", ..Row::held(-40_000_000., -39_998_000.) };
    let rows = [over.clone(), Row::held(0., 60.)];
    database.accepts(&insert(&rows)).await;
    let mut sessions = sessions(&database).await;
    let recount = recount::begin(&database.client, "week", "UTC").await.expect("begun");
    let delete = format!("delete from reservations where id = '{}'", over.id);
    step(&mut sessions, &recount, 9, ["select 1", &delete]).await;
    assert_right(&database, "deleted after it was read").await;
    database.finish().await;
}

/// The snapshot of a transaction at REPEATABLE READ may be from before the mark, and not show it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_does_not_see_the_mark_fails() {
    let database = with_five().await;
    let mut sessions = sessions(&database).await;
    let recount = recount::begin(&database.client, "week", "UTC").await.expect("begun");
    let [old, new] = [database.session().await, database.session().await];
    let begin = "begin isolation level repeatable read; select count(*) from policy";
    run(&old, begin).await.expect("a snapshot from before");
    step(&mut sessions, &recount, 2, ["select 1", "select 1"]).await;
    run(&new, begin).await.expect("a snapshot from after");
    let refused = run(&old, &format!("{CANCEL} where user_id = 'ann'")).await.expect_err("too old");
    assert_eq!(refused.code, "40001", "{refused:?}");
    run(&new, &format!("{CANCEL} where user_id = 'ann'; commit")).await.expect("new enough");
    assert_right(&database, "after both").await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_counts_of_holds_are_corrected_while_they_change() {
    let database = with_five().await;
    database.accepts("update users set holds = holds + 3 where id in ('ann', 'eve')").await;
    database.accepts("update users set holds = 0 where id = 'bob'").await;
    let mut sessions = sessions(&database).await;
    let recount = recount::begin(&database.client, "month", "UTC").await.expect("begun");
    let [first, second] = [300., 400.].map(|at| {
        insert(&["ann", "bob", "cid"].map(|user| Row { user, ..Row::held(at, at + 10.) }))
    });
    step(&mut sessions, &recount, 9, [&first, &second]).await;
    assert_right(&database, "counted").await;
    database.finish().await;
}

/// A page that was marked and not finished is counted again, and who marked it first must not add to it.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_replaced_adds_nothing() {
    let database = with_five().await;
    let (mut slow, mut fast) = (sessions(&database).await, sessions(&database).await);
    let recount = recount::begin(&database.client, "week", "UTC").await.expect("begun");
    let [writer, reader] = &mut slow;
    let marked = recount::mark(writer, reader, recount.generation, 3).await.expect("no contention");
    let mut counted = marked.expect("it goes on").count().await.expect("counted");
    step(&mut fast, &recount, 2, ["select 1", "select 1"]).await;
    assert!(!counted.add(writer).await.expect("no contention"), "replaced");
    assert_right(&database, "replaced").await;
    while !recount_of(&database).await.expect("under way").is_counted() {
        step(&mut fast, &recount, 2, ["select 1", "select 1"]).await;
    }
    assert_right(&database, "counted").await;

    // A policy changed by hand counts at once, and ends the count.
    database.accepts("update policy set quota_period = 'day'").await;
    assert!(recount_of(&database).await.is_none());
    let finished = recount::finish(&mut fast[0], &recount, &PolicyChange::default()).await;
    assert!(finished.expect("no contention").is_none());
    assert_right(&database, "by hand").await;
    database.finish().await;
}

/// Waits until a statement of a `holdfast` waits for a lock.
async fn until_it_waits(database: &Database) {
    let waits = "select count(*) from pg_stat_activity where datname = current_database()
        and application_name = 'holdfast' and wait_event_type = 'Lock'";
    facts::until("it waits", async || database.ask::<i64>(waits).await > 0).await;
}

async fn policy_set(database: &Database, words: &str) -> Run {
    let environment = [("DATABASE_URL", database.url.as_str()), ("HOLDFAST_OPERATOR", "olga")];
    holdfast(&environment, &words.split_whitespace().collect::<Vec<_>>()).await
}

/// A user that another transaction is adding holds up the count, and no decision. What that transaction
/// reserves counts, too.
#[tokio::test(flavor = "multi_thread")]
async fn decisions_go_on_while_the_count_waits() {
    let database = with_five().await;
    let adding = database.session().await;
    // On a server of its own: decisions on one wait for each other.
    database.server("mic", 9, 0).await;
    let late = Row { user: "dot", server: "mic", ..Row::held(0., DAY) };
    let add = format!(
        "begin; insert into users (id) values ('dot');
         insert into terminals (id, user_id) values ('dot-t', 'dot'); {}",
        late.insert()
    );
    run(&adding, &add).await.expect("a user that is not committed");
    let environment = [("DATABASE_URL", database.url.as_str())];
    let program =
        command(&environment, &["policy", "set", "--quota-zone", "Europe/Berlin"]).spawn();
    let program = program.expect("it starts");
    until_it_waits(&database).await;
    let quickly = database.session().await;
    run(&quickly, "set lock_timeout = '100ms'").await.expect("a setting");
    for user in ["ann", "eve"] {
        let row = Row { user, ..Row::held(300., 310.) };
        run(&quickly, &row.insert()).await.expect("decided meanwhile");
    }
    run(&adding, "commit").await.expect("committed");
    let run = ended(program).await;
    assert_eq!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("decisions go on"), "{run:?}");
    assert!(run.stderr.contains("counted 6 users"), "{run:?}");
    assert_right(&database, "in Berlin").await;
    assert_eq!(database.ask::<String>("select quota_zone from policy").await, "Europe/Berlin");
    database.finish().await;
}

/// Killed in the middle, the same command goes on after the users that are counted. Another policy is refused
/// until then, and the count can be given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_is_killed_goes_on_or_is_given_up() {
    let database = with_five().await;
    let many = "insert into users (id) select 'f' || n from generate_series(100, 199) n";
    database.accepts(many).await;
    let holder = database.session().await;
    let hold = "begin; select from users where id = 'f150' for update";
    run(&holder, hold).await.expect("a lock");
    let environment = [("DATABASE_URL", database.url.as_str()), ("HOLDFAST_OPERATOR", "olga")];
    let words = ["policy", "set", "--quota-period", "week", "--holds-default-max", "9"];
    let mut program = command(&environment, &words).spawn().expect("it starts");
    let counted = "select count(*) from recounts where counted_until >= 'f100'";
    facts::until("a page", async || database.ask::<i64>(counted).await == 1).await;
    until_it_waits(&database).await;
    program.kill().await.expect("killed");
    run(&holder, "rollback").await.expect("released");
    database.accepts(&Row::held(300., 310.).insert()).await;
    assert_right(&database, "killed").await;

    for other in ["policy set --quota-zone Europe/Paris", "user recount"] {
        let refused = policy_set(&database, other).await;
        assert_eq!(refused.code, 4, "{refused:?}");
        for part in
            ["begun by olga", "--quota-period week --quota-zone UTC", "user recount --abandon"]
        {
            assert!(refused.stderr.contains(part), "{part}: {refused:?}");
        }
    }
    let shown = policy_set(&database, "policy show").await;
    assert!(shown.stderr.contains("by week in UTC is under way"), "{shown:?}");
    assert!(shown.stdout.contains("month"), "{shown:?}");

    let again = policy_set(&database, &words.join(" ")).await;
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stderr.contains("going on with it"), "{again:?}");
    assert!(!again.stderr.contains("use of 105 users"), "{again:?}");
    assert_right(&database, "by week").await;
    let set = "select quota_period || ' ' || holds_default_max from policy";
    assert_eq!(database.ask::<String>(set).await, "week 9");
    let audited = "select count(*) from audit where kind = 'policy' and operator = 'olga'";
    assert_eq!(database.ask::<i64>(audited).await, 1, "one change");

    recount::begin(&database.client, "day", "UTC").await.expect("begun");
    let mut sessions = sessions(&database).await;
    let recount = recount_of(&database).await.expect("under way");
    step(&mut sessions, &recount, 3, ["select 1", "select 1"]).await;
    for (code, said) in [(0, "abandoned the count"), (0, "no count is under way")] {
        let given_up = policy_set(&database, "user recount --abandon").await;
        assert_eq!(given_up.code, code, "{given_up:?}");
        assert!(given_up.stdout.contains(said), "{given_up:?}");
    }
    assert_eq!(database.ask::<i64>("select count(distinct generation) from user_periods").await, 1);
    assert_eq!(database.ask::<String>("select quota_period from policy").await, "week");
    assert_right(&database, "given up").await;
    database.finish().await;
}

/// What the database refuses is refused before anything is counted, and a wrong zone as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_refused_begins_no_count() {
    let database = with_five().await;
    for words in [
        "policy set --quota-zone Europe/Berlin --reservations-kept-days 40 --answers-kept-days 50",
        "policy set --quota-zone Europe/Berlim --holds-default-max 7",
    ] {
        let refused = policy_set(&database, words).await;
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(recount_of(&database).await.is_none(), "{words}");
    }
    assert_eq!(database.ask::<i64>("select count(*) from audit where operator = 'olga'").await, 0);
    database.finish().await;
}

/// Two at once for different zones: one is refused, and the other's comes into force.
#[tokio::test(flavor = "multi_thread")]
async fn two_policies_at_once_come_one_after_the_other() {
    let database = with_five().await;
    let (berlin, paris) = tokio::join!(
        policy_set(&database, "policy set --quota-zone Europe/Berlin"),
        policy_set(&database, "policy set --quota-zone Europe/Paris"),
    );
    let zone = database.ask::<String>("select quota_zone from policy").await;
    // The second may also have come after the first had ended.
    match (berlin.code, paris.code) {
        (0, 4) => assert_eq!(zone, "Europe/Berlin"),
        (4, 0) => assert_eq!(zone, "Europe/Paris"),
        (0, 0) => {}
        other => panic!("{other:?}: {berlin:?} {paris:?}"),
    }
    assert!(recount_of(&database).await.is_none());
    assert_right(&database, "after both").await;
    database.finish().await;
}

/// While a page is read, nothing is locked: not even who takes it over waits.
#[tokio::test(flavor = "multi_thread")]
async fn no_lock_is_held_while_a_page_is_read() {
    let database = with_five().await;
    let mut sessions = sessions(&database).await;
    let recount = recount::begin(&database.client, "week", "UTC").await.expect("begun");
    let [writer, reader] = &mut sessions;
    let marked = recount::mark(writer, reader, recount.generation, 9).await.expect("no contention");
    let locked =
        "select from users for update nowait; lock table recounts in exclusive mode nowait";
    let typist = database.session().await;
    let all = format!("begin; {locked}; commit");
    let all = tokio::time::timeout(Duration::from_secs(30), run(&typist, &all));
    all.await.expect("in time").expect("nothing is locked");
    let mut counted = marked.expect("it goes on").count().await.expect("counted");
    assert!(counted.add(writer).await.expect("no contention"));
    assert_right(&database, "counted").await;
    database.finish().await;
}
