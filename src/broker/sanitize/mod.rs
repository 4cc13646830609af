//! Sanitizes what the broker sends before the client library parses it.
//!
//! The broker passes on whatever bytes a publisher set, and some of them break the library's
//! connection: every worker that receives such a message would fail in turn. `stream` wraps the
//! connection, `frame` repairs single frames, `headers` and `bodies` bound what a message may
//! carry.
//!
//! See `docs/decisions/0012-sanitize-what-the-broker-sends.md`.

mod bodies;
mod frame;
mod headers;
pub(super) mod stream;

pub use stream::Sanitized;
pub(super) use stream::SanitizingReactor;
