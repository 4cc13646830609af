//! Overbooking (R3).

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::database;
use crate::support::database::{CLEAR, Row, insert, run};

/// Capacity, what is booked, what is inserted on top, and whether it fits. A row is start, end and
/// turn-around gap.
type Case = (&'static str, i32, &'static [(f64, f64, f64)], &'static [(f64, f64, f64)], bool);

const CASES: [Case; 15] = [
    ("the same time", 1, &[(0., 60., 0.)], &[(0., 60., 0.)], false),
    ("inside", 1, &[(0., 60., 0.)], &[(20., 30., 0.)], false),
    ("around", 1, &[(20., 30., 0.)], &[(0., 60., 0.)], false),
    ("over the start", 1, &[(20., 60., 0.)], &[(0., 21., 0.)], false),
    ("over the end", 1, &[(0., 21., 0.)], &[(20., 60., 0.)], false),
    ("a millisecond too much", 1, &[(0., 20., 0.)], &[(19.99998, 60., 0.)], false),
    ("touching on both sides", 1, &[(0., 20., 0.), (40., 60., 0.)], &[(20., 40., 0.)], true),
    ("in another's gap", 1, &[(0., 20., 10.)], &[(29., 40., 0.)], false),
    ("right behind another's gap", 1, &[(0., 20., 10.)], &[(30., 40., 0.)], true),
    ("its own gap reaches too far", 1, &[(30., 40., 0.)], &[(0., 25., 10.)], false),
    ("its own gap fits", 1, &[(30., 40., 0.)], &[(0., 20., 10.)], true),
    (
        "three overlap, never two at once",
        2,
        &[(0., 20., 0.), (20., 40., 0.), (40., 60., 0.)],
        &[(0., 60., 0.)],
        true,
    ),
    ("deep enough at one instant", 2, &[(0., 30., 0.), (29., 60., 0.)], &[(10., 50., 0.)], false),
    ("too many only together", 2, &[(0., 60., 0.)], &[(0., 20., 0.), (10., 30., 0.)], false),
    ("together, and yet not at once", 2, &[(0., 60., 0.)], &[(0., 20., 0.), (20., 30., 0.)], true),
];

fn rows(spans: &[(f64, f64, f64)]) -> Vec<Row> {
    spans.iter().map(|(start, end, gap)| Row { gap: *gap, ..Row::held(*start, *end) }).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_is_refused_and_what_fits_is_not() {
    let database = database(1).await;
    for (what, capacity, booked, wanted, fits) in CASES {
        database.accepts(CLEAR).await;
        database.accepts(&format!("update servers set capacity = {capacity}")).await;
        database.accepts(&insert(&rows(booked))).await;
        let wanted = insert(&rows(wanted));
        if fits {
            run(&database.client, &wanted).await.unwrap_or_else(|why| panic!("{what}: {why:?}"));
        } else {
            let refused = database.refuses("ZR001", &wanted).await;
            assert!(refused.message.contains("overbooks server cam"), "{what}: {refused:?}");
            let kept: i64 = database.ask("select count(*) from reservations").await;
            assert_eq!(kept, i64::try_from(booked.len()).expect("few"), "{what}");
        }
        database.assert_not_overbooked().await;
    }
    database.finish().await;
}

/// Against a model that looks at each minute.
#[tokio::test(flavor = "multi_thread")]
async fn the_guard_judges_as_a_naive_model_does() {
    let database = database(3).await;
    let mut random = StdRng::seed_from_u64(3);
    let mut minutes = [0u8; 300];
    let mut accepted = 0;
    for _ in 0..300 {
        let (start, length, gap) =
            (random.random_range(0..200u32), random.random_range(1..60), random.random_range(0..5));
        let [from, to, gap_minutes] = [start, start + length, gap].map(f64::from);
        let row = Row { gap: gap_minutes, ..Row::held(from, to) };
        let busy = &mut minutes[start as usize..(start + length + gap) as usize];
        let fits = busy.iter().all(|depth| *depth < 3);
        assert_eq!(run(&database.client, &row.insert()).await.is_ok(), fits, "{row:?}");
        if fits {
            busy.iter_mut().for_each(|depth| *depth += 1);
            accepted += 1;
        }
    }
    assert!((20..280).contains(&accepted), "{accepted} accepted");
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scan_for_overlaps_reaches_as_far_as_the_longest_reservation() {
    let database = database(1).await;
    let reach =
        async || database.ask::<i32>("select busy_max_seconds from servers where id = 'mic'").await;
    database.server("mic", 1, 600).await;
    let on_mic = |start, end| Row { server: "mic", gap: 10., ..Row::held(start, end) };
    assert_eq!(reach().await, 0, "there is nothing to find");
    database.accepts(&on_mic(2_000., 2_010.5).insert()).await;
    assert_eq!(reach().await, 1_230, "turn-around included");
    // Longer than the server allows, which the guard does not check: still found.
    database.accepts(&on_mic(0., 1_500.).insert()).await;
    assert_eq!(reach().await, 90_600);
    database.refuses("ZR001", &on_mic(1_509., 1_520.).insert()).await;
    database.accepts(&on_mic(1_510., 1_520.).insert()).await;
    // Nothing lowers busy_max_seconds.
    database.accepts("update servers set busy_max_seconds = 0").await;
    assert_eq!(reach().await, 90_600);
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capacity_is_not_lowered_below_what_is_booked() {
    let database = database(3).await;
    let [late, early, middle] =
        [(50., 100.), (0., 60.), (20., 90.)].map(|(start, end)| Row::held(start, end));
    let alone = Row::held(200., 300.);
    let cancelled = Row { state: "cancelled", ..Row::held(0., 100.) };
    let all = [&late, &early, &middle, &alone, &cancelled].map(Row::clone);
    database.accepts(&insert(&all)).await;

    let refused = database.refuses("ZR001", "update servers set capacity = 2").await;
    assert!(refused.message.contains("capacity 2 of server cam"), "{refused:?}");
    let in_the_way = [early.id, middle.id, late.id].map(|id| id.to_string()).join(", ");
    assert_eq!(refused.detail.as_deref(), Some(in_the_way.as_str()));
    for isolation in ["repeatable read", "serializable"] {
        let lower = format!("begin isolation level {isolation}; update servers set capacity = 2");
        database.refuses("ZR001", &lower).await;
    }
    // The same through an upsert.
    let upsert =
        "insert into servers (id, capacity, rate_minor, currency, connection_url, partition)
                  values ('cam', 2, 0, 'EUR', 'x', 0) on conflict (id) do update set capacity = 2";
    database.refuses("ZR001", upsert).await;

    // With the earliest gone, no instant needs three.
    let cancel = "update reservations set state = 'cancelled', cancel_reason = 'operator',
                      settled_at = clock_timestamp()";
    database.accepts(&format!("{cancel} where id = '{}'", early.id)).await;
    database.accepts("update servers set capacity = 2").await;
    database.refuses("ZR001", "update servers set capacity = 1").await;
    database.accepts("update servers set capacity = 5").await;
    database.accepts("update servers set capacity = 2, open = false").await;
    database.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_read_committed_can_book() {
    let database = database(1).await;
    for isolation in ["repeatable read", "serializable"] {
        let begin = format!("begin isolation level {isolation}");
        let row = Row::held(0., 60.);
        let refused = database.refuses("ZR001", &format!("{begin}; {}", row.insert())).await;
        assert!(refused.message.contains("READ COMMITTED"), "{refused:?}");

        database.accepts(&row.insert()).await;
        let longer = "update reservations set end_at = end_at + interval '1 s',
                          busy_until = busy_until + interval '1 s'";
        database.refuses("ZR001", &format!("{begin}; {longer}")).await;
        // Changes that take no more than before are allowed.
        let settle = "update reservations set state = 'cancelled', cancel_reason = 'operator',
                          settled_at = clock_timestamp(); commit";
        database.accepts(&format!("{begin}; {settle}")).await;
    }
    database.finish().await;
}
