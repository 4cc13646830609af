//! A terminal: sends whatever the lives that it plays at the moment want sent, and keeps what it
//! hears.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast::broker::connection::Endpoint;
use holdfast::broker::publisher::Fate;
use holdfast::client::{Replies, TerminalClient};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::pick::Pick;
use crate::record::{Intent, Record};
use crate::servers::Clock;
use crate::tally::Tally;

/// Commands published together at most.
const BATCH_MAX: usize = 64;

/// How long the reader waits before it asks for more; any time does.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A command to send, and whom to tell once the broker has confirmed it.
type Job = (Intent, oneshot::Sender<()>);

pub struct Terminal {
    pub id: String,
    pub user: String,
    record: Arc<Mutex<Record>>,
    heard: Arc<Notify>,
    jobs: mpsc::Sender<Job>,
    reader: JoinHandle<()>,
}

/// What sender and reader share with the terminal.
#[derive(Clone)]
struct Desk {
    id: String,
    record: Arc<Mutex<Record>>,
    heard: Arc<Notify>,
    clock: Clock,
    tally: Arc<Tally>,
}

impl Terminal {
    pub async fn connect(
        endpoint: &Endpoint,
        user: String,
        clock: Clock,
        tally: Arc<Tally>,
        pick: Pick,
    ) -> Result<Self> {
        let client = TerminalClient::connect(endpoint).await?;
        let replies = client.replies().await?;
        let (record, heard) = (Arc::default(), Arc::default());
        let id = client.account().to_owned();
        let (jobs, waiting) = mpsc::channel(BATCH_MAX);
        let desk = Desk { id, record, heard, clock, tally };
        let reader = tokio::spawn(desk.clone().read(replies));
        let terminal = Self {
            id: desk.id.clone(),
            user,
            record: desk.record.clone(),
            heard: desk.heard.clone(),
            jobs,
            reader,
        };
        tokio::spawn(desk.send(client, waiting, pick));
        Ok(terminal)
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no panics")
    }

    /// Hears nothing more: its queue is about to be removed.
    pub fn close(&self) {
        self.reader.abort();
    }

    /// Sends a command; when this returns, the publisher confirm is held.
    pub async fn send(&self, intent: &Intent) -> Result<()> {
        let (done, confirmed) = oneshot::channel();
        let sent = self.jobs.send((intent.clone(), done)).await;
        sent.ok().context("the sender has ended")?;
        confirmed.await.context("not confirmed")
    }

    /// Waits until `find` finds something in what was heard; `None` when the time is up.
    pub async fn found<T>(
        &self,
        patience: Duration,
        mut find: impl FnMut(&Record) -> Option<T>,
    ) -> Option<T> {
        let looking = async {
            loop {
                // Listening begins before the look, so that nothing slips in between.
                let mut heard = std::pin::pin!(self.heard.notified());
                heard.as_mut().enable();
                if let Some(found) = find(&self.record()) {
                    return found;
                }
                heard.await;
            }
        };
        timeout(patience, looking).await.ok()
    }
}

impl Desk {
    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no panics")
    }

    /// Publishes what is wanted, as much as there is at once and in any order.
    async fn send(
        self,
        mut client: TerminalClient,
        mut waiting: mpsc::Receiver<Job>,
        mut pick: Pick,
    ) {
        let mut jobs: Vec<Job> = Vec::new();
        while waiting.recv_many(&mut jobs, BATCH_MAX).await > 0 {
            pick.shuffle(&mut jobs);
            let now = self.clock.now();
            for (intent, _) in &jobs {
                self.record().sending(intent, now);
            }
            let commands: Vec<_> = jobs.iter().map(|(intent, _)| intent.command.clone()).collect();
            let fates = match client.send_all(&commands).await {
                Ok(fates) => fates,
                Err(error) => {
                    return self.tally.failed(format!("{} cannot send: {error}", self.id));
                }
            };
            let now = self.clock.now();
            for ((intent, done), fate) in jobs.drain(..).zip(fates) {
                self.confirmed(&intent, fate, now);
                done.send(()).ok();
            }
        }
    }

    fn confirmed(&self, intent: &Intent, fate: Fate, now: holdfast::domain::interval::Instant) {
        self.tally.sent.add();
        match fate {
            Fate::Routed => self.record().confirmed(&intent.command, now),
            other => {
                let id = &intent.command.message_id;
                self.tally.failed(format!("{}: command {id} was not taken: {other:?}", self.id));
            }
        }
    }

    async fn read(self, mut replies: Replies) {
        loop {
            match replies.next(READ_TIMEOUT).await {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    let answers = reply.correlation_id.is_some();
                    if answers { &self.tally.answers } else { &self.tally.notices }.add();
                    self.record().take(reply, self.clock.now());
                    self.heard.notify_waiters();
                }
                Err(error) => return self.tally.failed(format!("{} is deaf: {error}", self.id)),
            }
        }
    }
}
