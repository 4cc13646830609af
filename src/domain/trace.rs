//! The trace that a change belongs to, as W3C Trace Context writes it. It decides nothing: it is kept beside a
//! change and passed on with what the change causes.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest `tracestate`, in bytes: as much as the standard asks everybody to pass on. A longer one is
/// dropped, since its answer's headers could become too large for the broker.
pub const STATE_LEN_MAX: usize = 512;

/// Length of a `traceparent`, in bytes.
const PARENT_LEN: usize = 55;

/// A trace, and the vendors' notes on it. Commands and reservations share it, and most have none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace(Arc<(TraceParent, Option<Box<str>>)>);

impl Trace {
    /// From the two headers, or `None` without a valid `traceparent`. A `tracestate` that is too long, or
    /// not of printable ASCII, is dropped.
    pub fn read(parent: Option<&str>, state: Option<&str>) -> Option<Self> {
        let parent = parent?.parse().ok()?;
        Some(Self(Arc::new((parent, state.filter(|state| is_state(state)).map(Box::from)))))
    }

    /// Which trace, and which span of it.
    pub fn parent(&self) -> TraceParent {
        self.0.0
    }

    /// The `tracestate`.
    pub fn state(&self) -> Option<&str> {
        self.0.1.as_deref()
    }
}

impl From<TraceParent> for Trace {
    fn from(parent: TraceParent) -> Self {
        Self(Arc::new((parent, None)))
    }
}

fn is_state(text: &str) -> bool {
    (1..=STATE_LEN_MAX).contains(&text.len()) && text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// A `traceparent`. It is printed as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    version: u8,
    /// Of the whole trace; never zero.
    pub trace_id: u128,
    /// Of the sender's span; never zero.
    pub span_id: u64,
    /// Bit 0: the sender records the trace.
    pub flags: u8,
}

/// Not a `traceparent`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is like 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct InvalidTraceParent;

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Of any version but `ff`, which is none, as long as it has no more than the four known parts.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let shaped = text.len() == PARENT_LEN
            && text.bytes().enumerate().all(|(index, b)| match index {
                2 | 35 | 52 => b == b'-',
                _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
            });
        if !shaped {
            return Err(InvalidTraceParent);
        }
        let byte = |part| u8::from_str_radix(part, 16).map_err(|_| InvalidTraceParent);
        let parent = Self {
            version: byte(&text[..2])?,
            trace_id: u128::from_str_radix(&text[3..35], 16).map_err(|_| InvalidTraceParent)?,
            span_id: u64::from_str_radix(&text[36..52], 16).map_err(|_| InvalidTraceParent)?,
            flags: byte(&text[53..])?,
        };
        match parent.version == u8::MAX || parent.trace_id == 0 || parent.span_id == 0 {
            true => Err(InvalidTraceParent),
            false => Ok(parent),
        }
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { version, trace_id, span_id, flags } = self;
        write!(f, "{version:02x}-{trace_id:032x}-{span_id:016x}-{flags:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_printed_as_it_was_read() {
        for text in [PARENT, &PARENT.replacen("00", "cc", 1), &PARENT.replace("-01", "-00")] {
            let parent: TraceParent = text.parse().unwrap();
            assert_eq!(parent.to_string(), text);
        }
        let parent: TraceParent = PARENT.parse().unwrap();
        assert_eq!(parent.trace_id, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((parent.span_id, parent.flags), (0x00f0_67aa_0ba9_02b7, 1));
    }

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        let zeros = |parts: &str| PARENT.replace(parts, &"0".repeat(parts.len()));
        for text in [
            "",
            &PARENT[1..],
            &PARENT.to_uppercase(),
            &format!("{PARENT}-00"),
            &PARENT.replacen("00", "ff", 1),
            &PARENT.replace('-', "_"),
            &zeros("4bf92f3577b34da6a3ce929d0e0e4736"),
            &zeros("00f067aa0ba902b7"),
            &PARENT.replacen("4bf", "é4", 1),
        ] {
            assert_eq!(text.parse::<TraceParent>(), Err(InvalidTraceParent), "{text:?}");
            assert_eq!(Trace::read(Some(text), Some("a=1")), None);
        }
        assert_eq!(Trace::read(None, Some("a=1")), None);
    }

    #[test]
    fn a_tracestate_is_kept_if_it_can_be_passed_on() {
        let state = |text: &str| {
            let trace = Trace::read(Some(PARENT), Some(text)).unwrap();
            trace.state().map(str::to_owned)
        };
        let longest = "s".repeat(STATE_LEN_MAX);
        for text in ["congo=t61rcWkgMzE,rojo=00f067aa0ba902b7", &longest] {
            assert_eq!(state(text).as_deref(), Some(text));
        }
        for text in ["", "a=é", "a=\u{1b}[31m", "a=1\n", &format!("{longest}s")] {
            assert_eq!(state(text), None, "{text:?}");
        }
    }
}
