//! Repairs single frames before lapin parses them.
//!
//! lapin takes text that is not UTF-8 for a broken connection, and parses nested tables
//! recursively. A publisher's message could end every worker's connection, and the delivery limit
//! would drop its neighbours too. So:
//!
//! - Each byte that is not UTF-8 becomes `?`. No valid id, command, media type or known header name
//!   contains one, so the sender gets the refusal for a wrong text where it matters.
//! - An array or table in the headers becomes opaque bytes: nothing reads one.
//! - Unparsable properties are dropped, including the account. The message becomes a dead letter.

const METHOD: u8 = 1;
pub(super) const HEADER: u8 = 2;
pub(super) const BODY: u8 = 3;
/// Type, channel and payload length.
pub(super) const HEAD_LEN: usize = 7;
/// The octet after the payload.
pub(super) const TAIL_LEN: usize = 1;
/// Class, weight and body size, before the property flags.
pub(super) const CONTENT_LEN: usize = 12;
/// Offset of the body size.
pub(super) const SIZE_AT: usize = 4;
/// Longer frames pass unchanged, so that a broken stream cannot claim more memory. `frame_max`
/// limits real ones, to 128 KiB by default.
const SANITIZED_LEN_MAX: usize = 16 << 20;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// May need sanitizing; at least so many bytes are missing.
    Missing(usize),
    /// May need sanitizing; complete, of this length.
    Whole(usize),
    /// Passes unchanged; of this length.
    Opaque(usize),
}

pub(super) fn look(bytes: &[u8]) -> Frame {
    match bytes {
        // A broker that refuses the connection sends a protocol header.
        [b'A', ..] => Frame::Opaque(usize::MAX),
        [kind, _, _, a, b, c, d, ..] => {
            let payload = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let len = HEAD_LEN + payload + TAIL_LEN;
            match *kind {
                METHOD | HEADER if len > SANITIZED_LEN_MAX => Frame::Opaque(len),
                METHOD | HEADER if len > bytes.len() => Frame::Missing(len - bytes.len()),
                METHOD | HEADER => Frame::Whole(len),
                _ => Frame::Opaque(len),
            }
        }
        _ => Frame::Missing(HEAD_LEN - bytes.len()),
    }
}

/// Repairs a complete frame in place. Returns its new length, never greater.
pub(super) fn sanitize(frame: &mut [u8]) -> usize {
    let (len, kind) = (frame.len(), frame[0]);
    let payload = &mut frame[HEAD_LEN..len - TAIL_LEN];
    let readable = match kind {
        METHOD => {
            // Other methods contain no publisher's text.
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

/// Repairs the texts of `basic.deliver` and `basic.get-ok`.
fn delivery(payload: &mut [u8]) -> Option<()> {
    let mut cursor = Cursor(payload);
    match cursor.take(4)? {
        [0, 60, 0, 60] => cursor.text()?,
        [0, 60, 0, 71] => {}
        _ => return None,
    }
    cursor.take(9)?; // delivery tag and the bit "redelivered"
    cursor.text()?;
    cursor.text()
}

/// `None` if unparsable.
fn properties(payload: &mut [u8]) -> Option<()> {
    let mut cursor = Cursor(payload);
    cursor.take(CONTENT_LEN)?;
    let flags = u16::from_be_bytes(cursor.take(2)?.try_into().ok()?);
    if flags & 0b11 != 0 {
        return None; // more flags than AMQP has properties
    }
    for bit in (2..16).rev().filter(|bit| flags & (1 << bit) != 0) {
        match bit {
            13 => cursor.table()?,
            11 | 12 => drop(cursor.take(1)?), // priority, delivery mode
            6 => drop(cursor.take(8)?),       // timestamp
            _ => cursor.text()?,
        }
    }
    cursor.0.is_empty().then_some(())
}

/// The unparsed rest of a payload.
pub(super) struct Cursor<'a>(pub(super) &'a mut [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a mut [u8]> {
        let (taken, rest) = std::mem::take(&mut self.0).split_at_mut_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes a four-octet length and so many octets.
    fn counted(&mut self) -> Option<&'a mut [u8]> {
        let len = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(len as usize)
    }

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

    /// Takes a typed header value. Nested ones become opaque bytes.
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

/// Replaces each byte that is not UTF-8 by `?`, keeping the length.
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
