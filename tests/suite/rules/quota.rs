//! R5: time per user and calendar period, in the zone of the policy.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::domain::id::ServerId;
use holdfast::message::answer::Notice;

use super::{far_from_the_end_of_a_period, in_quota, over_quota, span, sums};
use crate::support::stack::Stack;
use crate::support::terminal::window;

/// An installation with a quota, and a server that takes long reservations by the dozen.
async fn with_quota(period: &str, zone: &str, seconds: i64) -> (Stack, ServerId) {
    let stack = Stack::new().await;
    let policy = "update policy set quota_period = $1, quota_zone = $2, quota_default_seconds = $3";
    stack.execute(policy, &[&period, &zone, &seconds]).await;
    let columns = [("capacity", &100 as _), ("max_seconds", &2_678_400 as _)];
    let server = stack.server("cam", &columns).await;
    (stack, server)
}

/// The next day of `hours` hours in a zone, some days from now.
async fn day_of(stack: &Stack, zone: &str, hours: i32) -> DateTime<Utc> {
    let query = "select day at time zone $1
        from generate_series(current_date + interval '3 days', current_date + interval '400 days',
            interval '1 day') as day
        where (day + interval '1 day') at time zone $1 - day at time zone $1
            = make_interval(hours => $2) limit 1";
    stack.ask(query, &[&zone, &hours]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_has_as_many_hours_as_its_zone_gives_it() {
    let zone = "Europe/Berlin";
    for hours in [23, 24, 25] {
        let length = i64::from(hours) * 3_600;
        let (mut stack, server) = with_quota("day", zone, length).await;
        let day = day_of(&stack, zone, hours).await;
        let mut terminal = stack.terminal("ann").await;
        let _worker = stack.worker();
        let receipts = in_quota(&mut terminal, &server, span(day, 0, length)).await;
        assert_eq!(sums(&receipts), [[length, 0, length]]);
        let bounds = (receipts[0].period_start, receipts[0].period_end);
        assert_eq!(bounds, span(day, 0, length), "{hours} hours from {day}");
        for second in [0, length - 1] {
            let refused = over_quota(&mut terminal, &server, span(day, second, second + 1)).await;
            assert_eq!(refused, [[length, length, 1]]);
        }
        in_quota(&mut terminal, &server, span(day, -1, 0)).await;
        in_quota(&mut terminal, &server, span(day, length, length + 1)).await;
        stack.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_straddles_two_periods_counts_in_each_with_its_part() {
    let zone = "Europe/Berlin";
    let (mut stack, server) = with_quota("day", zone, 3_600).await;
    let day = day_of(&stack, zone, 25).await;
    let next = 25 * 3_600;
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    let receipts = in_quota(&mut terminal, &server, span(day, next - 3_000, next + 2_000)).await;
    assert_eq!(sums(&receipts), [[3_600, 0, 3_000], [3_600, 0, 2_000]]);
    assert_eq!(receipts[0].period_end, receipts[1].period_start);
    assert_eq!((receipts[0].period_start, receipts[1].period_end), span(day, 0, next + 86_400));

    // One period is enough to refuse, and both are told.
    let wanted = span(day, next - 600, next + 1_601);
    let refused = over_quota(&mut terminal, &server, wanted).await;
    assert_eq!(refused, [[3_600, 3_000, 600], [3_600, 2_000, 1_601]]);
    let wanted = span(day, next - 601, next + 1_600);
    let refused = over_quota(&mut terminal, &server, wanted).await;
    assert_eq!(refused, [[3_600, 3_000, 601], [3_600, 2_000, 1_600]]);
    in_quota(&mut terminal, &server, span(day, next - 600, next + 1_600)).await;
    // Three periods: the middle one whole.
    let wanted = span(day, -1, next + 1);
    let refused = over_quota(&mut terminal, &server, wanted).await;
    assert_eq!(refused, [[3_600, 0, 1], [3_600, 3_600, next], [3_600, 3_600, 1]]);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn weeks_begin_on_monday_and_months_on_the_first() {
    for period in ["week", "month"] {
        let (mut stack, server) = with_quota(period, "Europe/Berlin", 3_600).await;
        let mut terminal = stack.terminal("ann").await;
        let _worker = stack.worker();
        // The clocks change in the week and in the month of this day.
        let changed = day_of(&stack, "Europe/Berlin", 25).await;
        let local: chrono::NaiveDate =
            stack.ask("select ($1 at time zone 'Europe/Berlin')::date", &[&changed]).await;
        use chrono::{Datelike, Weekday};
        let first = match period {
            "week" => local.week(Weekday::Mon).first_day(),
            _ => local.with_day(1).expect("every month has one"),
        };
        // Berlin is two hours ahead before the change, one after.
        let midnight = first.and_hms_opt(0, 0, 0).expect("midnight").and_utc();
        let start = midnight - TimeDelta::hours(2);
        let days = if period == "week" { 7 } else { 31 };
        let length = days * 86_400 + 3_600;
        let receipts = in_quota(&mut terminal, &server, span(start, -1_000, 3_600)).await;
        assert_eq!(sums(&receipts), [[3_600, 0, 1_000], [3_600, 0, 3_600]]);
        let bounds = (receipts[1].period_start, receipts[1].period_end);
        assert_eq!(bounds, span(start, 0, length), "{period}");
        let refused = over_quota(&mut terminal, &server, span(start, length - 1, length + 1)).await;
        assert_eq!(refused, [[3_600, 3_600, 1], [3_600, 0, 1]]);
        stack.finish().await;
    }
}

/// Where clocks go back from one o'clock to midnight, midnight comes twice.
#[tokio::test(flavor = "multi_thread")]
async fn no_instant_falls_between_two_periods() {
    let zone = "Atlantic/Azores";
    let (mut stack, server) = with_quota("day", zone, 3_600).await;
    let change: DateTime<Utc> = day_of(&stack, "Europe/Berlin", 25).await + TimeDelta::hours(3);
    let mut terminal = stack.terminal("ann").await;
    let _worker = stack.worker();
    // The hour before the clocks go back is past the first midnight and before the second.
    let receipts = in_quota(&mut terminal, &server, span(change, -3_600, 0)).await;
    let counted: i64 = receipts.iter().map(|receipt| receipt.requested_seconds).sum();
    assert_eq!(counted, 3_600, "{receipts:?}");
    let refused = over_quota(&mut terminal, &server, span(change, -1_800, -1_799)).await;
    assert_eq!(refused, [[3_600, 3_600, 1]]);
    let receipts = in_quota(&mut terminal, &server, span(change, 0, 3_600)).await;
    assert_eq!(sums(&receipts), [[3_600, 0, 3_600]]);
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn withdrawn_and_cancelled_time_is_given_back() {
    let (mut stack, server) = with_quota("month", "UTC", 86_400).await;
    far_from_the_end_of_a_period(&stack).await;
    stack.user("ann", Some(600), None).await;
    let (mut terminal, mut second) = (stack.terminal("ann").await, stack.terminal("ann").await);
    let mut other = stack.terminal("bob").await;
    let _worker = stack.worker();
    let soon = window(66, 200);
    let held = terminal.accepted(&server, soon).await.id;
    let withdrawn = terminal.accepted(&server, window(120, 400)).await.id;
    let kept = second.request(&server, window(180, 401)).await;
    assert_eq!(super::Refused::of(kept).code, "quota_exceeded", "holds count, for all terminals");
    other.accepted(&server, window(180, 401)).await;

    terminal.withdraw(&server, withdrawn).await;
    second.accepted(&server, window(180, 400)).await;
    over_quota(&mut second, &server, window(240, 1)).await;
    let notice = terminal.notice_about(held).await;
    assert!(matches!(notice, Notice::Cancelled { .. }), "{notice:?}");
    over_quota(&mut second, &server, window(240, 201)).await;
    in_quota(&mut second, &server, window(240, 200)).await;
    stack.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_limit_affects_new_requests_only() {
    let (mut stack, server) = with_quota("day", "UTC", 3_600).await;
    stack.user("ann", Some(7_200), None).await;
    let (mut terminal, mut other) = (stack.terminal("ann").await, stack.terminal("bob").await);
    let _worker = stack.worker();
    let day = day_of(&stack, "UTC", 24).await;
    let own = terminal.accepted(&server, span(day, 0, 7_200)).await.id;
    assert_eq!(
        over_quota(&mut other, &server, span(day, 0, 7_200)).await,
        [[3_600, 0, 7_200]],
        "the policy's limit is for those who have none of their own"
    );
    stack.execute("update users set quota_seconds = 60 where id = 'ann'", &[]).await;
    let refused = over_quota(&mut terminal, &server, span(day, 7_200, 7_201)).await;
    assert_eq!(refused, [[60, 7_200, 1]]);
    in_quota(&mut terminal, &server, span(day, 86_400, 86_460)).await;
    // What is booked goes its way: reconfirmed, shown, withdrawn.
    terminal.reconfirm(&server, own).await;
    assert_eq!(stack.state(own).await, "reconfirmed");
    terminal.withdraw(&server, own).await;
    assert_eq!(stack.state(own).await, "cancelled");
    stack.finish().await;
}
