//! Plans the life of one reservation.

use std::time::Duration;

use crate::pick::Pick;

/// A life, planned before it begins. Times are relative to events that are known only later.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Index of the server, modulo their number.
    pub server: usize,
    /// Requests a time whose deadline has passed, on a server that confirms late bookings at once.
    pub late: bool,
    /// Time from the request to the deadline.
    pub ahead: Duration,
    pub length_seconds: i64,
    pub request_copies: Copies,
    /// Sends another command under the request's message id.
    pub reuses_id: bool,
    pub query: Option<Query>,
    pub trespass: Option<Trespass>,
    pub course: Course,
    /// When the course is taken, as a fraction of the time left to the deadline.
    pub when: f64,
    pub course_copies: Copies,
    /// Whether the user's other terminal takes the course.
    pub by_sibling: bool,
    pub operator: Option<Operator>,
    pub afterwards: Option<Afterwards>,
}

/// Delays after which the same bytes are sent again.
pub type Copies = Vec<Duration>;

/// What the terminal does with its hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    Reconfirm,
    /// Twice, under two message ids.
    ReconfirmTwice,
    /// Around the deadline: the order in the queue decides whether it is in time.
    ReconfirmLast,
    Withdraw,
    ReconfirmThenWithdraw,
    Nothing,
}

/// A query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    Show,
    List,
    Availability,
}

/// A command about another user's reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trespass {
    Show,
    Reconfirm,
    Withdraw,
}

/// When an operator cancels the reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    BeforeTheDeadline,
    OnceSettled,
}

/// What is sent after the reservation's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// The request again, byte for byte.
    RequestAgain,
    Withdraw,
    Reconfirm,
    Show,
}

impl Plan {
    /// Plans the life with this number. In a brief run all deadlines are near.
    pub fn new(seed: u64, number: usize, brief: bool) -> Self {
        let mut pick = Pick::new(seed, number as u64);
        Self {
            server: pick.index(usize::MAX),
            late: pick.chance(4),
            ahead: ahead(&mut pick, brief),
            length_seconds: pick.weighted(&[(60, 1), (25, 2), (10, 4), (5, 9)]),
            request_copies: copies(&mut pick),
            reuses_id: pick.chance(6),
            query: query(&mut pick),
            trespass: trespass(&mut pick),
            course: course(&mut pick),
            when: pick.fraction() * 0.9,
            course_copies: copies(&mut pick),
            by_sibling: pick.chance(8),
            operator: pick.weighted(&[
                (94, None),
                (3, Some(Operator::BeforeTheDeadline)),
                (3, Some(Operator::OnceSettled)),
            ]),
            afterwards: afterwards(&mut pick),
        }
    }
}

/// Mostly short, to keep the run short; some outlive several workers.
fn ahead(pick: &mut Pick, brief: bool) -> Duration {
    match pick.index(if brief { 10 } else { 20 }) {
        0..10 => pick.millis(5_000, 12_000),
        10..17 => pick.millis(12_000, 25_000),
        _ => pick.millis(25_000, 60_000),
    }
}

fn copies(pick: &mut Pick) -> Copies {
    let count = pick.weighted(&[(70, 0), (20, 1), (10, 2)]);
    let delay = |pick: &mut Pick| match pick.chance(50) {
        true => Duration::ZERO,
        false => pick.millis(100, 8_000),
    };
    (0..count).map(|_| delay(pick)).collect()
}

fn query(pick: &mut Pick) -> Option<Query> {
    pick.weighted(&[
        (70, None),
        (15, Some(Query::Show)),
        (8, Some(Query::List)),
        (7, Some(Query::Availability)),
    ])
}

fn trespass(pick: &mut Pick) -> Option<Trespass> {
    pick.weighted(&[
        (92, None),
        (2, Some(Trespass::Show)),
        (3, Some(Trespass::Reconfirm)),
        (3, Some(Trespass::Withdraw)),
    ])
}

fn course(pick: &mut Pick) -> Course {
    pick.weighted(&[
        (46, Course::Reconfirm),
        (6, Course::ReconfirmTwice),
        (6, Course::ReconfirmLast),
        (12, Course::Withdraw),
        (8, Course::ReconfirmThenWithdraw),
        (22, Course::Nothing),
    ])
}

fn afterwards(pick: &mut Pick) -> Option<Afterwards> {
    pick.weighted(&[
        (80, None),
        (8, Some(Afterwards::RequestAgain)),
        (4, Some(Afterwards::Withdraw)),
        (4, Some(Afterwards::Reconfirm)),
        (4, Some(Afterwards::Show)),
    ])
}
