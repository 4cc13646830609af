//! Answers to commands and notices to terminals.

use std::fmt;
use std::time::Duration;

use chrono::SecondsFormat;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::event::{charge_id, credit_id};
use super::{deterministic_id, words};
use crate::domain::access::Key;
use crate::domain::interval::{Interval, Timestamp};
use crate::domain::limit::{Limit, Relation, Unit};
use crate::domain::offer::FreeSpan;
use crate::domain::outcome::{Decision, Refusal, Reminder};
use crate::domain::query::{Found, Listed};
use crate::domain::quota::Receipt;
use crate::domain::refusal::{Code, Retry};
use crate::domain::reservation::{CancelReason, Reservation, State};
use crate::domain::server::Server;
use crate::domain::url_template;

/// Wait before a terminal repeats an undecided message whose refusal has no wait of its own: about as long
/// as a move of a server between partitions takes.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// An answer to a command; the field `type` is also the AMQP property `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Answer {
    /// To `request`: the time is held (or, for a late booking, confirmed and billed at once).
    #[serde(rename = "reservation.accepted")]
    Accepted {
        /// The new reservation.
        reservation: ReservationView,
        /// One receipt per quota period that it touches.
        quota: Vec<QuotaReceipt>,
        /// When it was decided, by the database's clock.
        decided_at: Timestamp,
        /// When a reminder is sent if it is then still only held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Timestamp")]
        remind_at: Option<Timestamp>,
        /// Set exactly if there is no `remind_at`, and why no reminder will come: the server sends none
        /// (`off`), its time had passed at the decision (`passed`), or the reservation is a late booking
        /// (`confirmed`).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String", extend("enum" = Reminder::REASONS))]
        no_reminder: Option<String>,
        /// The id of its charge, set exactly for a late booking. Where access keys are in use, a notice
        /// of its confirmation brings the key; otherwise there is none, as this answer has all of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Uuid")]
        charge: Option<Uuid>,
    },
    /// To `reconfirm`: the reservation will be confirmed and billed at its deadline.
    #[serde(rename = "reservation.reconfirmed")]
    Reconfirmed {
        /// The reservation.
        reservation: ReservationView,
        /// When it was decided, by the database's clock.
        decided_at: Timestamp,
    },
    /// To `withdraw`: cancelled, free of charge.
    #[serde(rename = "reservation.withdrawn")]
    Withdrawn {
        /// The reservation.
        reservation: ReservationView,
        /// When it was decided, by the database's clock.
        decided_at: Timestamp,
    },
    /// To `show`: the reservation as it is, with all that notices about it had.
    #[serde(rename = "reservation.shown")]
    Shown {
        /// The reservation.
        reservation: ReservationView,
        /// The id of its charge, if it was ever confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Uuid")]
        charge: Option<Uuid>,
        /// If an operator cancelled it: why, in the operator's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        note: Option<String>,
        /// The id of the credit, if it was cancelled after it had been charged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Uuid")]
        credit: Option<Uuid>,
        /// When its reminder is sent if it is then still only held.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Timestamp")]
        remind_at: Option<Timestamp>,
        /// When its reminder was sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Timestamp")]
        reminded_at: Option<Timestamp>,
        /// Milliseconds from `decided_at` to its start, if it is confirmed; negative once it has begun.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "i64")]
        starts_in_ms: Option<i64>,
        /// The same to its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "i64")]
        ends_in_ms: Option<i64>,
        /// When it was read, by the clock of the database that was asked.
        decided_at: Timestamp,
        /// What was committed before this instant is in the answer. Earlier than `decided_at` where
        /// queries are answered from a standby.
        as_of: Timestamp,
    },
    /// To `list`: a page of the user's reservations, newest first.
    #[serde(rename = "reservation.listed")]
    Listed {
        /// The page.
        reservations: Vec<ReservationView>,
        /// Send it as `after` to get the next page; missing on the last one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Uuid")]
        next: Option<Uuid>,
        /// When it was read, by the clock of the database that was asked.
        decided_at: Timestamp,
        /// What was committed before this instant is in the answer. Earlier than `decided_at` where
        /// queries are answered from a standby.
        as_of: Timestamp,
    },
    /// To `availability`: what a server offers over time, and what its time costs. A request is
    /// accepted by its server exactly if `places` is at least 1 all through it, its start lies from
    /// `start_from` to `start_until`, start and end are multiples of `slot_seconds`, and its length is
    /// from `min_seconds` to `max_seconds`. The user's limits count beside that, and what is free can be
    /// taken by others before a request for it arrives.
    #[serde(rename = "server.availability")]
    Availability {
        /// The server.
        server: ServerView,
        /// First instant that is told.
        start_at: Timestamp,
        /// First instant that is not told. Before the end that was asked for, if there was too much
        /// to tell: ask again from here.
        end_at: Timestamp,
        /// Free places, without gaps and in order of time.
        free: Vec<FreePlaces>,
        /// Earliest start that a request can have at `decided_at`. Missing, with `start_until`, if none
        /// can be accepted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Timestamp")]
        start_from: Option<Timestamp>,
        /// Latest start that a request can have at `decided_at`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Timestamp")]
        start_until: Option<Timestamp>,
        /// When it was read, by the clock of the database that was asked.
        decided_at: Timestamp,
        /// What was committed before this instant is in the answer. Earlier than `decided_at` where
        /// queries are answered from a standby.
        as_of: Timestamp,
    },
    /// To any command: nothing changed.
    #[serde(rename = "reservation.refused")]
    Refused {
        /// Stable code.
        #[schemars(extend("enum" = words(Code::ALL)))]
        code: String,
        /// What can be done: `never`, `same_id` or `new_id`.
        #[schemars(extend("enum" = words(Retry::ALL)))]
        retry: String,
        /// With `same_id`: how long to wait. With `rate_limited` there is room then, if nothing else is
        /// sent meanwhile; a random part keeps terminals apart.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "u64")]
        retry_after_ms: Option<u64>,
        /// The field, header or property at fault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        field: Option<String>,
        /// For people: what it means and what to do.
        message: String,
        /// With `quota_exceeded`: one receipt per period touched.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        quota: Vec<QuotaReceipt>,
        /// The limit that is not kept, with codes that have one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "LimitView")]
        limit: Option<LimitView>,
        /// With `closure`: the maintenance window.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Span")]
        closure: Option<Span>,
        /// With `already_cancelled`: why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String", extend("enum" = words(CancelReason::ALL)))]
        reason: Option<String>,
        /// When it was decided, by the database's clock; missing when it was refused before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Timestamp")]
        decided_at: Option<Timestamp>,
    },
}

/// A limit that a message does not keep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LimitView {
    /// What is limited, such as `max_seconds`.
    pub name: String,
    /// How the value must stand to the limit: `at_least`, `at_most`, `more_than`, or `multiple_of`.
    #[schemars(extend("enum" = words(Relation::ALL)))]
    pub relation: String,
    /// The limit.
    pub value: i64,
    /// What is counted: `seconds`, `reservations`, `bytes` or `characters`.
    #[schemars(extend("enum" = words(Unit::ALL)))]
    pub unit: String,
    /// What was asked for, where that is one number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "i64")]
    pub given: Option<i64>,
}

/// A half-open span of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Span {
    /// First instant.
    pub start_at: Timestamp,
    /// First instant after it.
    pub end_at: Timestamp,
}

/// A server as terminals see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerView {
    /// Its id.
    pub id: String,
    /// Whether it takes new reservations.
    pub open: bool,
    /// Simultaneous reservations.
    pub capacity: u64,
    /// Price of an hour; prorated by the second, rounded half up once.
    pub price_per_hour: Price,
    /// Start and end are multiples of this since the Unix epoch.
    pub slot_seconds: i64,
    /// Shortest reservation.
    pub min_seconds: i64,
    /// Longest reservation.
    pub max_seconds: i64,
    /// Turn-around: a reservation also takes a place for so long behind its end, maintenance or not.
    /// `places` has it taken off already.
    pub gap_seconds: i64,
    /// How long before the start the deadline lies.
    pub lead_seconds: i64,
    /// How far ahead a reservation may start.
    pub horizon_seconds: i64,
}

/// The number of free places over a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FreePlaces {
    /// First instant.
    pub start_at: Timestamp,
    /// First instant after it.
    pub end_at: Timestamp,
    /// Reservations that fit all through it, with the turn-around behind each. 0 during maintenance,
    /// where the server is closed, and where no reservation can be that starts in time.
    pub places: u64,
}

/// A notice to the terminal that made the reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type")]
pub enum Notice {
    /// Settled: confirmed and billed. The reservation carries the server's connection data. Sent once more,
    /// under another message id, with each new access key: the one before is no longer valid.
    #[serde(rename = "reservation.confirmed")]
    Confirmed {
        /// The reservation.
        reservation: ReservationView,
        /// The id of its charge.
        charge: Uuid,
        /// Milliseconds from when the notice was sent to the start, by the database's clock; negative once
        /// it has begun. A terminal with a wrong clock goes by it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "i64")]
        starts_in_ms: Option<i64>,
        /// The same to its end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "i64")]
        ends_in_ms: Option<i64>,
    },
    /// Still only held, and the deadline is near: without a reconfirmation it will be cancelled.
    #[serde(rename = "reservation.reminder")]
    Reminder {
        /// The reservation.
        reservation: ReservationView,
    },
    /// Cancelled, by the deadline or by somebody else.
    #[serde(rename = "reservation.cancelled")]
    Cancelled {
        /// The reservation, with `cancel_reason`.
        reservation: ReservationView,
        /// With the reason `operator`: why, in the operator's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "String")]
        note: Option<String>,
        /// The id of the credit, if it had been charged.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Uuid")]
        credit: Option<Uuid>,
    },
}

/// A reservation as terminals see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReservationView {
    /// Its id.
    pub id: Uuid,
    /// The server's id.
    pub server: String,
    /// `held`, `reconfirmed`, `confirmed` or `cancelled`.
    #[schemars(extend("enum" = words(State::ALL)))]
    pub state: String,
    /// First instant of the reserved time.
    pub start_at: Timestamp,
    /// First instant after the reserved time.
    pub end_at: Timestamp,
    /// When it is settled. A reconfirmation must reach the broker before.
    pub deadline_at: Timestamp,
    /// What it costs if it is confirmed.
    pub price: Price,
    /// When it was first reconfirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Timestamp")]
    pub reconfirmed_at: Option<Timestamp>,
    /// When it was confirmed or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Timestamp")]
    pub settled_at: Option<Timestamp>,
    /// `not_reconfirmed`, `withdrawn` or `operator`; set exactly when it is cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", extend("enum" = words(CancelReason::ALL)))]
    pub cancel_reason: Option<String>,
    /// Where it is served; set exactly when it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Connection")]
    pub connection: Option<Connection>,
}

/// A frozen price.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Price {
    /// Integer minor units (cents).
    #[schemars(range(min = 0))]
    pub amount_minor: i64,
    /// ISO 4217 code.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// The tariff version it was quoted from.
    pub tariff_version: i32,
}

/// How to reach the server. Its `Debug` hides the key, and a URL that has it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connection {
    /// The server's connection URL. Where the server wants the access key in it, it has the key exactly if
    /// `key` is there; elsewhere it says `{key}` in its place.
    pub url: String,
    /// Where others watch, if there is such a place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub view_url: Option<String>,
    /// The access key, where keys are in use: only in the notice of the confirmation and in the answer to
    /// `show`. Whoever has it is let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Key")]
    pub key: Option<Key>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = if self.key.is_some() { "(not shown)" } else { self.url.as_str() };
        f.debug_struct("Connection")
            .field("url", &url)
            .field("view_url", &self.view_url)
            .field("key", &self.key)
            .finish()
    }
}

impl Connection {
    fn new(urls: Urls<'_>, reservation: Uuid) -> Self {
        let fill = |template| url_template::fill(template, reservation, None);
        Self { url: fill(urls.connection), view_url: urls.view.map(fill), key: None }
    }

    fn hand_over(&mut self, reservation: Uuid, key: Key) {
        self.url = url_template::fill(&self.url, reservation, Some(key.reveal()));
        self.key = Some(key);
    }
}

/// A server's URLs, with placeholders.
#[derive(Debug, Clone, Copy)]
pub struct Urls<'a> {
    /// Where reservations are served.
    pub connection: &'a str,
    /// Where others watch.
    pub view: Option<&'a str>,
}

/// Use of one quota period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct QuotaReceipt {
    /// First instant of the period.
    pub period_start: Timestamp,
    /// First instant after the period.
    pub period_end: Timestamp,
    /// Seconds that may be reserved in the period.
    pub limit_seconds: i64,
    /// Seconds that were reserved before this request.
    pub used_seconds: i64,
    /// Seconds of this request that fall into the period.
    pub requested_seconds: i64,
}

impl From<&Receipt> for QuotaReceipt {
    fn from(receipt: &Receipt) -> Self {
        Self {
            period_start: receipt.bounds.start,
            period_end: receipt.bounds.end,
            limit_seconds: receipt.limit_seconds,
            used_seconds: receipt.used_seconds,
            requested_seconds: receipt.requested_seconds,
        }
    }
}

impl From<&Limit> for LimitView {
    fn from(limit: &Limit) -> Self {
        Self {
            name: limit.name.to_owned(),
            relation: limit.relation.as_str().to_owned(),
            value: limit.value,
            unit: limit.unit.as_str().to_owned(),
            given: limit.given,
        }
    }
}

impl From<Interval> for Span {
    fn from(interval: Interval) -> Self {
        Self { start_at: interval.start, end_at: interval.end }
    }
}

impl From<&Server> for ServerView {
    fn from(server: &Server) -> Self {
        Self {
            id: server.id.to_string(),
            open: server.open,
            capacity: server.capacity as u64,
            price_per_hour: Price {
                amount_minor: server.tariff.rate_minor,
                currency: server.tariff.currency.clone(),
                tariff_version: server.tariff.version,
            },
            slot_seconds: server.slot_seconds,
            min_seconds: server.min_seconds,
            max_seconds: server.max_seconds,
            gap_seconds: server.gap_seconds,
            lead_seconds: server.lead_seconds,
            horizon_seconds: server.horizon_seconds,
        }
    }
}

impl<'a> From<&'a Server> for Urls<'a> {
    fn from(server: &'a Server) -> Self {
        Self { connection: &server.connection_url, view: server.view_url.as_deref() }
    }
}

impl From<&FreeSpan> for FreePlaces {
    fn from(span: &FreeSpan) -> Self {
        let Interval { start, end } = span.interval;
        Self { start_at: start, end_at: end, places: span.places as u64 }
    }
}

impl ReservationView {
    /// Contains the server's URLs only once the reservation is confirmed, and never a key.
    pub fn new(reservation: &Reservation, urls: Option<Urls<'_>>) -> Self {
        let shown = urls.filter(|_| reservation.state == State::Confirmed);
        Self {
            id: reservation.id,
            server: reservation.server.to_string(),
            state: reservation.state.as_str().to_owned(),
            start_at: reservation.interval.start,
            end_at: reservation.interval.end,
            deadline_at: reservation.deadline_at,
            price: Price {
                amount_minor: reservation.price_minor,
                currency: reservation.currency.clone(),
                tariff_version: reservation.tariff_version,
            },
            reconfirmed_at: reservation.reconfirmed_at,
            settled_at: reservation.settled_at,
            cancel_reason: reservation.cancel_reason.map(|reason| reason.as_str().to_owned()),
            connection: shown.map(|urls| Connection::new(urls, reservation.id)),
        }
    }

    /// Adds the access key. Not to what is stored or listed.
    fn hand_over(&mut self, key: Option<Key>) {
        if let (Some(connection), Some(key)) = (&mut self.connection, key) {
            connection.hand_over(self.id, key);
        }
    }

    /// Milliseconds from `now` until start and end, of what is confirmed.
    fn until(&self, now: Timestamp) -> (Option<i64>, Option<i64>) {
        let left = |at: Timestamp| self.connection.is_some().then(|| (at - now).num_milliseconds());
        (left(self.start_at), left(self.end_at))
    }
}

impl Answer {
    /// `urls` finds a server's URLs.
    pub fn to_decision<'a>(
        decision: &'a Decision,
        decided_at: Timestamp,
        urls: impl Fn(&'a Reservation) -> Option<Urls<'a>>,
    ) -> Self {
        let view =
            |reservation: &'a Reservation| ReservationView::new(reservation, urls(reservation));
        match decision {
            Decision::Accepted { reservation, receipts, reminder } => Answer::Accepted {
                reservation: view(reservation),
                quota: receipts.iter().map(QuotaReceipt::from).collect(),
                decided_at,
                remind_at: match reminder {
                    Reminder::At(at) => Some(*at),
                    _ => None,
                },
                no_reminder: reminder.reason().map(str::to_owned),
                charge: (reservation.state == State::Confirmed).then(|| charge_id(reservation.id)),
            },
            Decision::Reconfirmed(reservation) => {
                Answer::Reconfirmed { reservation: view(reservation), decided_at }
            }
            Decision::Withdrawn(reservation) => {
                Answer::Withdrawn { reservation: view(reservation), decided_at }
            }
            Decision::Refused(refusal) => Answer::refused(refusal, Some(decided_at)),
        }
    }

    /// To what a query found.
    pub fn to_query(found: &Found, decided_at: Timestamp, as_of: Timestamp) -> Self {
        let view = |row: &Listed| {
            let urls = Urls { connection: &row.connection_url, view: row.view_url.as_deref() };
            ReservationView::new(&row.reservation, Some(urls))
        };
        match found {
            Found::Reservation(listed) => Answer::shown(listed, view(listed), decided_at, as_of),
            Found::Page { page, next } => Answer::Listed {
                reservations: page.iter().map(view).collect(),
                next: *next,
                decided_at,
                as_of,
            },
            Found::Availability(availability) => Answer::Availability {
                server: ServerView::from(&availability.server),
                start_at: availability.window.start,
                end_at: availability.window.end,
                free: availability.free.iter().map(FreePlaces::from).collect(),
                start_from: availability.starts.map(|starts| starts.from),
                start_until: availability.starts.map(|starts| starts.until),
                decided_at,
                as_of,
            },
        }
    }

    fn shown(
        listed: &Listed,
        view: ReservationView,
        decided_at: Timestamp,
        as_of: Timestamp,
    ) -> Self {
        let Listed { reservation, note, credited, .. } = listed;
        let charged = *credited || reservation.state == State::Confirmed;
        let (starts_in_ms, ends_in_ms) = view.until(decided_at);
        Answer::Shown {
            starts_in_ms,
            ends_in_ms,
            reservation: view,
            charge: charged.then(|| charge_id(reservation.id)),
            note: note.clone(),
            credit: credited.then(|| credit_id(reservation.id)),
            remind_at: reservation.remind_at.filter(|_| reservation.state == State::Held),
            reminded_at: reservation.reminded_at,
            decided_at,
            as_of,
        }
    }

    /// Adds the access key to the answer to `show`. Other answers are stored, or tell many reservations.
    pub fn hand_over(&mut self, key: Option<Key>) {
        if let Answer::Shown { reservation, .. } = self {
            reservation.hand_over(key);
        }
    }

    /// A refusal; `decided_at` is missing when nothing was decided.
    pub fn refused(refusal: &Refusal, decided_at: Option<Timestamp>) -> Self {
        let code = refusal.code;
        Answer::Refused {
            code: code.as_str().to_owned(),
            retry: code.retry().as_str().to_owned(),
            retry_after_ms: (code.retry() == Retry::SameId).then(|| {
                let wait = refusal.retry_after.unwrap_or(RETRY_AFTER);
                // Rounded up: earlier there is no room.
                u64::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(u64::MAX)
            }),
            field: refusal.field.clone(),
            message: explained(refusal),
            quota: refusal.receipts.iter().map(QuotaReceipt::from).collect(),
            limit: refusal.limit.as_deref().map(LimitView::from),
            closure: refusal.closure.map(Span::from),
            reason: refusal.reason.map(|reason| reason.as_str().to_owned()),
            decided_at,
        }
    }

    /// The reservation, if there is exactly one.
    pub fn reservation(&self) -> Option<&ReservationView> {
        match self {
            Answer::Accepted { reservation, .. }
            | Answer::Reconfirmed { reservation, .. }
            | Answer::Withdrawn { reservation, .. }
            | Answer::Shown { reservation, .. } => Some(reservation),
            _ => None,
        }
    }

    /// The AMQP property `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Answer::Accepted { .. } => "reservation.accepted",
            Answer::Reconfirmed { .. } => "reservation.reconfirmed",
            Answer::Withdrawn { .. } => "reservation.withdrawn",
            Answer::Shown { .. } => "reservation.shown",
            Answer::Listed { .. } => "reservation.listed",
            Answer::Availability { .. } => "server.availability",
            Answer::Refused { .. } => "reservation.refused",
        }
    }

    /// Stored with the answer: a refusal's code, or what was done.
    pub fn outcome(&self) -> &str {
        match self {
            Answer::Refused { code, .. } => code,
            other => other.type_name().trim_start_matches("reservation."),
        }
    }

    /// The body.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("an answer always serializes")
    }
}

/// What a refusal means, what to do, and the numbers that it speaks of.
fn explained(refusal: &Refusal) -> String {
    let mut text = format!("{} {}", refusal.code.meaning(), refusal.code.advice());
    if let Some(limit) = &refusal.limit {
        text.push_str(&format!(" {limit}"));
    }
    if let Some(Interval { start, end }) = refusal.closure {
        let [start, end] = [start, end].map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        text.push_str(&format!(" It lasts from {start} to {end}."));
    }
    text
}

impl Notice {
    /// The AMQP property `type`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Notice::Confirmed { .. } => "reservation.confirmed",
            Notice::Reminder { .. } => "reservation.reminder",
            Notice::Cancelled { .. } => "reservation.cancelled",
        }
    }

    /// Its reservation.
    pub fn reservation(&self) -> &ReservationView {
        match self {
            Notice::Confirmed { reservation, .. }
            | Notice::Reminder { reservation }
            | Notice::Cancelled { reservation, .. } => reservation,
        }
    }

    /// Of a confirmation, as it is stored.
    pub fn confirmed(reservation: ReservationView) -> Self {
        let charge = charge_id(reservation.id);
        Notice::Confirmed { reservation, charge, starts_in_ms: None, ends_in_ms: None }
    }

    /// Adds to the notice of a confirmation, as it is sent at `now`, what is not stored with it.
    pub fn hand_over(&mut self, key: Option<Key>, now: Timestamp) {
        if let Notice::Confirmed { reservation, starts_in_ms, ends_in_ms, .. } = self {
            (*starts_in_ms, *ends_in_ms) = reservation.until(now);
            reservation.hand_over(key);
        }
    }

    /// The message id, equal on every publishing.
    pub fn id(&self) -> Uuid {
        deterministic_id(&format!("notice/{}/{}", self.type_name(), self.reservation().id))
    }

    /// The message id of one that is sent again for a reason of its own.
    pub fn id_after(&self, reason: Uuid) -> Uuid {
        deterministic_id(&format!("notice/{}/{}/{reason}", self.type_name(), self.reservation().id))
    }

    /// The body.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a notice always serializes")
    }
}
