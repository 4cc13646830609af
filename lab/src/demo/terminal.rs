//! A terminal with its own broker account. It prints and records its replies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use holdfast::broker::connection::Endpoint;
use holdfast::broker::publisher::Fate;
use holdfast::client::{Command, Replies, Reply, TerminalClient};
use holdfast::domain::id::ServerId;
use holdfast::message::answer::{Answer, Notice, ReservationView};
use uuid::Uuid;

use crate::timeline::Timeline;
use crate::wait::{self, PATIENCE};
use crate::words::{self, Window};

/// How long one read waits for replies. Any time serves.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Replies that a terminal has received.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Replied>>);

#[derive(Default)]
struct Replied {
    /// Bodies by the command's message id, in order of arrival.
    answers: HashMap<String, Vec<Vec<u8>>>,
    notices: Vec<Notice>,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, Replied> {
        self.0.lock().expect("no panics")
    }

    /// The body of every answer to a command.
    pub fn answers_to(&self, message_id: &str) -> Vec<Vec<u8>> {
        self.lock().answers.get(message_id).cloned().unwrap_or_default()
    }

    /// How many of these commands are answered.
    pub fn answered(&self, commands: &[Command]) -> usize {
        let answers = &self.lock().answers;
        commands.iter().filter(|command| answers.contains_key(&command.message_id)).count()
    }

    pub fn notices_about(&self, reservation: Uuid) -> Vec<Notice> {
        let heard = self.lock();
        let about = heard.notices.iter().filter(|notice| notice.reservation().id == reservation);
        about.cloned().collect()
    }
}

pub struct Terminal {
    pub amqp_url: String,
    client: TerminalClient,
    timeline: Arc<Timeline>,
    pub heard: Heard,
    /// Whether printing is off because there is too much.
    quiet: Arc<AtomicBool>,
}

impl Terminal {
    pub async fn connect(amqp_url: String, timeline: Arc<Timeline>) -> Result<Self> {
        let endpoint: Endpoint = amqp_url.parse().map_err(|error: String| anyhow!(error))?;
        let client = TerminalClient::connect(&endpoint).await?;
        let replies = client.replies().await?;
        let heard = Heard::default();
        let quiet = Arc::new(AtomicBool::new(false));
        let reader = Reader {
            account: client.account().to_owned(),
            timeline: timeline.clone(),
            heard: heard.clone(),
            quiet: quiet.clone(),
        };
        tokio::spawn(reader.read(replies));
        Ok(Self { amqp_url, client, timeline, heard, quiet })
    }

    pub fn id(&self) -> &str {
        self.client.account()
    }

    pub fn set_quiet(&self, quiet: bool) {
        self.quiet.store(quiet, Ordering::Relaxed);
    }

    /// Sends a command and waits for the publisher confirm.
    pub async fn send(&mut self, command: &Command, words: &str) -> Result<()> {
        self.timeline.said(self.id(), "holdfast", words);
        Ok(self.client.send(command).await?)
    }

    /// Sends many commands at once.
    pub async fn send_all(&mut self, commands: &[Command]) -> Result<()> {
        let fates = self.client.send_all(commands).await?;
        match fates.iter().all(|fate| *fate == Fate::Routed) {
            true => Ok(()),
            false => bail!("the broker refused a command"),
        }
    }

    pub async fn request(&mut self, server: &ServerId, window: Window) -> Result<Answer> {
        let command = Command::request(new_id(), server.as_str(), window.0, window.1);
        let words = format!("request {server} {}", words::window(window));
        self.send(&command, &words).await?;
        self.answer_to(&command.message_id).await
    }

    /// Sends a request that must be accepted for the demonstration to go on.
    pub async fn accepted(&mut self, server: &ServerId, window: Window) -> Result<ReservationView> {
        match self.request(server, window).await? {
            Answer::Accepted { reservation, .. } => Ok(reservation),
            other => bail!("a request that fits was not accepted: {other:?}"),
        }
    }

    /// Sends a reconfirmation without waiting for the answer. Returns its message id.
    pub async fn reconfirm(&mut self, reservation: &ReservationView) -> Result<String> {
        let command = Command::reconfirm(new_id(), &reservation.server, reservation.id);
        self.send(&command, &format!("reconfirm {}", words::short(reservation.id))).await?;
        Ok(command.message_id)
    }

    pub async fn withdraw(&mut self, reservation: &ReservationView) -> Result<Answer> {
        let command = Command::withdraw(new_id(), &reservation.server, reservation.id);
        self.send(&command, &format!("withdraw {}", words::short(reservation.id))).await?;
        self.answer_to(&command.message_id).await
    }

    pub async fn answer_to(&self, message_id: &str) -> Result<Answer> {
        let what = format!("{} gets an answer to {message_id}", self.id());
        let find = async || Ok(self.heard.answers_to(message_id).into_iter().next());
        Ok(serde_json::from_slice(&wait::found(&what, PATIENCE, find).await?)?)
    }

    /// Waits for the notice about a reservation.
    pub async fn notice_about(&self, reservation: Uuid) -> Result<Notice> {
        let what = format!("{} gets a notice about reservation {reservation}", self.id());
        let find = async || Ok(self.heard.notices_about(reservation).into_iter().next());
        wait::found(&what, PATIENCE, find).await
    }
}

/// Reads in the background until the demonstration ends.
struct Reader {
    account: String,
    timeline: Arc<Timeline>,
    heard: Heard,
    quiet: Arc<AtomicBool>,
}

impl Reader {
    async fn read(self, mut replies: Replies) {
        loop {
            match replies.next(READ_TIMEOUT).await {
                Ok(Some(reply)) => self.take(reply),
                Ok(None) => {}
                Err(error) => {
                    return self.timeline.mismatch(&format!("{} is deaf: {error}", self.account));
                }
            }
        }
    }

    fn take(&self, reply: Reply) {
        let words = match &reply.correlation_id {
            Some(_) => reply.answer().map(|answer| words::answer(&answer)),
            None => reply.notice().map(|notice| words::notice(&notice)),
        };
        match words {
            Ok(words) if !self.quiet.load(Ordering::Relaxed) => {
                self.timeline.said("holdfast", &self.account, &words);
            }
            Ok(_) => {}
            Err(error) => self.timeline.mismatch(&format!("a reply cannot be read: {error}")),
        }
        let mut heard = self.heard.lock();
        if let Some(id) = reply.correlation_id {
            heard.answers.entry(id).or_default().push(reply.body);
        } else if let Ok(notice) = reply.notice() {
            heard.notices.push(notice);
        }
    }
}

pub fn new_id() -> String {
    Uuid::new_v4().to_string()
}
