//! Examples of every message, with fixed values.

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::domain::access::{FIRST_EPOCH, Key, Secrets};
use holdfast::domain::interval::Interval;
use holdfast::domain::limit::{Limit, Relation, Unit};
use holdfast::domain::offer::{FreeSpan, Starts};
use holdfast::domain::outcome::{Decision, Refusal, Reminder};
use holdfast::domain::query::{Availability, Found, Listed};
use holdfast::domain::quota::Receipt;
use holdfast::domain::refusal::Code;
use holdfast::domain::reservation::{CancelReason, Reservation, State};
use holdfast::domain::server::{LateBooking, Server};
use holdfast::domain::tariff::Tariff;
use holdfast::domain::usage::Used;
use holdfast::message::answer::{Answer, Notice, ReservationView, Urls};
use holdfast::message::command::{RequestBody, ReservationBody};
use holdfast::message::event::{
    self, CancelledData, CloudEvent, ConfirmedData, CreditedData, NoShowData, UsedData,
};
use holdfast::message::query::{AvailabilityBody, ListBody};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::pretty;

/// The message id of the request.
pub const MESSAGE_ID: &str = "order-4711";

/// An operator's reason.
const NOTE: &str = "power failure in the building";

/// A message as on the wire, except for white space.
pub struct Example {
    pub name: &'static str,
    /// Name of its schema.
    pub schema: &'static str,
    pub text: String,
    /// Fields that the message has and may omit.
    pub optional: &'static [&'static str],
    reread: fn(&str) -> String,
}

impl Example {
    fn new<T: Serialize + DeserializeOwned>(
        name: &'static str,
        schema: &'static str,
        optional: &'static [&'static str],
        message: &T,
    ) -> Self {
        fn reread<T: Serialize + DeserializeOwned>(text: &str) -> String {
            pretty(&serde_json::from_str::<T>(text).expect("it can be read"))
        }
        Self { name, schema, text: pretty(message), optional, reread: reread::<T> }
    }

    /// The text that reading and writing it again results in.
    pub fn read_back(&self) -> String {
        (self.reread)(&self.text)
    }
}

/// An hour of 2031-05-01, UTC.
fn at(hour: i64) -> DateTime<Utc> {
    let day: DateTime<Utc> = "2031-05-01T00:00:00Z".parse().expect("an instant");
    day + TimeDelta::hours(hour)
}

/// The time of decision, with a fraction of a second as real clocks have.
fn decided_at() -> DateTime<Utc> {
    at(8) + TimeDelta::microseconds(1_500_250)
}

/// What a standby has replayed when it answers.
fn as_of() -> DateTime<Utc> {
    decided_at() - TimeDelta::milliseconds(40)
}

/// A reservation in `state`. No two of its fields have the same value.
fn reservation(state: State) -> Reservation {
    let cancelled = state == State::Cancelled;
    Reservation {
        id: Uuid::from_u128(0x0196_8c1e_5d00_7000_8000_0000_0000_0001),
        terminal: "terminal-1".parse().expect("an id"),
        message_id: MESSAGE_ID.to_owned(),
        user: "user-1".parse().expect("an id"),
        server: "camera-1".parse().expect("an id"),
        interval: Interval::new(at(18), at(20)).expect("an interval"),
        busy_until: at(21),
        deadline_at: at(12),
        remind_at: None,
        reminded_at: None,
        state,
        cancel_reason: cancelled.then_some(CancelReason::NotReconfirmed),
        price_minor: 2_400,
        currency: "EUR".to_owned(),
        tariff_version: 3,
        held_at: decided_at(),
        reconfirmed_at: matches!(state, State::Reconfirmed | State::Confirmed).then_some(at(9)),
        settled_at: (!state.is_unsettled()).then_some(at(12)),
        trace: None,
    }
}

/// As an operator sets them for a server that wants the access key in its URL.
const URLS: Urls<'static> = Urls {
    connection: "rtmp://camera-1.example/live/{key}",
    view: Some("https://watch.example/{reservation}"),
};

fn key() -> Key {
    let secrets = Secrets::parse("example:0123456789abcdef0123456789abcdef").expect("a secret");
    secrets.newest().key(reservation(State::Confirmed).id, FIRST_EPOCH)
}

fn receipt(used_seconds: i64) -> Receipt {
    let bounds = Interval::new(at(0), at(31 * 24)).expect("a month");
    Receipt { bounds, limit_seconds: 360_000, used_seconds, requested_seconds: 7_200 }
}

fn answer(decision: Decision) -> Answer {
    Answer::to_decision(&decision, decided_at(), |_| Some(URLS))
}

fn refused(refusal: Refusal) -> Answer {
    answer(Decision::Refused(refusal))
}

pub fn all() -> Vec<Example> {
    let groups = [commands(), queries(), answers(), found(), refusals(), notices(), events()];
    groups.into_iter().flatten().collect()
}

fn commands() -> Vec<Example> {
    let request = RequestBody { start_at: at(18), end_at: at(20) };
    let named = ReservationBody { reservation: reservation(State::Held).id };
    vec![
        Example::new("command.request", "command.request", &[], &request),
        Example::new("command.reconfirm", "command.reconfirm", &[], &named),
        Example::new("command.withdraw", "command.withdraw", &[], &named),
    ]
}

fn queries() -> Vec<Example> {
    let named = ReservationBody { reservation: reservation(State::Held).id };
    let page = ListBody { limit: Some(20), after: Some(named.reservation) };
    let window =
        AvailabilityBody { server: "camera-1".to_owned(), start_at: at(0), end_at: at(24) };
    vec![
        Example::new("query.show", "query.show", &[], &named),
        Example::new("query.list", "query.list", &["limit", "after"], &page),
        Example::new("query.availability", "query.availability", &[], &window),
    ]
}

fn answers() -> Vec<Example> {
    let accepted = Decision::Accepted {
        reservation: reservation(State::Held),
        receipts: vec![receipt(3_600)],
        reminder: Reminder::At(at(11)),
    };
    let late = Reservation {
        deadline_at: at(8),
        reconfirmed_at: None,
        settled_at: Some(decided_at()),
        ..reservation(State::Confirmed)
    };
    let late = Decision::Accepted {
        reservation: late,
        receipts: vec![receipt(3_600)],
        reminder: Reminder::Confirmed,
    };
    let reconfirmed = Decision::Reconfirmed(reservation(State::Reconfirmed));
    let withdrawn = Decision::Withdrawn(Reservation {
        cancel_reason: Some(CancelReason::Withdrawn),
        ..reservation(State::Cancelled)
    });
    let optional = &[
        "reconfirmed_at",
        "settled_at",
        "cancel_reason",
        "connection",
        "charge",
        "remind_at",
        "no_reminder",
        "view_url",
    ];
    [
        ("answer.accepted", accepted),
        ("answer.accepted.late", late),
        ("answer.reconfirmed", reconfirmed),
        ("answer.withdrawn", withdrawn),
    ]
    .into_iter()
    .map(|(name, decision)| Example::new(name, "answer", optional, &answer(decision)))
    .collect()
}

/// Answers to queries.
fn found() -> Vec<Example> {
    let listed = Listed {
        reservation: Reservation { reminded_at: Some(at(8)), ..reservation(State::Confirmed) },
        connection_url: URLS.connection.to_owned(),
        view_url: URLS.view.map(str::to_owned),
        access: None,
        note: None,
        credited: false,
    };
    let by_operator = Listed {
        reservation: Reservation {
            cancel_reason: Some(CancelReason::Operator),
            ..reservation(State::Cancelled)
        },
        note: Some(NOTE.to_owned()),
        credited: true,
        ..listed.clone()
    };
    let held = Listed {
        reservation: Reservation { remind_at: Some(at(11)), ..reservation(State::Held) },
        ..listed.clone()
    };
    let next = Some(listed.reservation.id);
    let optional = &[
        "reconfirmed_at",
        "settled_at",
        "connection",
        "cancel_reason",
        "next",
        "charge",
        "note",
        "credit",
        "remind_at",
        "reminded_at",
        "start_from",
        "start_until",
        "view_url",
        "key",
        "starts_in_ms",
        "ends_in_ms",
    ];
    [
        ("answer.shown", Found::Reservation(listed.clone())),
        ("answer.shown.cancelled", Found::Reservation(by_operator)),
        ("answer.shown.held", Found::Reservation(held)),
        ("answer.listed", Found::Page { page: vec![listed], next }),
        ("answer.availability", Found::Availability(availability())),
    ]
    .into_iter()
    .map(|(name, found)| {
        let mut answer = Answer::to_query(&found, decided_at(), as_of());
        answer.hand_over(Some(key()));
        Example::new(name, "answer", optional, &answer)
    })
    .collect()
}

fn availability() -> Availability {
    let span = |start, end, places| FreeSpan {
        interval: Interval::new(at(start), at(end)).expect("an interval"),
        places,
    };
    Availability {
        server: Server {
            id: "camera-1".parse().expect("an id"),
            capacity: 2,
            open: true,
            tariff: Tariff { rate_minor: 1_200, currency: "EUR".to_owned(), version: 3 },
            slot_seconds: 60,
            min_seconds: 300,
            max_seconds: 86_400,
            gap_seconds: 3_600,
            lead_seconds: 21_600,
            reminder_seconds: 1_800,
            horizon_seconds: 7_776_000,
            late_booking: LateBooking::Reject,
            connection_url: "rtmp://camera-1.example/live".to_owned(),
            view_url: None,
            partition: 0,
            closures: Vec::new(),
        },
        window: Interval::new(at(0), at(24)).expect("a day"),
        // The turn-around of one that ends at 18 would last until 19, when another one has begun.
        free: vec![span(0, 14, 0), span(14, 17, 2), span(17, 21, 1), span(21, 24, 2)],
        starts: Some(Starts { from: at(14), until: at(90 * 24 + 8) }),
    }
}

fn refusals() -> Vec<Example> {
    let plain = refused(Refusal::plain(Code::ServerClosed));
    let too_long = Limit {
        name: "max_seconds",
        relation: Relation::AtMost,
        value: 7_200,
        unit: Unit::Seconds,
        given: Some(9_000),
    };
    let too_long = refused(Refusal::beyond(Code::TooLong, too_long));
    let closure = Interval::new(at(19), at(23));
    let closed = refused(Refusal { closure, ..Refusal::plain(Code::Closure) });
    let of_field = Answer::refused(&Refusal::of_field(Code::UnknownField, "note"), None);
    let later = Answer::refused(&Refusal::plain(Code::RateLimited), None);
    let over_quota =
        Refusal { receipts: vec![receipt(356_400)], ..Refusal::plain(Code::QuotaExceeded) };
    let cancelled = Refusal {
        reason: Some(CancelReason::NotReconfirmed),
        ..Refusal::plain(Code::AlreadyCancelled)
    };
    let optional =
        &["retry_after_ms", "field", "quota", "reason", "decided_at", "limit", "given", "closure"];
    [
        ("answer.refused", plain),
        ("answer.refused.limit", too_long),
        ("answer.refused.closure", closed),
        ("answer.refused.field", of_field),
        ("answer.refused.later", later),
        ("answer.refused.quota", refused(over_quota)),
        ("answer.refused.cancelled", refused(cancelled)),
    ]
    .into_iter()
    .map(|(name, answer)| Example::new(name, "answer", optional, &answer))
    .collect()
}

fn notices() -> Vec<Example> {
    let view = |state| ReservationView::new(&reservation(state), Some(URLS));
    let mut confirmed = Notice::confirmed(view(State::Confirmed));
    confirmed.hand_over(Some(key()), at(12));
    let cancelled =
        Notice::Cancelled { reservation: view(State::Cancelled), note: None, credit: None };
    let by_operator = Reservation {
        cancel_reason: Some(CancelReason::Operator),
        ..reservation(State::Cancelled)
    };
    let credited = Notice::Cancelled {
        reservation: ReservationView::new(&by_operator, None),
        note: Some(NOTE.to_owned()),
        credit: Some(event::credit_id(by_operator.id)),
    };
    let reminder = Notice::Reminder { reservation: view(State::Held) };
    let optional = &[
        "reconfirmed_at",
        "settled_at",
        "cancel_reason",
        "connection",
        "note",
        "credit",
        "view_url",
        "key",
        "starts_in_ms",
        "ends_in_ms",
    ];
    vec![
        Example::new("notice.confirmed", "notice", optional, &confirmed),
        Example::new("notice.cancelled", "notice", optional, &cancelled),
        Example::new("notice.cancelled.operator", "notice", optional, &credited),
        Example::new("notice.reminder", "notice", optional, &reminder),
    ]
}

fn events() -> Vec<Example> {
    let confirmed: CloudEvent<ConfirmedData> =
        event::confirmed(&reservation(State::Confirmed), decided_at());
    let cancelled: CloudEvent<CancelledData> =
        event::cancelled(&reservation(State::Cancelled), decided_at());
    let credited: CloudEvent<CreditedData> =
        event::credited(&reservation(State::Confirmed), NOTE, decided_at());
    let (of_confirmed, of_cancelled) =
        ("event.reservation.confirmed", "event.reservation.cancelled");
    let of_credited = "event.reservation.credited";
    let seen = Used { seconds: 7_140, first_at: at(18), last_at: at(20) };
    let used: CloudEvent<UsedData> =
        event::used(&reservation(State::Confirmed), seen, decided_at());
    let no_show: CloudEvent<NoShowData> =
        event::no_show(&reservation(State::Confirmed), decided_at());
    let (of_used, of_no_show) = ("event.reservation.used", "event.reservation.no_show");
    vec![
        Example::new(of_used, of_used, &[], &used),
        Example::new(of_no_show, of_no_show, &[], &no_show),
        Example::new(of_credited, of_credited, &[], &credited),
        Example::new(of_confirmed, of_confirmed, &[], &confirmed),
        Example::new(of_cancelled, of_cancelled, &[], &cancelled),
    ]
}
