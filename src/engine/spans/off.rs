//! Nothing, at no cost.

use crate::domain::trace::Trace;
use crate::message::envelope::Received;

/// Ends when dropped.
#[derive(Default)]
pub struct BatchSpan;

/// Ends when dropped.
pub struct Phase;

impl BatchSpan {
    /// Begins.
    pub fn begin<'a>(_partition: i32, _messages: impl Iterator<Item = &'a Received>) -> Self {
        Self
    }

    /// Adds a message with what became of it.
    pub fn add(&mut self, _received: &Received, _outcome: &str) {}

    /// Phases that begin in `work` belong to the batch.
    pub fn within<F: Future>(&self, work: F) -> F {
        work
    }

    /// Begins a phase of the batch.
    pub fn phase(&self, _name: &'static str) -> Phase {
        Phase
    }
}

impl Phase {
    /// Ends.
    pub fn end(self) {}
}

/// Begins a phase of the batch at hand.
pub fn phase(_name: &'static str) -> Phase {
    Phase
}

/// Begins the publishing of an event or notice.
pub fn publishing(_type_name: &str, _message_id: uuid::Uuid, _trace: Option<&Trace>) -> Phase {
    Phase
}
