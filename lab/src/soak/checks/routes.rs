//! Checks of how commands reach their server's queue.

use super::{Check, Seen};

/// The broker returns what names no server, and nothing else: servers are bound before they are added,
/// and are never without a binding while they move.
pub fn found(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("exactly the commands of no server were returned");
    // A queue that was deleted took its servers' bindings with it.
    let wiped = !seen.ground.wiped.lock().expect("no panics").is_empty();
    for terminal in seen.terminals {
        let record = terminal.record();
        for (id, sent) in &record.sent {
            let taken = sent.sendings > 0;
            check.that(!(taken && sent.intent.is_returned()), || {
                format!("{} {id}: a queue took it, but it names no server", terminal.id)
            });
        }
        for id in &record.returned {
            let right = record.sent.get(id).is_some_and(|sent| sent.intent.is_returned());
            check.that(right || wiped, || format!("{} {id}: no queue took it", terminal.id));
        }
    }
    check
}

/// No server is on its way any more.
pub fn over(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("every move is over");
    check.checked = seen.facts.servers.len();
    check.wrong = seen.facts.moves.clone();
    check
}

/// `holdfast topology verify` finds every server's binding, and no other.
pub fn verified(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("the broker routes each server as the database says");
    check.checked = seen.facts.servers.len();
    check.wrong.extend(seen.verified.clone().err());
    check
}
