//! Terminals under load: each keeps a number of commands unanswered, or sends at a given rate.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use holdfast::client::{Command, Replies, Reply, TerminalClient};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Most commands that a terminal publishes before it waits for their confirms.
const PUBLISH_MAX: usize = 64;

/// The same for a terminal that floods: it hardly ever waits.
const FLOOD_PUBLISH_MAX: usize = 2_048;

/// Bound on the last answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// What terminals send, at first and after each answer.
pub trait Script: Send + Sync + 'static {
    /// The first command of a new unit of work.
    fn begin(&self, terminal: usize) -> Command;

    /// The command that follows an answer. `None` if the unit of work is done.
    fn follow(&self, _terminal: usize, _reply: &Reply) -> Option<Command> {
        None
    }
}

/// Counters shared by all terminals.
#[derive(Default)]
pub struct Counts {
    pub begun: AtomicU64,
    /// Finished units of work.
    pub done: AtomicU64,
    pub answers: AtomicU64,
    pub refused: AtomicU64,
    pub answer_bytes: AtomicU64,
    stop: AtomicBool,
    latencies: Mutex<Vec<Duration>>,
}

/// A running load.
pub struct Load {
    pub counts: Arc<Counts>,
    tasks: JoinSet<Result<()>>,
    senders: Vec<mpsc::UnboundedSender<Command>>,
    script: Arc<dyn Script>,
    sent_at: Arc<Mutex<HashMap<String, Instant>>>,
    timed: bool,
    closing: CancellationToken,
}

impl Load {
    /// Starts readers and senders for connected terminals, without sending anything. `timed`
    /// records the time of each answer. `closed` begins a new unit of work for each that is done.
    pub fn start(
        terminals: Vec<(TerminalClient, Replies)>,
        script: Arc<dyn Script>,
        timed: bool,
        closed: bool,
    ) -> Self {
        Self::publishing(PUBLISH_MAX, terminals, script, timed, closed)
    }

    /// The same for terminals that flood. Their answers are not timed.
    pub fn flooding(terminals: Vec<(TerminalClient, Replies)>, script: Arc<dyn Script>) -> Self {
        Self::publishing(FLOOD_PUBLISH_MAX, terminals, script, false, false)
    }

    fn publishing(
        at_once_max: usize,
        terminals: Vec<(TerminalClient, Replies)>,
        script: Arc<dyn Script>,
        timed: bool,
        closed: bool,
    ) -> Self {
        let mut load = Self {
            counts: Arc::default(),
            tasks: JoinSet::new(),
            senders: Vec::new(),
            script,
            sent_at: Arc::default(),
            timed,
            closing: CancellationToken::new(),
        };
        for (index, (client, replies)) in terminals.into_iter().enumerate() {
            let (sender, todo) = mpsc::unbounded_channel();
            load.tasks.spawn(send(client, todo, at_once_max));
            let reader = Reader {
                terminal: index,
                counts: load.counts.clone(),
                script: load.script.clone(),
                sender: sender.clone(),
                sent_at: load.sent_at.clone(),
                timed,
                closed,
                closing: load.closing.clone(),
            };
            load.tasks.spawn(reader.run(replies));
            load.senders.push(sender);
        }
        load
    }

    /// Begins a unit of work at a terminal.
    pub fn begin(&self, terminal: usize) {
        self.say(terminal, self.script.begin(terminal));
    }

    /// Begins a unit of work that the script does not contain.
    pub fn say(&self, terminal: usize, command: Command) {
        if self.timed {
            let mut sent_at = self.sent_at.lock().expect("no panics");
            sent_at.insert(command.message_id.clone(), Instant::now());
        }
        self.counts.begun.fetch_add(1, Ordering::Relaxed);
        self.senders[terminal].send(command).ok(); // a failed sender shows when it is joined
    }

    /// Keeps `window` units of work unfinished at each terminal.
    pub fn fill(&self, window: usize) {
        for terminal in 0..self.senders.len() {
            for _ in 0..window {
                self.begin(terminal);
            }
        }
    }

    /// Begins work at a rate per second, spread over the terminals, for a given time.
    pub async fn at_rate(&self, rate: f64, during: Duration) {
        let began = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        let mut begun = 0u64;
        while began.elapsed() < during {
            ticks.tick().await;
            let due = (began.elapsed().as_secs_f64() * rate) as u64;
            while begun < due {
                self.begin(begun as usize % self.senders.len());
                begun += 1;
            }
        }
    }

    /// The rate per second of `count`, measured over `during`.
    pub async fn rate(&self, during: Duration, count: impl Fn(&Counts) -> u64) -> f64 {
        let (before, began) = (count(&self.counts), Instant::now());
        tokio::time::sleep(during).await;
        (count(&self.counts) - before) as f64 / began.elapsed().as_secs_f64()
    }

    /// Begins nothing more, waits for all answers, and returns the sorted latencies.
    pub async fn finish(mut self) -> Result<Vec<Duration>> {
        self.counts.stop.store(true, Ordering::Relaxed);
        let latencies = self.answered().await?;
        // Close gracefully, so that no message returns to the queues of a later scenario.
        self.closing.cancel();
        self.senders.clear();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(latencies)
    }

    /// Waits for all answers and takes the latencies so far, sorted.
    pub async fn answered(&mut self) -> Result<Vec<Duration>> {
        let until = Instant::now() + PATIENCE;
        let left = |counts: &Counts| {
            counts.begun.load(Ordering::Relaxed) - counts.done.load(Ordering::Relaxed)
        };
        while left(&self.counts) > 0 {
            if let Some(ended) = self.tasks.try_join_next() {
                ended??;
                bail!("a terminal has ended");
            }
            if Instant::now() > until {
                bail!("{} pieces of work are not done", left(&self.counts));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let mut latencies = std::mem::take(&mut *self.counts.latencies.lock().expect("no panics"));
        latencies.sort_unstable();
        Ok(latencies)
    }

    /// Forgets the latencies so far, which belong to warming up.
    pub fn forget_latencies(&self) {
        self.counts.latencies.lock().expect("no panics").clear();
    }
}

async fn send(
    mut client: TerminalClient,
    mut todo: mpsc::UnboundedReceiver<Command>,
    at_once_max: usize,
) -> Result<()> {
    let mut batch = Vec::new();
    while todo.recv_many(&mut batch, at_once_max).await > 0 {
        client.send_all(&batch).await.context("sending")?;
        batch.clear();
    }
    Ok(client.close().await?)
}

struct Reader {
    terminal: usize,
    counts: Arc<Counts>,
    script: Arc<dyn Script>,
    sender: mpsc::UnboundedSender<Command>,
    sent_at: Arc<Mutex<HashMap<String, Instant>>>,
    timed: bool,
    /// Whether the next unit of work begins when one is done.
    closed: bool,
    closing: CancellationToken,
}

impl Reader {
    async fn run(self, mut replies: Replies) -> Result<()> {
        loop {
            let reply = tokio::select! {
                () = self.closing.cancelled() => return Ok(replies.close().await?),
                reply = replies.next(Duration::from_secs(3_600)) => reply?,
            };
            if let Some(reply) = reply {
                self.take(&reply);
            }
        }
    }

    fn take(&self, reply: &Reply) {
        let Some(answers) = &reply.correlation_id else { return };
        if self.timed {
            // An answer that comes again counts once.
            let sent = self.sent_at.lock().expect("no panics").remove(answers);
            let Some(sent) = sent else { return };
            self.counts.latencies.lock().expect("no panics").push(sent.elapsed());
        }
        self.counts.answers.fetch_add(1, Ordering::Relaxed);
        self.counts.answer_bytes.fetch_add(reply.body.len() as u64, Ordering::Relaxed);
        if reply.type_name == "reservation.refused" {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(next) = self.script.follow(self.terminal, reply) {
            self.sender.send(next).ok();
            return;
        }
        self.counts.done.fetch_add(1, Ordering::Relaxed);
        if self.closed && !self.counts.stop.load(Ordering::Relaxed) {
            self.counts.begun.fetch_add(1, Ordering::Relaxed);
            self.sender.send(self.script.begin(self.terminal)).ok();
        }
    }
}

/// The latency below which the fraction `part` lies.
pub fn percentile(sorted: &[Duration], part: f64) -> Duration {
    let last = sorted.len().saturating_sub(1);
    let at = (last as f64 * part).round() as usize;
    sorted.get(at).copied().unwrap_or_default()
}
