//! Sanitizes the broker's bytes before lapin parses them.
//!
//! Some bytes that a publisher may set break lapin's connection: every worker that receives such a
//! message would fail in turn. `stream` wraps the connection, `frame` repairs single frames,
//! `headers` and `bodies` bound a message's size.
//!
//! See `docs/decisions/0012-sanitize-what-the-broker-sends.md`.

mod bodies;
mod frame;
mod headers;
pub(super) mod stream;

pub use stream::Sanitized;
pub(super) use stream::SanitizingReactor;
