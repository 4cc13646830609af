//! Prints progress every few seconds.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::tally::Tally;

const INTERVAL: Duration = Duration::from_secs(5);

/// Prints progress until it is dropped.
pub async fn tell(tally: &Tally, began: Instant, current: impl Fn() -> String) {
    loop {
        sleep(INTERVAL).await;
        tell_once(tally, began, &current());
    }
}

pub fn tell_once(tally: &Tally, began: Instant, current: &str) {
    let seconds = began.elapsed().as_secs();
    println!(
        "{:02}:{:02}  {} lives begun, {} over; {} sent, {} answers, {} notices; \
         {} billed; workers: {} killed, {} stopped{}{current}",
        seconds / 60,
        seconds % 60,
        tally.started.get(),
        tally.ended.get(),
        tally.sent.get(),
        tally.answers.get(),
        tally.notices.get(),
        tally.billed.get(),
        tally.kills.get(),
        tally.stops.get(),
        if current.is_empty() { "" } else { "; now: " },
    );
}
