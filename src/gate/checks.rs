//! What a gate needs, and what its last looks have shown.

use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use strum::{IntoStaticStr, VariantArray};

/// Something that a gate needs to do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Check {
    /// It is not stopping.
    Gate,
    /// A plan to admit from. Without it nobody is admitted.
    Plan,
    /// The database answers. Without it the plan gets old.
    Database,
    /// The streaming server lists its clients. Without it nobody is disconnected.
    StreamingServer,
}

/// What is wrong, since when.
pub type Wrong = Option<(String, Instant)>;

/// The last look at each.
pub struct Checks([Mutex<Wrong>; Check::VARIANTS.len()]);

impl Default for Checks {
    fn default() -> Self {
        Self(std::array::from_fn(|index| {
            let known = Check::VARIANTS[index] == Check::Gate;
            Mutex::new((!known).then(|| ("not looked at yet".to_owned(), Instant::now())))
        }))
    }
}

impl Checks {
    /// All is well; returns whether something was wrong before.
    pub fn good(&self, check: Check) -> bool {
        self.lock(check).take().is_some()
    }

    /// This is wrong; returns whether something else was, or nothing.
    pub fn wrong(&self, check: Check, what: impl ToString) -> bool {
        let (mut seen, what) = (self.lock(check), what.to_string());
        match seen.as_mut() {
            Some((known, _)) => {
                let news = *known != what;
                *known = what;
                news
            }
            None => {
                *seen = Some((what, Instant::now()));
                true
            }
        }
    }

    /// What was seen last.
    pub fn seen(&self, check: Check) -> Wrong {
        self.lock(check).clone()
    }

    fn lock(&self, check: Check) -> MutexGuard<'_, Wrong> {
        self.0[check as usize].lock().expect("nothing panics with it")
    }
}
