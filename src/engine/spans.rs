//! What OpenTelemetry is told of: a span per batch with its phases, and one per message.
//!
//! A message's span belongs to the trace that the message brought. A batch has many of them, so its own span
//! begins a trace, with a link to each message's. Without the feature `otel` all of this is empty. See
//! `docs/tracing.md`.

#[cfg(not(feature = "otel"))]
mod off;
#[cfg(feature = "otel")]
mod on;

#[cfg(not(feature = "otel"))]
pub use off::{BatchSpan, Phase, phase, publishing};
#[cfg(feature = "otel")]
pub use on::{BatchSpan, Phase, phase, publishing, start};
