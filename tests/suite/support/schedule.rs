//! Every order in which racing sessions can take their phases.
//!
//! A race is run again and again, each time in another order, until all are done: depth first,
//! choosing at each point among the sessions that can go on. A session that waits for a lock cannot
//! be chosen; PostgreSQL is asked whether it does, so nothing here waits for a time to pass.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::engines;
use super::gate::{Gate, Phases};

/// Time between two looks at PostgreSQL's locks while a statement runs.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// A statement that neither ends nor waits for a lock for this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Locks leave a race between two or three sessions far fewer orders than this. With more, nothing
/// makes the sessions wait for each other.
const ORDERS_MAX: usize = 500;

/// What a session does in a race.
pub type Job<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Sessions behind gates.
pub struct Race {
    pub gates: Vec<Gate>,
    changed: Arc<Notify>,
    observer: Client,
    choices: Vec<Choice>,
    /// Orders that were run.
    pub orders: usize,
    /// The present order: one letter per phase, naming the session that took it.
    pub order: String,
}

/// A point at which more than one session could go on.
struct Choice {
    among: Vec<usize>,
    taken: usize,
}

impl Race {
    /// `sessions` gates before the database of `url`.
    pub async fn new(url: &str, sessions: usize) -> Self {
        // With three, the orders of single locks would be tens of thousands.
        let phases = if sessions > 2 { Phases::Coarse } else { Phases::Fine };
        Self::in_phases(url, sessions, phases).await
    }

    /// As [`Race::new`], cut in another way.
    pub async fn in_phases(url: &str, sessions: usize, phases: Phases) -> Self {
        let changed = Arc::<Notify>::default();
        let mut gates = Vec::new();
        for _ in 0..sessions {
            gates.push(Gate::before(url, phases, changed.clone()).await);
        }
        let observer = engines::connect(url).await;
        Self { gates, changed, observer, choices: Vec::new(), orders: 0, order: String::new() }
    }

    /// Turns to the next order. `false` once every order has been run.
    pub fn next_order(&mut self) -> bool {
        if self.orders > 0 {
            while self.choices.last().is_some_and(|last| last.taken + 1 == last.among.len()) {
                self.choices.pop();
            }
            match self.choices.last_mut() {
                Some(last) => last.taken += 1,
                None => return false,
            }
        }
        self.orders += 1;
        assert!(self.orders <= ORDERS_MAX, "nothing is locked: {} and so on", self.order);
        true
    }

    /// Runs one job per session in the present order.
    pub async fn run<T: Send + 'static>(&mut self, jobs: Vec<Job<T>>) -> Vec<T> {
        assert_eq!(jobs.len(), self.gates.len());
        self.order.clear();
        for gate in &self.gates {
            gate.set_open(false);
        }
        let changed = &self.changed;
        let jobs: Vec<JoinHandle<T>> = jobs
            .into_iter()
            .map(|job| {
                let changed = changed.clone();
                tokio::spawn(async move {
                    let result = job.await;
                    changed.notify_one();
                    result
                })
            })
            .collect();
        let mut depth = 0;
        loop {
            let ready = self.ready(&jobs).await;
            let Some(session) = self.choose(&ready, &mut depth) else { break };
            self.order.push(char::from(b'a' + u8::try_from(session).expect("few")));
            self.gates[session].pass();
        }
        let mut results = Vec::new();
        for (gate, job) in self.gates.iter().zip(jobs) {
            gate.set_open(true);
            results.push(job.await.expect("a job does not panic"));
        }
        results
    }

    /// Takes the next choice of the present order.
    fn choose(&mut self, ready: &[usize], depth: &mut usize) -> Option<usize> {
        if ready.len() < 2 {
            return ready.first().copied();
        }
        if self.choices.len() == *depth {
            self.choices.push(Choice { among: ready.to_vec(), taken: 0 });
        }
        let choice = &self.choices[*depth];
        assert_eq!(choice.among, ready, "the order {} cannot be repeated", self.order);
        *depth += 1;
        Some(choice.among[choice.taken])
    }

    /// Waits until every session stands at its gate, waits for another one, or is done, and returns
    /// those at their gates. Empty when all are done.
    async fn ready<T>(&mut self, jobs: &[JoinHandle<T>]) -> Vec<usize> {
        let started = Instant::now();
        loop {
            let mut ready = Vec::new();
            let (mut there, mut running) = (Vec::new(), Vec::new());
            let unfinished = jobs.iter().enumerate().filter(|(_, job)| !job.is_finished());
            for (session, _) in unfinished {
                there.push(self.gates[session].pid());
                match self.gates[session].waiting() {
                    Some(_) => ready.push(session),
                    None => running.push(self.gates[session].pid()),
                }
            }
            // If all of them wait for each other, PostgreSQL ends the deadlock and a test sees it.
            if running.is_empty() || (!ready.is_empty() && self.all_wait(&running, &there).await) {
                return ready;
            }
            assert!(started.elapsed() < PATIENCE, "stuck after {}", self.order);
            tokio::time::timeout(LOOK_INTERVAL, self.changed.notified()).await.ok();
        }
    }

    /// Whether all of `pids` wait for locks of `others`.
    async fn all_wait(&self, pids: &[i32], others: &[i32]) -> bool {
        let query =
            "select bool_and(pg_blocking_pids(pid) && $2::int[]) from unnest($1::int[]) pid";
        self.observer.query_one(query, &[&pids, &others]).await.expect("an answer").get(0)
    }
}
