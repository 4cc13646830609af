//! Dead letters.

use std::collections::HashSet;

use super::{Check, Seen};

/// What was meant to become one did, and nothing else.
pub fn planned(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("dead letters are exactly what nobody could be answered to");
    // Looking into the queue is something, even if it is empty.
    check.checked = 1;
    let planned = seen.ground.poison.lock().expect("no panics");
    let dead: HashSet<&str> = seen.dead.iter().map(String::as_str).collect();
    for id in &dead {
        check.that(planned.contains_key(*id), || format!("message {id} is a dead letter"));
    }
    for (id, _) in planned.iter().filter(|(_, confirmed)| **confirmed) {
        check.that(dead.contains(id.as_str()), || format!("message {id} is no dead letter"));
    }
    check
}
