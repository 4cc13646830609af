//! Sanitizes what the broker sends before the client library reads it.
//!
//! The broker passes on whatever bytes a publisher set. Some of them end the library's connection,
//! and with it every worker that is given the message. [`stream`] wraps the connection, [`frame`]
//! repairs single frames, [`headers`] and [`bodies`] bound what a message may bring.

pub mod bodies;
pub mod frame;
pub mod headers;
pub mod stream;

pub use stream::{Sanitized, SanitizingReactor};
