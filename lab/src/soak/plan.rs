//! What is to happen in the life of one reservation.

use std::time::Duration;

use crate::pick::Pick;

/// A life, planned before it begins. Times are relative to facts that only show later.
#[derive(Debug, Clone)]
pub struct Plan {
    /// An index of the server, modulo how many there are.
    pub server: usize,
    /// Asks for a time whose deadline has passed, of a server that confirms such a request at once.
    pub late: bool,
    /// From the request to the deadline.
    pub ahead: Duration,
    pub length_seconds: i64,
    pub request_copies: Copies,
    /// Asks for something under the request's id that is not the request.
    pub reuses_id: bool,
    pub query: Option<Query>,
    pub trespass: Option<Trespass>,
    pub course: Course,
    /// When the course is taken, as a part of the time that is left to the deadline.
    pub when: f64,
    pub course_copies: Copies,
    /// The course is taken by the user's other terminal.
    pub by_sibling: bool,
    pub operator: Option<Operator>,
    pub afterwards: Option<Afterwards>,
}

/// Further sendings of the same bytes, each after so long.
pub type Copies = Vec<Duration>;

/// What the terminal does with what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Course {
    Reconfirm,
    /// Twice, under two ids.
    ReconfirmTwice,
    /// Around the deadline: in time or not, whichever came first in the queue.
    ReconfirmLast,
    Withdraw,
    ReconfirmThenWithdraw,
    Nothing,
}

/// Asks without changing anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    Show,
    List,
    Availability,
}

/// Does something with another user's reservation.
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

/// What is sent when everything is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Afterwards {
    /// The request again, byte for byte.
    RequestAgain,
    Withdraw,
    Reconfirm,
    Show,
}

impl Plan {
    /// The life of that number. In a brief run all deadlines are near.
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

/// Mostly short, or the run would be long; some long enough to outlive several workers.
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
