//! Cuts bodies that are longer than anything their reader takes.
//!
//! The client library collects a body to its end before anybody can refuse it, and the broker passes
//! on bodies of up to its `max_message_size`, 16 or 128 MiB each unless set otherwise: a prefetch
//! window full of them is more memory than a worker has. So a long body is announced as one that is
//! just too long, and the frames that carry it are shortened or left out until they are no more than
//! that. The reader sees a body that is too long, as it is, and does not get the rest of it.

use std::collections::HashMap;

use super::frame::{HEAD_LEN, HEADER, SIZE_AT, TAIL_LEN};

/// What is to be done with a frame whose head has arrived: so many bytes pass, so many behind them
/// are left out, and so many behind those pass again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// How much passes first.
    pub passing: usize,
    /// How much is left out then.
    pub dropping: usize,
    /// How much passes after that.
    pub closing: usize,
}

impl Cut {
    /// For bytes that are not looked at.
    pub fn pass(len: usize) -> Self {
        Self { passing: len, ..Self::default() }
    }

    /// Does it to `bytes[at..len]`, as far as these go. Returns where what passes of them ends, and
    /// where they end now; behind what passes there is something only if the cut is done.
    pub fn apply(&mut self, bytes: &mut [u8], mut at: usize, mut len: usize) -> (usize, usize) {
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

/// A body that is being cut.
struct Long {
    /// How much of it is still to come.
    left: u64,
    /// How much of that is still to be given out.
    wanted: u64,
}

/// Bodies that are being cut, by channel: a channel carries one at a time.
pub struct Bodies {
    len_max: u64,
    long: HashMap<[u8; 2], Long>,
}

impl Bodies {
    /// Cuts bodies to this length.
    pub fn cut_to(len_max: usize) -> Self {
        Self { len_max: len_max as u64, long: HashMap::new() }
    }

    /// Looks at a whole method or content header, and announces a body that is too long as a shorter
    /// one.
    pub fn announce(&mut self, frame: &mut [u8]) {
        let (kind, channel) = (frame[0], [frame[1], frame[2]]);
        let at = HEAD_LEN + SIZE_AT;
        let Some(size) = frame.get_mut(at..at + 8).filter(|_| kind == HEADER) else { return };
        let left = u64::from_be_bytes((&*size).try_into().expect("eight"));
        // Whatever was left of a body before does not come any more.
        self.long.remove(&channel);
        if left > self.len_max {
            size.copy_from_slice(&self.len_max.to_be_bytes());
            self.long.insert(channel, Long { left, wanted: self.len_max });
        }
    }

    /// What becomes of a part of a body, whose frame has this head: the head is rewritten if it is cut.
    pub fn cut(&mut self, head: &mut [u8]) -> Cut {
        let payload = u32::from_be_bytes(head[3..HEAD_LEN].try_into().expect("four")) as usize;
        let whole = HEAD_LEN + payload + TAIL_LEN;
        let channel = [head[1], head[2]];
        let Some(long) = self.long.get_mut(&channel) else { return Cut::pass(whole) };
        let given = long.wanted.min(payload as u64);
        long.wanted -= given;
        long.left = long.left.saturating_sub(payload as u64);
        if long.left == 0 {
            self.long.remove(&channel);
        }
        let given = usize::try_from(given).expect("no more than the payload");
        if given == 0 {
            return Cut { dropping: whole, ..Cut::default() };
        }
        if given == payload {
            return Cut::pass(whole);
        }
        head[3..HEAD_LEN].copy_from_slice(&(given as u32).to_be_bytes());
        Cut { passing: HEAD_LEN + given, dropping: payload - given, closing: TAIL_LEN }
    }
}
