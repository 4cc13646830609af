//! Who may use a streaming server now: the confirmed reservation in its window, and nobody else.
//!
//! Read [`plan`] (what is reserved), [`live`] (who is connected), [`admit`] (who may come in) and [`cut`] (who
//! must go). `docs/streaming.md` has the table of cases.

pub mod admit;
pub mod code;
pub mod cut;
pub mod live;
pub mod plan;
