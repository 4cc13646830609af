//! Random choices that a seed makes repeatable.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Keeps the seeds of neighbouring purposes far apart. Any odd number serves.
const STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;

/// One stream of choices. Each purpose has its own, so that none shifts another's.
pub struct Pick(StdRng);

impl Pick {
    pub fn new(seed: u64, purpose: u64) -> Self {
        Self(StdRng::seed_from_u64(seed.wrapping_add(purpose.wrapping_mul(STRIDE))))
    }

    /// True with a probability of `percent` percent.
    pub fn chance(&mut self, percent: u32) -> bool {
        self.0.random_range(0..100) < percent
    }

    pub fn index(&mut self, len: usize) -> usize {
        self.0.random_range(0..len)
    }

    pub fn number(&mut self, from: i64, through: i64) -> i64 {
        self.0.random_range(from..=through)
    }

    pub fn fraction(&mut self) -> f64 {
        self.0.random()
    }

    pub fn millis(&mut self, from: u64, through: u64) -> Duration {
        Duration::from_millis(self.0.random_range(from..=through))
    }

    /// One of `options`, drawn by weight.
    pub fn weighted<T: Copy>(&mut self, options: &[(u32, T)]) -> T {
        let total: u32 = options.iter().map(|(weight, _)| weight).sum();
        let mut left = self.0.random_range(0..total);
        for (weight, option) in options {
            match left.checked_sub(*weight) {
                Some(rest) => left = rest,
                None => return *option,
            }
        }
        unreachable!("less than the sum of all weights")
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.index(last + 1));
        }
    }
}
