//! Whether a client may come in.

use chrono::TimeDelta;
use uuid::Uuid;

use super::code::Denial;
use super::cut::must_go;
use super::live::{Live, Role, Session, TAKE_OVER_INTERVAL};
use super::plan::{Entry, KeyHash, Plan};
use crate::domain::interval::Timestamp;

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// To send a stream.
    Publish {
        /// Of what it presents as its key.
        key: KeyHash,
        /// The name it sends under, where the server keeps that; `None`: it is renamed.
        under: Option<Uuid>,
        /// The server's id for the connection, if it tells one.
        client: Option<String>,
    },
    /// To change what is said about a stream, with its key. Nobody is connected by that.
    Describe {
        /// Of what it presents as its key.
        key: KeyHash,
        /// The stream.
        stream: Uuid,
    },
    /// To receive a stream.
    View {
        /// The reservation that the name stands for.
        stream: Option<Uuid>,
        /// The server's id for the connection, if it tells one.
        client: Option<String>,
    },
}

/// What a gate answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It may come in.
    Admit(Admission),
    /// It may not.
    Deny {
        /// Why.
        code: Denial,
        /// When to try again, if that can help.
        retry_after: Option<TimeDelta>,
    },
    /// The gate has no plan, or one too old: neither yes nor no.
    Unknown,
}

/// An admitted client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Whose stream.
    pub reservation: Uuid,
    /// The key's hash, for a publisher.
    pub key: Option<KeyHash>,
    /// Who must be gone before, and why.
    pub first: Vec<(Session, Denial)>,
    /// Whether it takes over from a connection with the same key.
    pub takes_over: bool,
}

/// Decides at `now`, by the database's clock.
pub fn admit(
    now: Timestamp,
    plan: Option<&Plan>,
    stale_max: TimeDelta,
    live: &Live,
    ask: &Ask,
) -> Decision {
    let Some(plan) = plan.filter(|plan| !plan.stale(now, stale_max)) else {
        return Decision::Unknown;
    };
    let outcome = match ask {
        Ask::Publish { key, under, client } => {
            publish(now, plan, live, key, *under, client.as_deref())
        }
        Ask::Describe { key, stream } => describe(now, plan, key, *stream),
        Ask::View { stream, client } => view(now, plan, live, *stream, client.as_deref()),
    };
    match outcome {
        Ok(admission) => Decision::Admit(admission),
        Err((code, retry_after)) => Decision::Deny { code, retry_after },
    }
}

type Outcome = Result<Admission, (Denial, Option<TimeDelta>)>;

fn publish(
    now: Timestamp,
    plan: &Plan,
    live: &Live,
    key: &KeyHash,
    under: Option<Uuid>,
    client: Option<&str>,
) -> Outcome {
    let entry = plan
        .with_key(key)
        .filter(|entry| under.is_none_or(|id| id == entry.reservation))
        .ok_or((Denial::UnknownKey, None))?;
    check_window(now, entry)?;
    if now < entry.window.start && !early_place(now, plan, live, entry) {
        let start =
            if now < entry.early_start() { entry.early_start() } else { entry.window.start };
        return Err((Denial::TooEarly, Some(start - now)));
    }
    let others: Vec<&Session> = live
        .publishers(entry.reservation)
        .filter(|session| client.is_none_or(|client| client != session.client.id))
        .collect();
    let free_at = live.taken_over(entry.reservation).map(|at| at + TAKE_OVER_INTERVAL);
    match free_at {
        Some(free_at) if !others.is_empty() && now < free_at => {
            return Err((Denial::Busy, Some(free_at - now)));
        }
        _ => {}
    }
    let takes_over = !others.is_empty();
    let mut first: Vec<_> =
        others.into_iter().map(|session| (session.clone(), Denial::Busy)).collect();
    first.extend(in_the_way(now, plan, live, entry));
    Ok(Admission { reservation: entry.reservation, key: Some(*key), first, takes_over })
}

fn describe(now: Timestamp, plan: &Plan, key: &KeyHash, stream: Uuid) -> Outcome {
    let entry = plan.with_key(key).filter(|entry| entry.reservation == stream);
    let entry = entry.ok_or((Denial::UnknownKey, None))?;
    check_window(now, entry)?;
    Ok(Admission { reservation: stream, key: Some(*key), first: Vec::new(), takes_over: false })
}

fn view(
    now: Timestamp,
    plan: &Plan,
    live: &Live,
    stream: Option<Uuid>,
    client: Option<&str>,
) -> Outcome {
    let entry = stream.and_then(|id| plan.get(id)).ok_or((Denial::UnknownStream, None))?;
    check_window(now, entry)?;
    if now < entry.window.start {
        return Err((Denial::TooEarly, Some(entry.window.start - now)));
    }
    let others = live
        .of(Role::Viewer, entry.reservation)
        .filter(|session| client.is_none_or(|client| client != session.client.id));
    if entry.viewers_max.is_some_and(|max| others.count() >= max) {
        return Err((Denial::Full, None));
    }
    let (reservation, first) = (entry.reservation, Vec::new());
    Ok(Admission { reservation, key: None, first, takes_over: false })
}

fn check_window(now: Timestamp, entry: &Entry) -> Result<(), (Denial, Option<TimeDelta>)> {
    match entry {
        Entry { cancelled: true, .. } => Err((Denial::Cancelled, None)),
        Entry { window, .. } if now >= window.end => Err((Denial::Over, None)),
        _ => Ok(()),
    }
}

/// Whether a place is free before the entry's start. Where all reservations have the same gap, one always is:
/// the guard bounds how many windows with gaps overlap, and an early start moves a window into its gap.
fn early_place(now: Timestamp, plan: &Plan, live: &Live, entry: &Entry) -> bool {
    let taken =
        plan.entries().filter(|other| other.reservation != entry.reservation).filter(|other| {
            other.open(now)
                || (!other.cancelled
                    && now < other.window.end
                    && live.publishers(other.reservation).next().is_some())
        });
    now >= entry.early_start() && taken.count() < entry.capacity
}

/// Publishers of others that must go anyway, if the server has no place otherwise.
fn in_the_way(now: Timestamp, plan: &Plan, live: &Live, entry: &Entry) -> Vec<(Session, Denial)> {
    let own = entry.reservation.to_string();
    let others = live
        .sessions()
        .iter()
        .filter(|session| session.client.role == Role::Publisher && session.client.stream != own);
    if others.clone().count() < entry.capacity {
        return Vec::new();
    }
    others
        .filter_map(|session| Some((session.clone(), must_go(now, plan, live, session)?)))
        .collect()
}
