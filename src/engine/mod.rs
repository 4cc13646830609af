//! The application: one batch of commands or of queries at a time.
//!
//! [`batch::decide_batch`] runs one transaction: [`needs`] of the inputs, load, decide, [`render`], save
//! and commit. A worker's partitions, [`cancel`] and [`close`] call it. [`query::answer_queries`] reads only.

pub mod batch;
pub mod cancel;
pub mod close;
pub mod moves;
mod needs;
mod outbox;
pub mod query;
pub mod render;
pub mod spans;
pub mod tally;

pub use batch::{BatchError, Committed, decide_batch};
pub use cancel::{cancel, rotate_key};
pub use close::close_due;
pub use query::answer_queries;
