//! Who must be disconnected.

use super::code::Denial;
use super::live::{Live, Role, Session};
use super::plan::{Entry, Plan};
use crate::domain::interval::Timestamp;

/// The sessions that the plan does not allow at `now`, and why. Without a plan nobody is disconnected; an old
/// one still ends what it knows to end.
pub fn to_cut(now: Timestamp, plan: Option<&Plan>, live: &Live) -> Vec<(Session, Denial)> {
    let Some(plan) = plan else { return Vec::new() };
    let gone = |session: &Session| Some((session.clone(), must_go(now, plan, live, session)?));
    live.sessions().iter().filter_map(gone).collect()
}

/// Why a session must end; `None`: it may stay.
pub(super) fn must_go(
    now: Timestamp,
    plan: &Plan,
    live: &Live,
    session: &Session,
) -> Option<Denial> {
    let Some(entry) = session.client.reservation().and_then(|id| plan.get(id)) else {
        return unknown(plan, session);
    };
    if entry.cancelled {
        return Some(Denial::Cancelled);
    }
    if now >= entry.window.end {
        return Some(Denial::Over);
    }
    match session.client.role {
        Role::Publisher if session.key.is_some_and(|key| key != entry.key) => Some(Denial::Rotated),
        Role::Publisher => (!has_place(now, plan, live, entry)).then_some(Denial::TooEarly),
        Role::Viewer if now < entry.window.start => Some(Denial::TooEarly),
        Role::Viewer => (!fits(live, entry, session)).then_some(Denial::Full),
    }
}

/// A name without a reservation. Another gate may have admitted it with a newer plan, so this one must have
/// asked the database since.
fn unknown(plan: &Plan, session: &Session) -> Option<Denial> {
    let code = match session.client.role {
        Role::Publisher => Denial::UnknownKey,
        Role::Viewer => Denial::UnknownStream,
    };
    (plan.as_of() > session.since).then_some(code)
}

/// In its window, or early while those that come before it leave a place.
fn has_place(now: Timestamp, plan: &Plan, live: &Live, entry: &Entry) -> bool {
    if now >= entry.window.start {
        return true;
    }
    let order = |entry: &Entry| (entry.window.start, entry.reservation);
    let before = plan.entries().filter(|other| order(other) < order(entry)).filter(|other| {
        other.open(now)
            || (!other.cancelled
                && now < other.window.end
                && live.publishers(other.reservation).next().is_some())
    });
    now >= entry.early_start() && before.count() < entry.capacity
}

/// Whether a viewer is among those that came first.
fn fits(live: &Live, entry: &Entry, session: &Session) -> bool {
    let Some(max) = entry.viewers_max else { return true };
    let earlier = live
        .of(Role::Viewer, entry.reservation)
        .filter(|other| (other.since, other.serial) < (session.since, session.serial));
    earlier.count() < max
}
