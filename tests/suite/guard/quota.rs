//! Quota overrun (R5).

use std::time::Duration;

use chrono::{DateTime, Utc};
use holdfast::store::{pool, retention};

use super::database;
use crate::support::database::{Database, Row, insert, minute, run};
use crate::support::program::holdfast;

/// First minute of April, counted from midnight of March 5.
const APRIL: f64 = 27. * 1_440.;

/// A database with the server `cam`, which has room, and `bob`, who has an hour a month.
async fn with_bob() -> Database {
    let database = database(9).await;
    database.user("bob", Some(3_600)).await;
    database
}

fn of_bob(start: f64, end: f64) -> Row {
    Row { user: "bob", ..Row::held(start, end) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overrun_is_refused_to_the_microsecond() {
    let database = with_bob().await;
    database.server("mic", 9, 0).await;
    database.refuses("ZR002", &of_bob(0., 60.005).insert()).await;
    database.accepts(&of_bob(0., 40.).insert()).await;
    // Another server at the same time: reserved time counts, not elapsed time.
    let rest = Row { server: "mic", ..of_bob(0., 20.) };
    database.accepts(&rest.insert()).await;
    let refused = database.refuses("ZR002", &of_bob(500., 500.001).insert()).await;
    assert!(refused.message.contains("user bob"), "{refused:?}");
    database.accepts(&Row { state: "cancelled", ..of_bob(500., 900.) }.insert()).await;
    // Another period, and another user.
    database.accepts(&of_bob(APRIL, APRIL + 60.).insert()).await;
    database.accepts(&Row::held(0., 600.).insert()).await;
    database.assert_not_overbooked().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_straddling_reservation_counts_in_each_period_with_its_part() {
    let database = with_bob().await;
    database.accepts(&of_bob(0., 30.).insert()).await;
    // Half an hour in each month fits; more in either does not.
    database.refuses("ZR002", &of_bob(APRIL - 31., APRIL + 1.).insert()).await;
    let refused = database.refuses("ZR002", &of_bob(APRIL - 1., APRIL + 61.).insert()).await;
    assert!(refused.message.contains("from 2091-04-01 00:00:00+00"), "{refused:?}");
    database.accepts(&of_bob(APRIL - 30., APRIL + 30.).insert()).await;
    database.refuses("ZR002", &of_bob(100., 101.).insert()).await;
    database.accepts(&of_bob(APRIL + 100., APRIL + 130.).insert()).await;
    database.refuses("ZR002", &of_bob(APRIL + 200., APRIL + 201.).insert()).await;
    database.assert_not_overbooked().await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_overrun_only_together_are_refused_together() {
    let database = with_bob().await;
    database.refuses("ZR002", &insert(&[of_bob(0., 40.), of_bob(100., 140.)])).await;
    assert_eq!(database.ask::<i64>("select count(*) from reservations").await, 0);
    database.accepts(&insert(&[of_bob(0., 30.), of_bob(100., 130.)])).await;
    let lengthen = "update reservations set end_at = end_at + interval '1 s',
                        busy_until = busy_until + interval '1 s'";
    database.refuses("ZR002", lengthen).await;
    database.finish().await;
}

/// Reserved time counts, the gap after it does not: a reservation that grows into its gap takes quota and no
/// capacity.
#[tokio::test(flavor = "multi_thread")]
async fn growing_into_the_gap_takes_quota() {
    let database = with_bob().await;
    let row = Row { gap: 10., ..of_bob(0., 55.) };
    database.accepts(&row.insert()).await;
    let end_at = |end| format!("update reservations set end_at = '{}'", minute(end));
    database.refuses("ZR002", &end_at(60.5)).await;
    database.accepts(&end_at(60.)).await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_limit_affects_new_requests_only() {
    let database = with_bob().await;
    let row = of_bob(0., 60.);
    database.accepts(&row.insert()).await;
    database.accepts("update users set quota_seconds = 0 where id = 'bob'").await;
    database.refuses("ZR002", &of_bob(100., 101.).insert()).await;
    let reconfirm = "update reservations set state = 'reconfirmed', reconfirmed_at = now()";
    database.accepts(reconfirm).await;
    let shorten = format!("update reservations set start_at = '{}'", minute(10.));
    database.accepts(&shorten).await;
    // Without a limit of his own, the policy's default counts.
    database.accepts("update users set quota_seconds = null where id = 'bob'").await;
    database.accepts("update policy set quota_default_seconds = 3600").await;
    database.accepts(&of_bob(100., 110.).insert()).await;
    database.refuses("ZR002", &of_bob(200., 201.).insert()).await;
    database.finish().await;
}

/// Zones whose clocks change at or across midnight, where a period's bounds can go wrong.
const ZONES: [&str; 8] = [
    "UTC",
    "Europe/Berlin",
    "Atlantic/Azores",
    "America/Havana",
    "America/Santiago",
    "Africa/Cairo",
    "Asia/Kathmandu",
    "Pacific/Apia",
];

/// Every instant lies in exactly one period; otherwise time would count nowhere or twice. Checked around
/// every change of clocks of a year, and around the day that Apia skipped.
#[tokio::test(flavor = "multi_thread")]
async fn periods_cover_what_they_are_asked_for() {
    let database = database(1).await;
    let holes = "
        with asked as (
            select at as from_at, at + length as to_at
            from (select generate_series('2011-12-28T00:00Z'::timestamptz, '2012-01-02Z', '30 min')
                  union all
                  select generate_series('2030-03-01T00:00Z'::timestamptz, '2030-04-30Z', '30 min')
                  union all
                  select generate_series('2030-08-31T00:00Z'::timestamptz, '2030-11-09Z', '30 min')
                 ) instants (at),
                 (values (interval '1 s'), (interval '30 min'), (interval '25 h')) lengths (length)
        ), periods as (
            select from_at, to_at, p.* from asked, lateral quota_periods(from_at, to_at) p
        ), covered as (
            select from_at, to_at,
                   sum(least(period_end, to_at) - greatest(period_start, from_at)) as seconds
            from periods group by from_at, to_at
        )
        select coalesce(string_agg(from_at || ' to ' || to_at, ', '), '')
        from (select from_at, to_at from asked left join covered using (from_at, to_at)
              where seconds is distinct from to_at - from_at
              union all
              select from_at, to_at from periods
              where period_end <= from_at or period_start >= to_at) wrong";
    for period in ["day", "week", "month"] {
        for zone in ZONES {
            let policy =
                format!("update policy set quota_period = '{period}', quota_zone = '{zone}'");
            run(&database.client, &policy).await.expect("a policy");
            let wrong: String = database.ask(holes).await;
            assert_eq!(wrong, "", "{period} in {zone}");
        }
    }
    database.refuses("22023", "update policy set quota_zone = 'Middle/Earth'").await;
    database.finish().await;
}

/// A session with older zone rules has stored that April begins an hour later. Everybody goes by that, until
/// an operator has all counted anew.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_with_different_zone_rules_count_one_instant_in_one_period() {
    let database = with_bob().await;
    let older = "insert into quota_bounds
        select generation, '2091-04-01', '2091-04-01T01:00Z' from policy";
    database.accepts(older).await;
    database.accepts(&of_bob(APRIL - 30., APRIL + 30.).insert()).await;
    database.refuses("ZR002", &of_bob(APRIL + 30., APRIL + 31.).insert()).await;
    database.accepts(&of_bob(APRIL + 60., APRIL + 120.).insert()).await;
    let loaded = include_str!("../../../src/store/sql/load_quota.sql");
    let at = |m| minute(m).parse::<DateTime<Utc>>().expect("an instant");
    let (from, to) = (at(APRIL + 30.), at(APRIL + 31.));
    let row = database
        .client
        .query_one(loaded, &[&vec!["bob-t"], &vec![from], &vec![to]])
        .await
        .expect("one period");
    assert_eq!(row.get::<_, i64>("used_seconds"), 3_600, "decisions read what the guard counts");
    database.assert_not_overbooked().await;

    let environment = [("DATABASE_URL", database.url.as_str())];
    let check = holdfast(&environment, &["user", "recount", "--check"]).await;
    assert_eq!(check.code, 3, "{check:?}");
    assert!(check.stderr.contains("2091-04-01 01:00:00+00"), "{check:?}");
    assert_eq!(holdfast(&environment, &["migrate", "--check"]).await.code, 3);
    let recount = holdfast(&environment, &["user", "recount"]).await;
    assert_eq!(recount.code, 0, "{recount:?}");
    assert_eq!(holdfast(&environment, &["user", "recount", "--check"]).await.code, 0);
    let moved = "select reserved_us / 60000000 from user_periods
        where user_id = 'bob' and period_start = '2091-04-01T00:00Z'";
    assert_eq!(database.ask::<i64>(moved).await, 90, "the half hour, and the hour");
    let cancel = "update reservations set state = 'cancelled', cancel_reason = 'withdrawn', settled_at = now()";
    database.accepts(cancel).await;
    assert_eq!(database.ask::<i64>("select sum(reserved_us)::bigint from user_periods").await, 0);
    database.finish().await;
}

/// Periods without stored bounds, as far ahead as anything can be requested.
const UNSTORED: &str = "select count(*) from quota_periods(now(), now() + interval '761 days') p
    where not exists (select from quota_bounds where starts_at = p.period_start)
       or not exists (select from quota_bounds where starts_at = p.period_end)";

/// Bounds are stored further ahead than anything can be requested, and by the policy in force.
#[tokio::test(flavor = "multi_thread")]
async fn bounds_are_stored_ahead_of_every_request() {
    let database = with_bob().await;
    for (period, zone) in [("month", "UTC"), ("day", "Europe/Berlin"), ("week", "Asia/Kathmandu")] {
        let policy = format!("update policy set quota_period = '{period}', quota_zone = '{zone}'");
        database.accepts(&policy).await;
        assert_eq!(database.ask::<i64>(UNSTORED).await, 0, "{period} in {zone}");
        let others = "select count(*) from quota_bounds cross join policy
            where starts_at <> local_start at time zone quota_zone";
        assert_eq!(database.ask::<i64>(others).await, 0, "{period} in {zone}");
    }
    database.finish().await;
}

/// As time goes on, retention's rounds store the bounds that come within reach.
#[tokio::test(flavor = "multi_thread")]
async fn retention_stores_bounds_further_ahead() {
    let database = with_bob().await;
    let months_ago = "delete from quota_bounds where starts_at > now() + interval '700 days'";
    database.accepts(months_ago).await;
    database.accepts("update timekeeping set bounds_until = now() + interval '700 days'").await;
    assert_ne!(database.ask::<i64>(UNSTORED).await, 0);
    let pool = pool::open(pool::settings(&database.url.parse().expect("a URL")), 1);
    retention::advance(&pool, Duration::from_secs(60)).await.expect("a round");
    assert_eq!(database.ask::<i64>(UNSTORED).await, 0);
    database.finish().await;
}

/// Beyond what is stored ahead, whoever writes there first stores the bounds, and all others go by them.
#[tokio::test(flavor = "multi_thread")]
async fn far_from_now_the_guard_stores_bounds() {
    let database = with_bob().await;
    let stored = async |year: i32| {
        let months = format!(
            "select count(*) from quota_bounds where extract(year from local_start) = {year}"
        );
        database.ask::<i64>(&months).await
    };
    assert_eq!((stored(2091).await, stored(2092).await), (0, 0));
    database.accepts(&of_bob(APRIL - 30., APRIL + 30.).insert()).await;
    assert_ne!(stored(2091).await, 0, "by an insert");
    assert_eq!(stored(2092).await, 0);
    let later = "update reservations set start_at = start_at + interval '1 y', end_at = end_at + interval '1 y',
        busy_until = busy_until + interval '1 y', deadline_at = deadline_at + interval '1 y'";
    database.accepts(later).await;
    assert_ne!(stored(2092).await, 0, "by an update");
    database.finish().await;
}
