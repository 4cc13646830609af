//! A terminal that keeps every answer and notice it gets.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use holdfast::broker::connection::Endpoint;
use holdfast::client::{Command, Reply, TerminalClient};
use holdfast::domain::id::ServerId;
use holdfast::message::answer::{Answer, Notice, ReservationView};
use uuid::Uuid;

use super::facts;

/// A connected terminal. Its replies are taken in the background, in order.
pub struct Terminal {
    pub client: TerminalClient,
    /// Its account, to publish what its client would not.
    pub endpoint: Endpoint,
    replies: Arc<Mutex<Vec<Reply>>>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A whole second `seconds` from now.
pub fn in_seconds(seconds: i64) -> DateTime<Utc> {
    let now = Utc::now().timestamp();
    DateTime::from_timestamp(now + seconds, 0).expect("an instant")
}

/// `[start, start + length)`, both in seconds from now.
pub fn window(start: i64, length: i64) -> (DateTime<Utc>, DateTime<Utc>) {
    let start = in_seconds(start);
    (start, start + TimeDelta::seconds(length))
}

impl Terminal {
    pub async fn connect(endpoint: &Endpoint) -> Self {
        let client = TerminalClient::connect(endpoint).await.expect("the terminal connects");
        let mut incoming = client.replies().await.expect("the terminal reads");
        let replies = Arc::new(Mutex::new(Vec::new()));
        let kept = replies.clone();
        let reader = tokio::spawn(async move {
            while let Ok(next) = incoming.next(Duration::from_secs(60)).await {
                kept.lock().expect("no panics").extend(next);
            }
        });
        Self { client, endpoint: endpoint.clone(), replies, reader }
    }

    pub fn id(&self) -> &str {
        self.client.account()
    }

    /// Everything received so far.
    pub fn replies(&self) -> Vec<Reply> {
        self.replies.lock().expect("no panics").clone()
    }

    /// Every answer to a message id so far.
    pub fn answers_to(&self, message_id: &str) -> Vec<Reply> {
        let mut replies = self.replies();
        replies.retain(|reply| reply.correlation_id.as_deref() == Some(message_id));
        replies
    }

    /// Answers by message id, the first of each.
    pub fn first_answers(&self) -> HashMap<String, Answer> {
        let mut answers = HashMap::new();
        for reply in self.replies() {
            if let Some(id) = &reply.correlation_id {
                answers.entry(id.clone()).or_insert_with(|| reply.answer().expect("an answer"));
            }
        }
        answers
    }

    /// Waits for the answer to a message id.
    pub async fn reply_to(&self, message_id: &str) -> Reply {
        self.nth_reply_to(message_id, 1).await
    }

    /// Waits for the n-th answer to a message id.
    pub async fn nth_reply_to(&self, message_id: &str, n: usize) -> Reply {
        facts::found(&format!("answer {n} to {message_id}"), async || {
            self.answers_to(message_id).into_iter().nth(n - 1)
        })
        .await
    }

    /// Waits for a notice about a reservation.
    pub async fn notice_about(&self, reservation: Uuid) -> Notice {
        facts::found(&format!("a notice about {reservation}"), async || {
            self.notices().into_iter().find(|notice| notice.reservation().id == reservation)
        })
        .await
    }

    /// Every notice so far.
    pub fn notices(&self) -> Vec<Notice> {
        let replies = self.replies();
        let notices = replies.iter().filter(|reply| reply.correlation_id.is_none());
        notices.map(|reply| reply.notice().expect("a notice")).collect()
    }

    /// Sends a command and waits for its answer.
    pub async fn ask(&mut self, command: &Command) -> Answer {
        self.client.send(command).await.expect("the command is sent");
        self.reply_to(&command.message_id).await.answer().expect("an answer")
    }

    pub async fn request(
        &mut self,
        server: &ServerId,
        (start_at, end_at): (DateTime<Utc>, DateTime<Utc>),
    ) -> Answer {
        let command = Command::request(new_id(), server.as_str(), start_at, end_at);
        self.ask(&command).await
    }

    /// Requests what must be accepted.
    pub async fn accepted(
        &mut self,
        server: &ServerId,
        window: (DateTime<Utc>, DateTime<Utc>),
    ) -> ReservationView {
        match self.request(server, window).await {
            Answer::Accepted { reservation, .. } => reservation,
            other => panic!("not accepted: {other:?}"),
        }
    }

    /// Requests what must be refused, and returns the code.
    pub async fn refused(
        &mut self,
        server: &ServerId,
        window: (DateTime<Utc>, DateTime<Utc>),
    ) -> String {
        let answer = self.request(server, window).await;
        code(&answer).unwrap_or_else(|| panic!("not refused: {answer:?}")).to_owned()
    }

    pub async fn reconfirm(&mut self, server: &ServerId, reservation: Uuid) -> Answer {
        self.ask(&Command::reconfirm(new_id(), server.as_str(), reservation)).await
    }

    pub async fn withdraw(&mut self, server: &ServerId, reservation: Uuid) -> Answer {
        self.ask(&Command::withdraw(new_id(), server.as_str(), reservation)).await
    }

    pub async fn show(&mut self, reservation: Uuid) -> Answer {
        self.ask(&Command::show(new_id(), reservation)).await
    }
}

pub fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// The code of a refusal.
pub fn code(answer: &Answer) -> Option<&str> {
    match answer {
        Answer::Refused { code, .. } => Some(code),
        _ => None,
    }
}
