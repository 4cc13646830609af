//! Which worker exports the figures of the installation: of the live ones with an endpoint, the first by id.
//!
//! Without an election: by the heartbeats alone. A worker that gets no heartbeat through stops before others
//! take it for dead, so that the figures are not there twice.

use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::store::membership::DEAD_AFTER_SECONDS;

#[derive(Default)]
pub struct Leads(Mutex<State>);

#[derive(Default)]
struct State {
    address: Option<SocketAddr>,
    beat_at: Option<Instant>,
    first: bool,
}

impl Leads {
    /// The endpoint answers at this address.
    pub fn listen_at(&self, address: SocketAddr) {
        self.lock().address = Some(address);
    }

    /// Where the endpoint answers, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        self.lock().address
    }

    /// A heartbeat was sent at that time, and answered: whether this worker is the first with an endpoint.
    pub fn beat(&self, at: Instant, first: bool) {
        let mut state = self.lock();
        (state.beat_at, state.first) = (Some(at), first);
    }

    /// When the last heartbeat was sent that was answered.
    pub fn beat_at(&self) -> Option<Instant> {
        self.lock().beat_at
    }

    /// Whether this worker leads now.
    pub fn now(&self) -> bool {
        let state = self.lock();
        let dead_after = Duration::from_secs_f64(DEAD_AFTER_SECONDS);
        state.first && state.beat_at.is_some_and(|at| at.elapsed() < dead_after)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics with it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_no_heartbeat_through_does_not_lead() {
        let leads = Leads::default();
        assert!(!leads.now(), "there was no heartbeat");
        leads.beat(Instant::now(), true);
        assert!(leads.now());
        leads.beat(Instant::now() - Duration::from_secs(6), true);
        assert!(!leads.now(), "others take it for dead");
        leads.beat(Instant::now(), false);
        assert!(!leads.now(), "another is first");
    }
}
