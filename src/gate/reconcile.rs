//! Disconnects whom the plan does not allow: at the end of a window at once, otherwise within a second.
//!
//! Admission denies by the same plan and clock, so whoever is disconnected and comes again stays out. What is told
//! to go is told again until the server's list does not have it.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::checks::Check;
use super::control::ControlError;
use super::metrics::role_word;
use super::state::Gate;
use crate::domain::admission::code::Denial;
use crate::domain::admission::cut::to_cut;
use crate::domain::admission::live::Session;

/// Time between two looks at the server's list.
const LIST_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two looks while somebody has to go.
const RETRY_INTERVAL: Duration = Duration::from_millis(200);

/// Bound on asking for the list.
const LIST_TIMEOUT: Duration = Duration::from_secs(4);

/// Requests to the streaming server at a time.
const KICKS_MAX: usize = 16;

/// Runs until `stop`.
pub async fn run(gate: Arc<Gate>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        // From memory first: the end of a window does not wait for the list.
        cut(&gate).await;
        let listed = list(&gate).await;
        let pending = listed && cut(&gate).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = gate.changed.notified() => {}
            () = sleep(pause(&gate, pending)) => {}
        }
    }
}

/// Asks for the list; returns whether it came.
async fn list(gate: &Gate) -> bool {
    let listed = timeout(LIST_TIMEOUT, gate.control.list()).await;
    let listed = listed.unwrap_or_else(|_| Err(ControlError::Away("timed out".to_owned())));
    match listed {
        Ok(clients) => {
            if let Some(now) = gate.clock.now() {
                gate.known().listed(now, &clients);
            }
            if gate.checks.good(Check::StreamingServer) {
                info!(clients = clients.len(), "the streaming server lists its clients");
            }
            true
        }
        Err(error) => {
            if gate.checks.wrong(Check::StreamingServer, &error) {
                warn!(%error, "the streaming server cannot be asked");
            }
            false
        }
    }
}

/// Tells everybody to go who must; returns whether there was somebody.
async fn cut(gate: &Gate) -> bool {
    let cut = {
        let Some(now) = gate.clock.now() else { return false };
        let mut known = gate.known();
        let cut = to_cut(now, known.plan.as_ref(), &known.live);
        for (session, why) in &cut {
            tell(gate, session, *why);
            known.live.told(session.serial, *why);
        }
        cut
    };
    let kicks = cut.iter().map(|(session, _)| gate.control.kick(&session.client));
    let failed = stream::iter(kicks)
        .buffer_unordered(KICKS_MAX)
        .filter_map(async |outcome| outcome.err())
        .collect::<Vec<ControlError>>()
        .await;
    if let Some(error) = failed.first() {
        warn!(%error, clients = failed.len(), "clients could not be disconnected; trying again");
    }
    !cut.is_empty()
}

/// Once for each session.
fn tell(gate: &Gate, session: &Session, why: Denial) {
    if session.told.is_some() {
        return;
    }
    gate.metrics.told_to_go(why.into());
    let reservation = session.client.reservation().map(|id| id.to_string());
    info!(
        role = role_word(session.client.role),
        client = session.client.id,
        reservation = reservation.as_deref().unwrap_or("none"),
        reason = %why,
        "disconnecting"
    );
}

/// Until the next end of a window, at most [`LIST_INTERVAL`].
fn pause(gate: &Gate, pending: bool) -> Duration {
    let most = if pending { RETRY_INTERVAL } else { LIST_INTERVAL };
    let next = || {
        let now = gate.clock.now()?;
        let end = gate.known().plan.as_ref()?.next_end(now)?;
        (end - now).to_std().ok()
    };
    next().map_or(most, |until| most.min(until))
}
