//! Why a client is not admitted, or no longer.

use strum::{Display, IntoStaticStr, VariantArray};

/// A reason that does not depend on the streaming server. Logs, metrics and responses name it.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, IntoStaticStr, VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Denial {
    /// No reservation has this key, or the request is ambiguous, or the stream's name is not the key's.
    UnknownKey,
    /// No reservation has this name.
    UnknownStream,
    /// The reservation has not begun.
    TooEarly,
    /// The reservation has ended.
    Over,
    /// The reservation was cancelled after its confirmation.
    Cancelled,
    /// Its key was replaced while it was in use.
    Rotated,
    /// Its viewers are as many as the server allows.
    Full,
    /// Another connection with the same key took over a moment ago, or has not left yet.
    Busy,
}
