//! Checks of dead letters.

use std::collections::HashSet;

use super::{Check, Seen};

/// Exactly the messages that had to become dead letters did.
pub fn planned(seen: &Seen<'_>) -> Check {
    let mut check = Check::new("dead letters are exactly what nobody could be answered to");
    // An empty queue counts as checked.
    check.checked = 1;
    let planned = seen.ground.poison.lock().expect("no panics");
    let dead: HashSet<&str> = seen.dead.iter().map(|letter| letter.id.as_str()).collect();
    // The broker dead-letters a wake-up for a partition that does not exist; the sweep replaces it.
    let wiped = !seen.ground.wiped.lock().expect("no panics").is_empty();
    for letter in seen.dead {
        let expected = planned.contains_key(&letter.id) || (wiped && letter.lost_wake_up);
        check.that(expected, || format!("message {} is a dead letter", letter.id));
    }
    for (id, _) in planned.iter().filter(|(_, confirmed)| **confirmed) {
        check.that(dead.contains(id.as_str()), || format!("message {id} is no dead letter"));
    }
    check
}
