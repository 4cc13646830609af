//! Random waits that keep replicas out of step.

use std::time::Duration;

use rand::Rng;

/// Bound before any failure. Each failure doubles it.
const BASE: Duration = Duration::from_millis(100);

/// Largest bound: a recovered dependency is noticed within this time.
const MAX: Duration = Duration::from_secs(5);

/// A larger shift would overflow; the bound reaches [`MAX`] long before.
const DOUBLINGS_MAX: u32 = 16;

/// Largest change by [`spread`], as a fraction.
const SPREAD: f64 = 0.2;

/// A random wait from zero to a bound that doubles with each failure, up to five seconds.
///
/// Full jitter: <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>.
pub fn full_jitter(failures: u32) -> Duration {
    let bound = BASE.saturating_mul(1 << failures.min(DOUBLINGS_MAX)).min(MAX);
    up_to(bound)
}

/// A random wait from zero to `bound`.
pub(crate) fn up_to(bound: Duration) -> Duration {
    rand::rng().random_range(Duration::ZERO..=bound)
}

/// `interval` ± 20 %, for periodic work of replicas that started together.
pub(crate) fn spread(interval: Duration) -> Duration {
    interval.mul_f64(rand::rng().random_range(1.0 - SPREAD..=1.0 + SPREAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Enough to detect a bound that is wrong by a tenth.
    const DRAWS: usize = 2_000;

    fn largest(mut draw: impl FnMut() -> Duration) -> Duration {
        (0..DRAWS).map(|_| draw()).max().expect("draws")
    }

    #[test]
    fn the_bound_doubles_with_each_failure_and_ends() {
        for (failures, bound_ms) in
            [(0, 100), (1, 200), (5, 3_200), (6, 5_000), (16, 5_000), (u32::MAX, 5_000)]
        {
            let bound = Duration::from_millis(bound_ms);
            let largest = largest(|| full_jitter(failures));
            assert!(largest <= bound, "{failures} failures: {largest:?}");
            assert!(largest > bound.mul_f64(0.9), "{failures} failures: {largest:?}");
        }
    }

    #[test]
    fn a_wait_may_be_much_shorter_than_its_bound() {
        let bound = Duration::from_secs(1);
        let shortest = (0..DRAWS).map(|_| up_to(bound)).min().expect("draws");
        assert!(shortest < bound.mul_f64(0.1), "{shortest:?}");
    }

    #[test]
    fn an_interval_is_spread_by_a_fifth_both_ways() {
        let interval = Duration::from_secs(10);
        let draws: Vec<Duration> = (0..DRAWS).map(|_| spread(interval)).collect();
        let (shortest, longest) = (draws.iter().min().unwrap(), draws.iter().max().unwrap());
        assert!(*shortest >= Duration::from_secs(8) && *shortest < Duration::from_millis(8_400));
        assert!(*longest <= Duration::from_secs(12) && *longest > Duration::from_millis(11_600));
    }
}
