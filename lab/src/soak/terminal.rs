//! A terminal: sends the commands of the lives that it currently plays, and records all replies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast::broker::connection::Endpoint;
use holdfast::broker::publisher::Fate;
use holdfast::client::{Replies, Reply, TerminalClient};
use holdfast::domain::interval::Timestamp;
use serde_json::json;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use crate::history::{History, text};
use crate::pick::Pick;
use crate::record::{Intent, Record, Sent};
use crate::servers::Clock;
use crate::tally::Tally;

/// Most commands published together.
const BATCH_MAX: usize = 64;

/// How long one read waits for replies. Any time serves.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause before the next try to connect.
const PAUSE: Duration = Duration::from_millis(500);

/// A command to send, and whom to notify once it is confirmed or its outcome is unknown.
type Job = (Intent, oneshot::Sender<()>);

/// Shared by all terminals.
#[derive(Clone)]
pub struct Setting {
    pub tally: Arc<Tally>,
    pub history: Arc<History>,
    /// Whether it reconnects when the broker is away, instead of reporting a failure.
    pub patient: bool,
}

pub struct Terminal {
    pub id: String,
    pub user: String,
    /// Whether its reply queue was deleted once, with its messages.
    robbed: AtomicBool,
    /// When each flood began, and until when commands may have been rate limited because of it.
    floods: Mutex<Vec<(Timestamp, Option<Timestamp>)>>,
    record: Arc<Mutex<Record>>,
    heard: Arc<Notify>,
    jobs: mpsc::Sender<Job>,
    tasks: [JoinHandle<()>; 2],
}

/// Shared by the terminal, its sender and its reader.
#[derive(Clone)]
struct Desk {
    endpoint: Endpoint,
    id: String,
    record: Arc<Mutex<Record>>,
    heard: Arc<Notify>,
    clock: Clock,
    setting: Setting,
}

impl Terminal {
    pub async fn connect(
        endpoint: Endpoint,
        user: String,
        clock: Clock,
        setting: Setting,
        pick: Pick,
    ) -> Result<Self> {
        let client = TerminalClient::connect(&endpoint).await?;
        let replies = client.replies().await?;
        let (record, heard) = (Arc::default(), Arc::default());
        let id = client.account().to_owned();
        let (jobs, waiting) = mpsc::channel(BATCH_MAX);
        let desk = Desk { endpoint, id, record, heard, clock, setting };
        Ok(Self {
            id: desk.id.clone(),
            user,
            robbed: AtomicBool::new(false),
            floods: Mutex::default(),
            record: desk.record.clone(),
            heard: desk.heard.clone(),
            jobs,
            tasks: [
                tokio::spawn(desk.clone().read(replies)),
                tokio::spawn(desk.send(client, waiting, pick)),
            ],
        })
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("no panics")
    }

    /// Ends sending and receiving: its queue is about to be deleted.
    pub fn close(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }

    pub fn rob(&self) {
        self.robbed.store(true, Ordering::Relaxed);
    }

    pub fn was_robbed(&self) -> bool {
        self.robbed.load(Ordering::Relaxed)
    }

    /// From now on, any of its commands may be rate limited.
    pub fn begin_flood(&self, now: Timestamp) {
        self.floods.lock().expect("no panics").push((now, None));
    }

    /// Notes that the limit is lifted, and by when every worker knows.
    pub fn end_flood(&self, known: Timestamp) {
        if let Some((_, until)) = self.floods.lock().expect("no panics").last_mut() {
            *until = Some(known);
        }
    }

    pub fn has_flooded(&self) -> bool {
        !self.floods.lock().expect("no panics").is_empty()
    }

    /// Whether a command may have been rate limited before `at`.
    pub fn may_have_been_limited(&self, sent: &Sent, at: Timestamp) -> bool {
        self.floods.lock().expect("no panics").iter().any(|(from, until)| {
            let again = sent.sendings > 1;
            let during = until.is_none_or(|until| sent.first_at <= until);
            during && (again || sent.first_at >= *from) && at >= *from
        })
    }

    /// Sends a command and waits for the publisher confirm. A patient terminal may instead have
    /// lost the broker or have been refused; the outcome is then unknown, and the caller sends it
    /// again.
    pub async fn send(&self, intent: &Intent) -> Result<()> {
        let (done, confirmed) = oneshot::channel();
        let sent = self.jobs.send((intent.clone(), done)).await;
        sent.ok().context("the sender has ended")?;
        confirmed.await.context("the sender has ended")
    }

    /// Waits until `find` finds something among the replies. `None` when the time is up.
    pub async fn found<T>(
        &self,
        patience: Duration,
        mut find: impl FnMut(&Record) -> Option<T>,
    ) -> Option<T> {
        let looking = async {
            loop {
                // Register before looking, so that no reply in between is missed.
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

    /// Handles the loss of the broker. Returns whether to reconnect.
    fn lost(&self, how: &str, error: impl std::fmt::Display) -> bool {
        let Setting { tally, history, patient } = &self.setting;
        history.note(how, json!({"terminal": self.id, "error": error.to_string()}));
        match patient {
            true => tally.losses.add(),
            false => tally.failed(format!("{} {how}: {error}", self.id)),
        }
        *patient
    }

    /// Publishes waiting commands, together and in any order.
    async fn send(
        self,
        mut client: TerminalClient,
        mut waiting: mpsc::Receiver<Job>,
        mut pick: Pick,
    ) {
        let mut jobs: Vec<Job> = Vec::new();
        while waiting.recv_many(&mut jobs, BATCH_MAX).await > 0 {
            pick.shuffle(&mut jobs);
            let sent = self.send_all(&mut client, &jobs).await;
            jobs.drain(..).for_each(|(_, done)| _ = done.send(()));
            if let Err(error) = sent {
                if !self.lost("cannot send", error) {
                    return;
                }
                client = self.connect().await;
            }
        }
    }

    async fn connect(&self) -> TerminalClient {
        loop {
            match TerminalClient::connect(&self.endpoint).await {
                Ok(client) => return client,
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    async fn send_all(&self, client: &mut TerminalClient, jobs: &[Job]) -> Result<()> {
        let began = self.clock.now();
        for (intent, _) in jobs {
            self.record().sending(intent, began);
        }
        let commands: Vec<_> = jobs.iter().map(|(intent, _)| intent.command.clone()).collect();
        let fates = client.send_all(&commands).await;
        let result = |fate: Option<&Fate>| match fate {
            Some(Fate::Routed) => "ok",
            Some(_) => "fail",
            None => "unknown",
        };
        for (index, command) in commands.iter().enumerate() {
            let fate = fates.as_ref().ok().map(|fates| &fates[index]);
            self.setting.history.note(
                "publish",
                json!({"terminal": self.id, "id": command.message_id, "kind": command.kind.as_str(),
                       "began": began, "result": result(fate), "body": text(&command.body)}),
            );
        }
        let now = self.clock.now();
        for ((intent, _), fate) in jobs.iter().zip(fates?) {
            self.published(intent, fate, now);
        }
        Ok(())
    }

    fn published(&self, intent: &Intent, fate: Fate, now: Timestamp) {
        let Setting { tally, patient, .. } = &self.setting;
        tally.sent.add();
        let id = &intent.command.message_id;
        match fate {
            Fate::Routed => self.record().confirmed(&intent.command, now),
            // The checks judge whether that is right.
            Fate::Unroutable => self.record().returned.push(id.clone()),
            Fate::Refused if *patient => tally.refused.add(),
            Fate::Refused => tally.failed(format!("{}: command {id} was refused", self.id)),
        }
    }

    async fn read(self, mut replies: Replies) {
        loop {
            match replies.next(READ_TIMEOUT).await {
                Ok(None) => {}
                Ok(Some(reply)) => self.take(reply),
                Err(error) => {
                    // Messages received before the connection broke may already be acknowledged.
                    while let Ok(Some(reply)) = replies.next(Duration::ZERO).await {
                        self.take(reply);
                    }
                    if !self.lost("is deaf", error) {
                        return;
                    }
                    replies = self.listen().await;
                }
            }
        }
    }

    async fn listen(&self) -> Replies {
        loop {
            match Replies::open(&self.endpoint).await {
                Ok(replies) => return replies,
                Err(_) => sleep(PAUSE).await,
            }
        }
    }

    fn take(&self, reply: Reply) {
        let Setting { tally, history, .. } = &self.setting;
        let answers = reply.correlation_id.is_some();
        if answers { &tally.answers } else { &tally.notices }.add();
        history.note(
            "heard",
            json!({"terminal": self.id, "id": reply.message_id, "answers": reply.correlation_id,
                   "body": text(&reply.body)}),
        );
        self.record().take(reply, self.clock.now());
        self.heard.notify_waiters();
    }
}
