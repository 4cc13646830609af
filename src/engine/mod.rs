//! The application: one batch at a time.
//!
//! [`batch::decide_batch`] runs one transaction: [`needs`] of the inputs, load, decide, [`render`], save
//! and commit. A worker's partitions and [`cancel`] call it.

pub mod batch;
pub mod cancel;
mod needs;
mod outbox;
pub mod render;

pub use batch::{Committed, decide_batch};
pub use cancel::cancel;
