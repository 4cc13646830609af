//! Tells the service manager (systemd, `Type=notify`) what `/live` and `/ready` say.
//!
//! It runs on the worker's own runtime: one that stalls says nothing, and is restarted by the watchdog. Without a
//! service manager (`NOTIFY_SOCKET`, which the library reads) it does nothing.

use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState::{Ready, Status, Stopping, Watchdog};
use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::report::{self, Pause};
use crate::worker::context::Context;

/// Time between two looks: what is ready is said within a second.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Signs of life in the time after which the watchdog acts. Two can be late.
const SIGNS_MIN: u32 = 3;

/// Says when the worker is ready, what keeps it from being so, and that it lives, until it stops.
pub async fn tell(context: Arc<Context>, stop: CancellationToken) {
    let pause =
        watchdog_enabled().map_or(LOOK_INTERVAL, |limit| LOOK_INTERVAL.min(limit / SIGNS_MIN));
    let (mut was_ready, mut said) = (false, String::new());
    while !stop.is_cancelled() {
        let ready = report::ready(&context);
        let status = status(&ready);
        let mut news: Vec<NotifyState<'_>> = Vec::new();
        if report::live(&context).live {
            news.push(Watchdog);
        }
        if !was_ready && ready.ready {
            was_ready = true;
            news.push(Ready);
        }
        if status != said {
            news.push(Status(&status));
        }
        say(&news);
        said = status;
        tokio::select! {
            () = stop.cancelled() => {}
            () = sleep(pause) => {}
        }
    }
    say(&[Stopping, Status("finishing what it has in hand")]);
}

/// What cannot be said now is said again, or the watchdog acts.
fn say(news: &[NotifyState<'_>]) {
    if news.is_empty() {
        return;
    }
    if let Err(error) = notify(news) {
        warn!(%error, "the service manager cannot be told");
    }
}

/// One line of `/ready`.
fn status(ready: &report::Ready) -> String {
    let wrong = ready.checks.iter().find_map(|seen| Some((seen.check, seen.wrong.first()?)));
    match wrong {
        // A line of its own is another message.
        Some((check, finding)) => {
            format!("not ready: {check}: {}", finding.what.replace('\n', " "))
        }
        None => match ready.paused.first() {
            Some(Pause { partition: None, why, .. }) => {
                format!("ready; deciding is paused ({why})")
            }
            Some(Pause { partition: Some(partition), why, .. }) => {
                format!("ready; deciding is paused in partition {partition} ({why})")
            }
            None => "ready".to_owned(),
        },
    }
}
