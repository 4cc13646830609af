//! Cuts bodies that are longer than workers accept.
//!
//! lapin collects a whole body before a worker can refuse it. Bodies may reach the broker's
//! `max_message_size` (16 or 128 MiB by default), and a prefetch window of them exceeds a worker's
//! memory. So a long body is announced as just too long, and its frames are shortened or dropped to
//! match. The worker then refuses it.

use std::collections::HashMap;

use super::frame::{HEAD_LEN, HEADER, SIZE_AT, TAIL_LEN};

/// How many bytes of a frame pass, are dropped, then pass. Counts fall as bytes arrive.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cut {
    passing: usize,
    dropping: usize,
    closing: usize,
}

impl Cut {
    pub(super) fn pass(len: usize) -> Self {
        Self { passing: len, ..Self::default() }
    }

    /// Processes `bytes[at..len]`. Returns the end of what passes and the new `len`; they differ
    /// only once the cut is done.
    pub(super) fn apply(
        &mut self,
        bytes: &mut [u8],
        mut at: usize,
        mut len: usize,
    ) -> (usize, usize) {
        loop {
            let passed = self.passing.min(len - at);
            self.passing -= passed;
            at += passed;
            if self.passing > 0 || (self.dropping == 0 && self.closing == 0) {
                return (at, len);
            }
            let dropped = self.dropping.min(len - at);
            bytes.copy_within(at + dropped..len, at);
            self.dropping -= dropped;
            len -= dropped;
            if self.dropping > 0 {
                return (at, len);
            }
            self.passing = std::mem::take(&mut self.closing);
        }
    }
}

struct LongBody {
    /// Bytes yet to arrive.
    left: u64,
    /// Of these, those that pass.
    passing: u64,
}

/// Keyed by channel, which carries one body at a time.
pub(super) struct Bodies {
    len_max: u64,
    long: HashMap<[u8; 2], LongBody>,
}

impl Bodies {
    pub(super) fn cut_to(len_max: usize) -> Self {
        Self { len_max: len_max as u64, long: HashMap::new() }
    }

    /// Rewrites the size in a content header if the body is too long.
    pub(super) fn announce(&mut self, frame: &mut [u8]) {
        let (kind, channel) = (frame[0], [frame[1], frame[2]]);
        let at = HEAD_LEN + SIZE_AT;
        let Some(size) = frame.get_mut(at..at + 8).filter(|_| kind == HEADER) else { return };
        let left = u64::from_be_bytes((&*size).try_into().expect("eight"));
        // An earlier body on this channel cannot continue.
        self.long.remove(&channel);
        if left > self.len_max {
            size.copy_from_slice(&self.len_max.to_be_bytes());
            self.long.insert(channel, LongBody { left, passing: self.len_max });
        }
    }

    /// Decides about a body frame; rewrites its head if it is shortened.
    pub(super) fn cut(&mut self, head: &mut [u8]) -> Cut {
        let payload = u32::from_be_bytes(head[3..HEAD_LEN].try_into().expect("four")) as usize;
        let whole = HEAD_LEN + payload + TAIL_LEN;
        let channel = [head[1], head[2]];
        let Some(long) = self.long.get_mut(&channel) else { return Cut::pass(whole) };
        let kept = long.passing.min(payload as u64);
        long.passing -= kept;
        long.left = long.left.saturating_sub(payload as u64);
        if long.left == 0 {
            self.long.remove(&channel);
        }
        let kept = usize::try_from(kept).expect("no more than the payload");
        if kept == 0 {
            return Cut { dropping: whole, ..Cut::default() };
        }
        if kept == payload {
            return Cut::pass(whole);
        }
        head[3..HEAD_LEN].copy_from_slice(&(kept as u32).to_be_bytes());
        Cut { passing: HEAD_LEN + kept, dropping: payload - kept, closing: TAIL_LEN }
    }
}
