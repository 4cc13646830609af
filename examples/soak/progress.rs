//! A line every few seconds.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::tally::Tally;

const INTERVAL: Duration = Duration::from_secs(5);

/// Tells how it is going, until it is dropped.
pub async fn tell(tally: &Tally, lifecycles: usize, began: Instant) {
    loop {
        sleep(INTERVAL).await;
        tell_once(tally, lifecycles, began);
    }
}

pub fn tell_once(tally: &Tally, lifecycles: usize, began: Instant) {
    let seconds = began.elapsed().as_secs();
    println!(
        "{:02}:{:02}  {} of {lifecycles} begun, {} over; {} sent, {} answers, {} notices; \
         {} billed; workers: {} killed, {} stopped",
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
    );
}
