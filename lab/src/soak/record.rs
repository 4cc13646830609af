//! What a terminal has sent and received.

use std::collections::HashMap;

use holdfast::client::{Command, Reply};
use holdfast::domain::interval::Timestamp;
use holdfast::message::answer::{Answer, Notice};
use uuid::Uuid;

/// The code for a message id that is used for two commands.
pub const MISMATCH: &str = "idempotency_mismatch";

/// The code for a command that went to a queue that its server has left. It is no decision.
const WRONG_PARTITION: &str = "wrong_partition";

/// The code for a terminal that exceeds the rate limit. It is no decision.
const RATE_LIMITED: &str = "rate_limited";

/// The code for a body that is no JSON.
pub const MALFORMED: &str = "invalid_json";

/// Allowed outcomes of a command of no server: none, because no queue takes it.
pub const RETURNED: &[&str] = &[];

/// A command with what may come of it.
#[derive(Debug, Clone)]
pub struct Intent {
    pub command: Command,
    /// The reservation that it names, if any.
    pub reservation: Option<Uuid>,
    /// Correct outcomes.
    pub allowed: &'static [&'static str],
}

/// A command that was sent at least once.
#[derive(Debug)]
pub struct Sent {
    pub intent: Intent,
    /// How often the broker has confirmed it.
    pub sendings: usize,
    /// When it was about to be sent first.
    pub first_at: Timestamp,
    /// When the first publisher confirm arrived.
    pub confirmed_at: Option<Timestamp>,
}

/// A reply and its repeats, which have the same id and bytes.
#[derive(Debug)]
pub struct Heard {
    /// The reply's own id.
    pub id: String,
    pub body: Vec<u8>,
    pub first_at: Timestamp,
    pub times: usize,
}

/// Everything that one terminal has sent and received.
#[derive(Debug, Default)]
pub struct Record {
    /// Commands by message id.
    pub sent: HashMap<String, Sent>,
    /// Commands sent under the message id of another one.
    pub reused: HashMap<String, Sent>,
    /// Answers by the message id of their command.
    pub answers: HashMap<String, Vec<Heard>>,
    pub notices: Vec<Heard>,
    /// Notices by reservation.
    notices_about: HashMap<Uuid, Vec<Notice>>,
    /// Message ids of commands that the broker has returned because no queue takes them.
    pub returned: Vec<String>,
    /// Replies that could not be read.
    pub unreadable: Vec<String>,
}

impl Intent {
    /// Whether the broker must return it.
    pub fn is_returned(&self) -> bool {
        self.allowed.is_empty()
    }
}

impl Heard {
    pub fn answer(&self) -> Option<Answer> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn notice(&self) -> Option<Notice> {
        serde_json::from_slice(&self.body).ok()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it is the decision on the command.
    pub fn is_decision(&self) -> bool {
        self.answer().is_none_or(|answer| decides(&answer))
    }

    /// Whether it refuses a command for its terminal's rate, before the command is looked at.
    pub fn is_rate_limited(&self) -> bool {
        self.answer().is_some_and(|answer| answer.outcome() == RATE_LIMITED)
    }

    /// Whether it asks for the command once more, because its server has moved.
    pub fn is_wrong_partition(&self) -> bool {
        self.answer().is_some_and(|answer| answer.outcome() == WRONG_PARTITION)
    }

    /// Whether it refuses a reused message id, which leaves the stored answer as it is.
    pub fn is_mismatch(&self) -> bool {
        self.answer().is_some_and(|answer| answer.outcome() == MISMATCH)
    }
}

/// Counts a repeat, or records a new reply.
fn hear(heard: &mut Vec<Heard>, reply: Reply, now: Timestamp) {
    match heard.iter_mut().find(|h| h.id == reply.message_id && h.body == reply.body) {
        Some(known) => known.times += 1,
        None => {
            heard.push(Heard { id: reply.message_id, body: reply.body, first_at: now, times: 1 })
        }
    }
}

impl Record {
    /// Notes that a command is about to be sent. A command with another one's id is noted
    /// separately.
    pub fn sending(&mut self, intent: &Intent, now: Timestamp) {
        let known = self.sent.get(&intent.command.message_id);
        let other = known.is_some_and(|known| known.intent.command != intent.command);
        let book = if other { &mut self.reused } else { &mut self.sent };
        book.entry(intent.command.message_id.clone()).or_insert_with(|| Sent {
            intent: intent.clone(),
            sendings: 0,
            first_at: now,
            confirmed_at: None,
        });
    }

    /// Notes that the broker has confirmed a command.
    pub fn confirmed(&mut self, command: &Command, now: Timestamp) {
        let books = [&mut self.sent, &mut self.reused];
        let mut sent = books.into_iter().filter_map(|book| book.get_mut(&command.message_id));
        let sent = sent.find(|sent| sent.intent.command == *command).expect("noted when sent");
        sent.sendings += 1;
        sent.confirmed_at.get_or_insert(now);
    }

    /// How often the broker has confirmed a command.
    pub fn sendings(&self, intent: &Intent) -> usize {
        let books = [&self.sent, &self.reused];
        let sent = books.into_iter().filter_map(|book| book.get(&intent.command.message_id));
        sent.filter(|sent| sent.intent.command == intent.command).map(|sent| sent.sendings).sum()
    }

    pub fn take(&mut self, reply: Reply, now: Timestamp) {
        if let Some(id) = reply.correlation_id.clone() {
            if let Err(error) = reply.answer() {
                self.unreadable.push(format!("answer to {id}: {error}"));
            }
            hear(self.answers.entry(id).or_default(), reply, now);
            return;
        }
        match reply.notice() {
            Ok(notice) => {
                let about = self.notices_about.entry(notice.reservation().id).or_default();
                about.push(notice);
                hear(&mut self.notices, reply, now);
            }
            Err(error) => self.unreadable.push(format!("notice {}: {error}", reply.message_id)),
        }
    }

    /// The answer that decides a command.
    pub fn answer_to(&self, message_id: &str) -> Option<Answer> {
        let heard = self.answers.get(message_id)?;
        heard.iter().filter_map(Heard::answer).find(decides)
    }

    /// How often a command was not decided because its server had moved.
    pub fn turned_away(&self, message_id: &str) -> usize {
        let heard = self.answers.get(message_id).into_iter().flatten();
        heard.filter(|heard| heard.is_wrong_partition()).map(|heard| heard.times).sum()
    }

    /// Whether the terminal has had a notice that the reservation was confirmed or cancelled.
    pub fn told_settled(&self, reservation: Uuid) -> bool {
        let about = self.notices_about.get(&reservation).into_iter().flatten();
        about.into_iter().any(|notice| !matches!(notice, Notice::Reminder { .. }))
    }

    /// Commands with fewer answers than are due, with the number of answers. `due` is how many of a
    /// command's sendings must have been answered.
    pub fn unanswered(&self, due: impl Fn(&Sent) -> usize) -> Vec<(&Sent, usize)> {
        let mut unanswered = Vec::new();
        for (book, mismatch) in [(&self.sent, false), (&self.reused, true)] {
            for (id, sent) in book {
                let heard = self.answers.get(id).into_iter().flatten();
                let of_it = heard.filter(|heard| {
                    // Answers to queries differ each time, and their ids are not used twice. The
                    // rate limit refuses a command whatever it is.
                    heard.is_mismatch() == mismatch || heard.is_rate_limited()
                });
                let answers = of_it.map(|heard| heard.times).sum();
                if answers < due(sent) {
                    unanswered.push((sent, answers));
                }
            }
        }
        unanswered
    }
}

fn decides(answer: &Answer) -> bool {
    ![MISMATCH, WRONG_PARTITION, RATE_LIMITED].contains(&answer.outcome())
}
