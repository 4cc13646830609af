//! What the tasks of a gate share.

use std::sync::{Mutex, MutexGuard};

use chrono::TimeDelta;
use tokio::sync::Notify;

use super::checks::{Check, Checks};
use super::clock::Clock;
use super::control::Control;
use super::metrics::Metrics;
use super::settings::Settings;
use super::usage::Usage;
use crate::domain::admission::code::Denial;
use crate::domain::admission::live::{Client, Live, Session};
use crate::domain::admission::plan::Plan;
use crate::domain::interval::Timestamp;

/// A gate.
pub struct Gate {
    /// What it was started with.
    pub settings: Settings,
    /// The database's time.
    pub clock: Clock,
    /// The streaming server.
    pub control: Control,
    /// Something has changed: look again who must go.
    pub changed: Notify,
    /// What works.
    pub checks: Checks,
    /// What is counted.
    pub metrics: Metrics,
    known: Mutex<Known>,
    /// Held by who disconnects somebody to admit another: one at a time, or each would disconnect the other.
    pub replacing: tokio::sync::Mutex<()>,
}

/// What a gate knows; nothing waits while holding it.
#[derive(Default)]
pub struct Known {
    /// What is reserved.
    pub plan: Option<Plan>,
    /// Who is connected.
    pub live: Live,
    /// What is not recorded yet.
    pub usage: Usage,
    /// Whether the database has no such server.
    pub server_unknown: bool,
}

impl Gate {
    /// Knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self {
            control: Control::new(settings.adapter, &settings.control),
            clock: Clock::default(),
            changed: Notify::new(),
            checks: Checks::default(),
            metrics: Metrics::new(),
            known: Mutex::default(),
            replacing: tokio::sync::Mutex::default(),
            settings,
        }
    }

    /// What it knows.
    pub fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics with it")
    }

    /// How old a plan may be.
    pub fn stale_max(&self) -> TimeDelta {
        TimeDelta::from_std(self.settings.stale_max).unwrap_or(TimeDelta::MAX)
    }

    /// Whether there is a plan to admit from, for `/ready`.
    pub fn look_at_plan(&self) {
        let (now, known) = (self.clock.now(), self.known());
        let wrong = match (&known.plan, now) {
            _ if known.server_unknown => format!(
                "server {}: unknown to the database. List servers with `holdfast server list`",
                self.settings.server
            ),
            (Some(plan), Some(now)) if plan.stale(now, self.stale_max()) => {
                format!("the plan is of {}; nobody is admitted", plan.as_of().to_rfc3339())
            }
            (Some(_), Some(_)) => {
                self.checks.good(Check::Plan);
                return;
            }
            _ => "there is no plan; nobody is admitted, and nobody is disconnected".to_owned(),
        };
        self.checks.wrong(Check::Plan, wrong);
    }
}

impl Known {
    /// The clients on the server's list.
    pub fn listed(&mut self, now: Timestamp, list: &[Client]) {
        let plan = self.plan.as_ref();
        for session in self.live.listed(now, plan, list) {
            self.usage.left(&session);
        }
        for session in self.live.sessions() {
            self.usage.seen(now, plan, session);
        }
        self.usage.watched(now);
    }

    /// A session was disconnected, and is gone.
    pub fn replaced(&mut self, now: Timestamp, session: &Session, why: Denial) {
        self.live.told(session.serial, why);
        if let Some(session) = self.live.remove(session.serial) {
            self.usage.seen(now, self.plan.as_ref(), &session);
            self.usage.left(&session);
        }
    }
}
