//! Figures of the installation, which one worker at a time gathers and exports.

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// Older figures would be taken for the present. Some gatherings fit in.
const AGE_MAX: Duration = Duration::from_secs(60);

/// The text of what was gathered last.
#[derive(Default)]
pub struct Figures(Mutex<[Option<(Instant, String)>; 2]>);

/// Where figures come from. Each has a connection of its own, which may be gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Database,
    Broker,
}

impl Figures {
    /// Replaces the figures of a source.
    pub fn set(&self, source: Source, text: String) {
        self.lock()[source as usize] = Some((Instant::now(), text));
    }

    /// What is not too old.
    pub fn text(&self, now: Instant) -> String {
        let figures = self.lock();
        let fresh = |at: Instant| now.saturating_duration_since(at) < AGE_MAX;
        let texts = figures.iter().flatten().filter(|(at, _)| fresh(*at));
        texts.map(|(_, text)| text.as_str()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, [Option<(Instant, String)>; 2]> {
        self.0.lock().expect("nothing panics with it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_figures_are_not_exported() {
        let figures = Figures::default();
        figures.set(Source::Database, "database\n".to_owned());
        figures.set(Source::Broker, "broker\n".to_owned());
        figures.set(Source::Broker, "broker again\n".to_owned());
        let now = Instant::now();
        assert_eq!(figures.text(now), "database\nbroker again\n");
        assert_eq!(figures.text(now + AGE_MAX), "");
    }
}
