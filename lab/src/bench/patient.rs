//! Terminals that survive an outage, as real ones must. Each keeps a number of commands unanswered,
//! reconnects when the broker is away, and sends unanswered commands again under the same message
//! id.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use holdfast::backoff::full_jitter;
use holdfast::broker::connection::Endpoint;
use holdfast::broker::publisher::Fate;
use holdfast::client::{Command, Replies, Reply, TerminalClient};
use rand::Rng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::load::{Script, percentile};

/// Most commands published at once.
const PUBLISH_MAX: usize = 64;

/// A terminal without any reply for this long, up to twice as long, sends its commands again.
const ASKS_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Pause before commands are sent again that the broker did not take.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);

/// When first answers arrived, and after how long.
#[derive(Default)]
pub struct Answers(Mutex<Vec<(Instant, Duration)>>);

/// Figures of a period.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Answers per second.
    pub rate: f64,
    pub p50: Duration,
}

impl Answers {
    fn add(&self, sent: Instant) {
        self.0.lock().expect("no panics").push((Instant::now(), sent.elapsed()));
    }

    pub fn pace(&self, from: Instant, during: Duration) -> Pace {
        let all = self.0.lock().expect("no panics");
        let begin = all.partition_point(|(at, _)| *at < from);
        let end = all.partition_point(|(at, _)| *at < from + during);
        let mut took: Vec<Duration> = all[begin..end].iter().map(|(_, took)| *took).collect();
        drop(all);
        took.sort_unstable();
        Pace { rate: took.len() as f64 / during.as_secs_f64(), p50: percentile(&took, 0.50) }
    }
}

/// Running terminals.
pub struct Patient {
    pub answers: Arc<Answers>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Patient {
    /// Each keeps `window` commands unanswered.
    pub fn start(endpoints: Vec<Endpoint>, script: Arc<dyn Script>, window: usize) -> Self {
        let mut patient =
            Self { answers: Arc::default(), stop: CancellationToken::new(), tasks: JoinSet::new() };
        for (index, endpoint) in endpoints.into_iter().enumerate() {
            let terminal = Terminal {
                index,
                endpoint,
                script: script.clone(),
                answers: patient.answers.clone(),
                stop: patient.stop.clone(),
                on_their_way: HashMap::new(),
            };
            patient.tasks.spawn(terminal.run(window));
        }
        patient
    }

    /// Sends no new commands and waits until all are answered.
    pub async fn finish(mut self) -> Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}

struct Terminal {
    index: usize,
    endpoint: Endpoint,
    script: Arc<dyn Script>,
    answers: Arc<Answers>,
    stop: CancellationToken,
    /// Unanswered commands by message id, each with the time when it was sent first.
    on_their_way: HashMap<String, (Command, Instant)>,
}

impl Terminal {
    async fn run(mut self, window: usize) {
        for _ in 0..window {
            self.begin();
        }
        let mut failures = 0;
        while let Err((_, heard)) = self.session().await {
            failures = if heard { 0 } else { failures + 1 };
            sleep(full_jitter(failures)).await;
        }
    }

    fn begin(&mut self) -> Command {
        let command = self.script.begin(self.index);
        self.on_their_way.insert(command.message_id.clone(), (command.clone(), Instant::now()));
        command
    }

    fn all(&self) -> Vec<Command> {
        self.on_their_way.values().map(|(command, _)| command.clone()).collect()
    }

    /// Runs until the connection is lost or everything is answered. Returns also whether any reply
    /// came.
    async fn session(&mut self) -> Result<(), (anyhow::Error, bool)> {
        let lost = |heard| move |error: anyhow::Error| (error, heard);
        let (mut client, mut replies) = self.connect().await.map_err(lost(false))?;
        let mut todo = self.all();
        let mut heard = false;
        loop {
            self.send(&mut client, &mut todo).await.map_err(lost(heard))?;
            if self.on_their_way.is_empty() {
                return Ok(());
            }
            let patience = ASKS_AGAIN_AFTER.mul_f64(rand::rng().random_range(1.0..2.0));
            // They get no answer, however long one waits.
            let patience = if todo.is_empty() { patience } else { REFUSED_PAUSE };
            match self.hear(&mut replies, patience, &mut todo).await.map_err(lost(heard))? {
                true => heard = true,
                false if todo.is_empty() => todo = self.all(),
                false => {}
            }
        }
    }

    async fn connect(&self) -> Result<(TerminalClient, Replies)> {
        let client = TerminalClient::connect(&self.endpoint).await?;
        let replies = client.replies().await?;
        Ok((client, replies))
    }

    /// Sends what is due, and keeps what the broker did not accept.
    async fn send(&self, client: &mut TerminalClient, todo: &mut Vec<Command>) -> Result<()> {
        let mut left = Vec::new();
        for chunk in todo.chunks(PUBLISH_MAX) {
            let fates = client.send_all(chunk).await?;
            let fates = chunk.iter().zip(fates);
            left.extend(fates.filter(|(_, fate)| *fate != Fate::Routed).map(|(c, _)| c.clone()));
        }
        *todo = left;
        Ok(())
    }

    /// Processes replies. Returns whether there were any.
    async fn hear(
        &mut self,
        replies: &mut Replies,
        mut patience: Duration,
        todo: &mut Vec<Command>,
    ) -> Result<bool> {
        let mut heard = false;
        while let Some(reply) = replies.next(patience).await? {
            self.take(&reply, todo);
            heard = true;
            patience = Duration::ZERO;
        }
        Ok(heard)
    }

    fn take(&mut self, reply: &Reply, todo: &mut Vec<Command>) {
        let Some(answered) = &reply.correlation_id else { return };
        // A second answer to a command that was sent twice does not count.
        let Some((_, sent)) = self.on_their_way.remove(answered) else { return };
        self.answers.add(sent);
        if !self.stop.is_cancelled() {
            todo.push(self.begin());
        }
    }
}
