//! The log: to standard error, and never in the way of the work.
//!
//! A write that fails made `tracing_subscriber` panic the task that logged, and a reader that stalls blocked the
//! runtime's threads. So one thread writes, from a queue. What does not fit is dropped and counted, and the
//! count is logged once writing works again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use holdfast::cli::config::{Config, LogFormat};
use holdfast::worker::settings::Count;
use tracing::{error, warn};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for a reader: some seconds of a busy worker's, and a few MB.
const LINES_MAX: usize = 8_192;

/// Bound on writing what is left when the process ends.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between two looks whether all is written.
const FLUSH_PAUSE: Duration = Duration::from_millis(5);

/// The log until the process ends.
pub struct Log {
    counts: Arc<Counts>,
    guard: WorkerGuard,
}

#[derive(Default)]
struct Counts {
    /// Lines that were to be written.
    sent: AtomicU64,
    /// Lines that were taken from the queue.
    taken: AtomicU64,
    /// Lines whose writing failed.
    failed: AtomicU64,
    dropped: OnceLock<ErrorCounter>,
}

impl Counts {
    fn dropped(&self) -> u64 {
        self.dropped
            .get()
            .map_or(0, |counter| u64::try_from(counter.dropped_lines()).unwrap_or(u64::MAX))
    }

    fn lost(&self) -> u64 {
        self.failed.load(Ordering::Relaxed) + self.dropped()
    }

    fn is_all_written(&self) -> bool {
        self.taken.load(Ordering::Relaxed) + self.dropped() >= self.sent.load(Ordering::Relaxed)
    }
}

/// Logs to standard error: standard output is for results. Panics are logged, too.
pub fn start(config: &Config) -> Log {
    let counts = Arc::new(Counts::default());
    let output = Output { counts: counts.clone(), told: 0 };
    let (queue, guard) =
        NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).finish(output);
    counts.dropped.get_or_init(|| queue.error_counter());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(&config.log_filter))
        .with_writer(Lines { queue, counts: counts.clone() })
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    match config.log_format() {
        LogFormat::Text => logs.init(),
        LogFormat::Json => logs.json().init(),
    }
    std::panic::set_hook(Box::new(log_panic));
    Log { counts, guard }
}

/// The hook of the standard library would wait for a reader that stalls.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => error!(%panic, %backtrace, "a task panicked"),
        _ => error!(%panic, "a task panicked"),
    }
}

impl Log {
    /// Counts lines that could not be written.
    pub fn lines_lost(&self) -> Count {
        let counts = self.counts.clone();
        Arc::new(move || counts.lost())
    }

    /// Waits a moment until all is written.
    pub fn finish(self) {
        let end = Instant::now() + FLUSH_TIMEOUT;
        while !self.counts.is_all_written() && Instant::now() < end {
            std::thread::sleep(FLUSH_PAUSE);
        }
        // Its drop prints to standard output if the queue is full.
        std::mem::forget(self.guard);
    }
}

/// Where events become lines.
struct Lines {
    queue: NonBlocking,
    counts: Arc<Counts>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line { queue: self.queue.clone(), counts: &self.counts }
    }
}

struct Line<'a> {
    queue: NonBlocking,
    counts: &'a Counts,
}

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
        self.queue.write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Standard error, on the thread that writes.
struct Output {
    counts: Arc<Counts>,
    /// Lost lines that were logged as such.
    told: u64,
}

impl Write for Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let written = io::stderr().write_all(line);
        self.counts.taken.fetch_add(1, Ordering::Relaxed);
        if written.is_err() {
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
        } else {
            let lost = self.counts.lost();
            if lost > self.told {
                let lines = lost - std::mem::replace(&mut self.told, lost);
                warn!(lines, "lines of this log are lost: standard error could not be written");
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
