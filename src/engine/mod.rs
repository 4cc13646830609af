//! The application: one batch at a time.
//!
//! [`batch::decide_batch`] runs one transaction: [`needs`] of the inputs, load, decide, [`render`],
//! save and commit. A worker's partitions call it, and so does [`cancel`] for an operator. SQL is below, in
//! [`store`](crate::store); queues are above, in [`worker`](crate::worker).

mod announce;
pub mod batch;
pub mod cancel;
mod needs;
pub mod render;

pub use batch::{Committed, decide_batch};
pub use cancel::cancel;
