//! How much this worker decides, for operators.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::Instant;

/// Samples that a rate looks back over: one for each heartbeat, so about fifteen seconds. Long enough to
/// smooth batches, short enough to show a stall.
const SAMPLES: usize = 10;

/// Counts messages whose outcome is committed.
#[derive(Default)]
pub struct Throughput {
    decided: AtomicU64,
    samples: Mutex<VecDeque<(Instant, u64)>>,
}

impl Throughput {
    /// Counts the messages of a committed batch.
    pub fn add(&self, messages: usize) {
        self.decided.fetch_add(messages as u64, Ordering::Relaxed);
    }

    /// All so far, and how many per second since the oldest of the last samples.
    pub fn sample(&self, now: Instant) -> (i64, f64) {
        let decided = self.decided.load(Ordering::Relaxed);
        let mut samples = self.samples.lock().expect("nothing panics while holding it");
        let (then, before) = samples.front().copied().unwrap_or((now, decided));
        samples.push_back((now, decided));
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
        let seconds = (now - then).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "some thousands")]
        let rate = if seconds > 0.0 { (decided - before) as f64 / seconds } else { 0.0 };
        (i64::try_from(decided).unwrap_or(i64::MAX), rate)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_rate_is_of_the_last_samples_only() {
        let (throughput, start) = (Throughput::default(), Instant::now());
        assert_eq!(throughput.sample(start), (0, 0.0));
        for second in 1..=30 {
            throughput.add(7);
            let (decided, rate) = throughput.sample(start + Duration::from_secs(second));
            assert_eq!(decided, 7 * i64::try_from(second).expect("few"));
            assert!((rate - 7.0).abs() < 1e-9, "{rate}");
        }
        for second in 31..=41 {
            throughput.sample(start + Duration::from_secs(second));
        }
        assert_eq!(throughput.sample(start + Duration::from_secs(42)), (210, 0.0));
    }
}
