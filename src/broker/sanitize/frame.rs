//! Makes what the broker sends readable for the client library.
//!
//! The broker passes on whatever bytes a publisher put into a message's properties and routing key.
//! The library takes a text that is not UTF-8 for a broken connection, and reads nested tables
//! recursively, so that one message could end every worker that is given it, again and again, and
//! the delivery limit would take its neighbours. Here such a message is sanitized before the library
//! sees it:
//!
//! - each byte that is no UTF-8 becomes `?`, which no id, command, media type or header name that
//!   means anything contains: where the text matters its sender gets the code of the wrong text,
//!   elsewhere it does no harm;
//! - an array or a table inside the headers becomes opaque bytes: nothing here reads one;
//! - properties that cannot be read at all are left out, and with them the account: a dead letter.

const METHOD: u8 = 1;
/// Kind of a content header.
pub const HEADER: u8 = 2;
/// Kind of a part of a body.
pub const BODY: u8 = 3;
/// Kind, channel and length.
pub const HEAD_LEN: usize = 7;
/// The octet behind a frame's payload.
pub const TAIL_LEN: usize = 1;
/// Class, weight and the body's size: what stands before the property flags.
pub const CONTENT_LEN: usize = 12;
/// Where in a content header the body's size stands.
pub const SIZE_AT: usize = 4;
/// Frames with properties are as long as the broker's `frame_max` at most, 128 KiB unless set
/// higher. Above this one they pass unseen, so that a broken stream cannot ask for more memory.
const SANITIZED_MAX: usize = 16 << 20;

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// One that may need sanitizing, of which so many bytes are missing.
    Missing(usize),
    /// One that may need sanitizing, of this length.
    Whole(usize),
    /// One of this length that passes as it is.
    Opaque(usize),
}

/// Looks at the frame that begins with the first of `bytes`.
pub fn look(bytes: &[u8]) -> Frame {
    match bytes {
        // Not a frame: a protocol header, by which a broker refuses the connection.
        [b'A', ..] => Frame::Opaque(usize::MAX),
        [kind, _, _, a, b, c, d, ..] => {
            let payload = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let len = HEAD_LEN + payload + TAIL_LEN;
            match *kind {
                METHOD | HEADER if len > SANITIZED_MAX => Frame::Opaque(len),
                METHOD | HEADER if len > bytes.len() => Frame::Missing(len - bytes.len()),
                METHOD | HEADER => Frame::Whole(len),
                _ => Frame::Opaque(len),
            }
        }
        _ => Frame::Missing(HEAD_LEN - bytes.len()),
    }
}

/// Mends one whole frame in place and returns its new length, which is never greater.
pub fn sanitize(frame: &mut [u8]) -> usize {
    let (len, kind) = (frame.len(), frame[0]);
    let payload = &mut frame[HEAD_LEN..len - TAIL_LEN];
    let readable = match kind {
        METHOD => {
            // Methods without a publisher's texts are the broker's own, and fine.
            delivery(payload);
            true
        }
        _ => properties(payload).is_some(),
    };
    if readable || len < HEAD_LEN + CONTENT_LEN + 2 + TAIL_LEN {
        return len;
    }
    let kept = CONTENT_LEN + 2;
    frame[HEAD_LEN + CONTENT_LEN..HEAD_LEN + kept].fill(0);
    frame[3..HEAD_LEN].copy_from_slice(&(kept as u32).to_be_bytes());
    frame[HEAD_LEN + kept] = frame[len - 1];
    HEAD_LEN + kept + TAIL_LEN
}

/// The texts of `basic.deliver` and `basic.get-ok`.
fn delivery(payload: &mut [u8]) -> Option<()> {
    let mut walk = Cursor(payload);
    match walk.take(4)? {
        [0, 60, 0, 60] => walk.text()?,
        [0, 60, 0, 71] => {}
        _ => return None,
    }
    walk.take(9)?; // delivery tag and the bit that tells a redelivery
    walk.text()?;
    walk.text()
}

/// The texts of a content header; `None` if it is not a sound one.
fn properties(payload: &mut [u8]) -> Option<()> {
    let mut walk = Cursor(payload);
    walk.take(CONTENT_LEN)?;
    let flags = u16::from_be_bytes(walk.take(2)?.try_into().ok()?);
    if flags & 0b11 != 0 {
        return None; // more flags than there are properties
    }
    for bit in (2..16).rev().filter(|bit| flags & (1 << bit) != 0) {
        match bit {
            13 => walk.table()?,
            11 | 12 => drop(walk.take(1)?), // priority, delivery mode
            6 => drop(walk.take(8)?),       // timestamp
            _ => walk.text()?,
        }
    }
    walk.0.is_empty().then_some(())
}

/// What is left of a payload.
pub(super) struct Cursor<'a>(pub(super) &'a mut [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a mut [u8]> {
        let (taken, rest) = std::mem::take(&mut self.0).split_at_mut_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A length of four octets and what it counts.
    fn counted(&mut self) -> Option<&'a mut [u8]> {
        let len = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(len as usize)
    }

    /// A short string.
    pub(super) fn text(&mut self) -> Option<()> {
        let len = self.take(1)?[0];
        to_utf8(self.take(usize::from(len))?);
        Some(())
    }

    fn table(&mut self) -> Option<()> {
        let mut entries = Cursor(self.counted()?);
        while !entries.0.is_empty() {
            entries.text()?;
            entries.value()?;
        }
        Some(())
    }

    /// A header's value, its kind first.
    pub(super) fn value(&mut self) -> Option<()> {
        let kind = self.take(1)?;
        match kind[0] {
            b'V' => {}
            b't' | b'b' | b'B' => drop(self.take(1)?),
            b's' | b'u' | b'U' => drop(self.take(2)?),
            b'I' | b'i' | b'f' => drop(self.take(4)?),
            b'D' => drop(self.take(5)?),
            b'l' | b'L' | b'd' | b'T' => drop(self.take(8)?),
            b'S' | b'x' => drop(self.counted()?),
            b'A' | b'F' => {
                self.counted()?;
                kind[0] = b'x';
            }
            _ => return None,
        }
        Some(())
    }
}

/// Replaces what is no UTF-8, byte by byte: the length stays.
fn to_utf8(text: &mut [u8]) {
    let mut sound = 0;
    while let Err(error) = std::str::from_utf8(&text[sound..]) {
        let bad = sound + error.valid_up_to();
        sound = error.error_len().map_or(text.len(), |len| bad + len);
        text[bad..sound].fill(b'?');
    }
}

#[cfg(test)]
mod tests;
