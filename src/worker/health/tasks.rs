//! Whether the worker's tasks run.
//!
//! A task that panics is begun anew by its session, mostly within a second. One that panics again and again,
//! or is not begun, is dead, and so is a runtime that runs nothing. Then only a new process helps.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use strum::IntoStaticStr;
use tokio::time::sleep;

use super::check::Wrong;

/// A task that panicked has recovered once it has run for so long.
const RECOVERED_AFTER: Duration = Duration::from_secs(5);

/// A task that has not recovered for so long is dead. Some tries fit in, with their pauses.
const DEAD_AFTER: Duration = Duration::from_secs(10);

/// Time between two signs of life of the runtime.
const TICK_INTERVAL: Duration = Duration::from_millis(250);

/// A runtime without a sign of life for so long has stalled. A frozen machine may take that long, too.
const STALLED_AFTER: Duration = Duration::from_secs(5);

/// A part of a pipeline that has had work in hand for so long without a step is stuck: every wait in it is
/// bounded by half a minute, and each try is a step.
const STUCK_AFTER: Duration = Duration::from_secs(180);

/// Tasks by name, and the runtime's last sign of life.
pub struct Tasks {
    began: Instant,
    died: AtomicU64,
    /// Milliseconds since `began`.
    ticked: AtomicU64,
    panicked: Mutex<BTreeMap<String, Panicked>>,
    in_hand: Mutex<BTreeMap<(i32, Part), Instant>>,
}

/// A part of a partition's pipeline that runs beside the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Part {
    /// To the commit.
    Deciding,
    /// Answers, and the acknowledgement.
    Answering,
    /// What no acknowledgement waits for.
    Publishing,
}

struct Panicked {
    since: Instant,
    /// When it was begun anew.
    runs_since: Option<Instant>,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            died: AtomicU64::default(),
            ticked: AtomicU64::default(),
            panicked: Mutex::default(),
            in_hand: Mutex::default(),
        }
    }
}

impl Tasks {
    /// Runs a task, and remembers it if it panics.
    pub async fn watch<T>(&self, name: &str, work: impl Future<Output = T>) -> T {
        if let Some(panicked) = lock(&self.panicked).get_mut(name) {
            panicked.runs_since = Some(Instant::now());
        }
        let _watched = Watched { tasks: self, name };
        work.await
    }

    /// Gives signs of life, for ever.
    pub async fn tick(&self) {
        loop {
            let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.ticked.store(now, Ordering::Relaxed);
            sleep(TICK_INTERVAL).await;
        }
    }

    /// A part of a pipeline makes a step with what it has in hand.
    pub fn step(&self, partition: i32, part: Part) {
        lock(&self.in_hand).insert((partition, part), Instant::now());
    }

    /// A part of a pipeline has nothing in hand, or waits for another part.
    pub fn rest(&self, partition: i32, part: Part) {
        lock(&self.in_hand).remove(&(partition, part));
    }

    /// Forgets what a pipeline has in hand, once it has ended, however that is.
    pub fn pipeline(&self, partition: i32) -> Pipeline<'_> {
        Pipeline { tasks: self, partition }
    }

    /// Tasks that panicked since the process began.
    pub fn died(&self) -> u64 {
        self.died.load(Ordering::Relaxed)
    }

    /// What only a new process heals.
    pub fn dead(&self, now: Instant) -> Vec<Wrong> {
        let mut dead: Vec<Wrong> = self.stalled(now).into_iter().collect();
        for ((partition, part), step) in &*lock(&self.in_hand) {
            if now.saturating_duration_since(*step) > STUCK_AFTER {
                let part: &str = part.into();
                let what = format!("the pipeline of partition {partition} is stuck: {part}");
                dead.push(Wrong { what, since: *step });
            }
        }
        let mut panicked = lock(&self.panicked);
        panicked.retain(|_, task| {
            let runs = task.runs_since.map(|since| now.saturating_duration_since(since));
            runs.is_none_or(|runs| runs < RECOVERED_AFTER)
        });
        let lasting = panicked
            .iter()
            .filter(|(_, task)| now.saturating_duration_since(task.since) > DEAD_AFTER);
        let what = |name: &String| format!("{name} has panicked and does not recover");
        dead.extend(lasting.map(|(name, task)| Wrong { what: what(name), since: task.since }));
        dead
    }

    fn stalled(&self, now: Instant) -> Option<Wrong> {
        let since = self.began + Duration::from_millis(self.ticked.load(Ordering::Relaxed));
        let what = "the runtime has stalled: it runs no task".to_owned();
        (now.saturating_duration_since(since) > STALLED_AFTER).then_some(Wrong { what, since })
    }
}

/// While a pipeline runs.
pub struct Pipeline<'a> {
    tasks: &'a Tasks,
    partition: i32,
}

impl Drop for Pipeline<'_> {
    fn drop(&mut self) {
        lock(&self.tasks.in_hand).retain(|(partition, _), _| *partition != self.partition);
    }
}

struct Watched<'a> {
    tasks: &'a Tasks,
    name: &'a str,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        let mut tasks = lock(&self.tasks.panicked);
        if std::thread::panicking() {
            self.tasks.died.fetch_add(1, Ordering::Relaxed);
            let now = Instant::now();
            let task = tasks.entry(self.name.to_owned());
            task.or_insert(Panicked { since: now, runs_since: None }).runs_since = None;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Locked while a task panics.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures::FutureExt;

    use super::*;

    async fn panic(tasks: &Tasks) {
        let task = tasks.watch("the task", async { panic!("meant") });
        assert!(AssertUnwindSafe(task).catch_unwind().await.is_err());
    }

    fn names(tasks: &Tasks, now: Instant) -> Vec<String> {
        tasks.ticked.store(u64::MAX / 2_000_000, Ordering::Relaxed);
        tasks.dead(now).into_iter().map(|wrong| wrong.what).collect()
    }

    #[tokio::test]
    async fn a_task_that_panics_once_and_runs_again_is_alive() {
        let tasks = Tasks::default();
        panic(&tasks).await;
        assert_eq!(tasks.died(), 1);
        let runs = tasks.watch("the task", std::future::pending::<()>());
        assert!(runs.now_or_never().is_none());
        let later = Instant::now() + RECOVERED_AFTER + DEAD_AFTER;
        assert_eq!(names(&tasks, later), [""; 0]);
    }

    #[tokio::test]
    async fn a_task_that_panics_and_stays_away_is_dead() {
        let tasks = Tasks::default();
        panic(&tasks).await;
        assert_eq!(names(&tasks, Instant::now()), [""; 0], "it may be begun anew");
        let later = Instant::now() + DEAD_AFTER + Duration::from_secs(1);
        assert_eq!(names(&tasks, later), ["the task has panicked and does not recover"]);
    }

    #[tokio::test]
    async fn a_task_that_panics_again_has_not_recovered() {
        let tasks = Tasks::default();
        panic(&tasks).await;
        let first = lock(&tasks.panicked)["the task"].since;
        panic(&tasks).await;
        assert_eq!(lock(&tasks.panicked)["the task"].since, first);
        assert_eq!(tasks.died(), 2);
    }

    #[test]
    fn a_runtime_without_a_sign_of_life_has_stalled() {
        let tasks = Tasks::default();
        assert!(tasks.stalled(Instant::now()).is_none());
        assert!(tasks.stalled(Instant::now() + 2 * STALLED_AFTER).is_some());
    }

    #[test]
    fn a_pipeline_that_makes_no_step_is_stuck() {
        let tasks = Tasks::default();
        let pipeline = tasks.pipeline(3);
        tasks.step(3, Part::Answering);
        tasks.step(3, Part::Deciding);
        tasks.rest(3, Part::Deciding);
        let later = Instant::now() + STUCK_AFTER + Duration::from_secs(1);
        assert_eq!(names(&tasks, later), ["the pipeline of partition 3 is stuck: answering"]);
        drop(pipeline);
        assert_eq!(names(&tasks, later), [""; 0]);
    }
}
