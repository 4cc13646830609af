//! Makes single frames readable for the client library.
//!
//! The broker passes on whatever bytes a publisher put into a message's properties and routing key.
//! The library takes text that is not UTF-8 for a broken connection, and parses nested tables
//! recursively. So one message could end the connection of every worker that receives it, and the
//! delivery limit would drop its neighbours too. A frame is therefore repaired before the library
//! parses it:
//!
//! - Each byte that is not UTF-8 becomes `?`. No valid id, command, media type or known header name
//!   contains one, so where the text matters, its sender gets the code for a wrong text.
//! - An array or a table inside the headers becomes opaque bytes: nothing here reads one.
//! - Properties that cannot be parsed are dropped, the account among them. The message then becomes
//!   a dead letter.

const METHOD: u8 = 1;
/// Type of a content header's frame.
pub(super) const HEADER: u8 = 2;
/// Type of a body's frame.
pub(super) const BODY: u8 = 3;
/// Length of a frame's head: type, channel and payload length.
pub(super) const HEAD_LEN: usize = 7;
/// Length of a frame's end: one octet after the payload.
pub(super) const TAIL_LEN: usize = 1;
/// Length of what precedes the property flags: class, weight and the body's size.
pub(super) const CONTENT_LEN: usize = 12;
/// Offset of the body's size in a content header's payload.
pub(super) const SIZE_AT: usize = 4;
/// Longer frames pass unchanged, so that a broken stream cannot claim more memory than this. Real
/// ones are limited by the broker's `frame_max`, 128 KiB unless it is raised.
const SANITIZED_LEN_MAX: usize = 16 << 20;

/// The frame at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// It may need sanitizing, and at least so many of its bytes have not arrived.
    Missing(usize),
    /// It may need sanitizing, is complete and has this length.
    Whole(usize),
    /// It passes unchanged and has this length.
    Opaque(usize),
}

/// Recognizes the frame that begins with the first of `bytes`.
pub(super) fn look(bytes: &[u8]) -> Frame {
    match bytes {
        // No frame but a protocol header, with which a broker refuses the connection.
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

/// Repairs a complete frame in place and returns its new length, which is never greater.
pub(super) fn sanitize(frame: &mut [u8]) -> usize {
    let (len, kind) = (frame.len(), frame[0]);
    let payload = &mut frame[HEAD_LEN..len - TAIL_LEN];
    let readable = match kind {
        METHOD => {
            // Other methods contain no text of a publisher.
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

/// Repairs the properties of a content header. `None` if they cannot be parsed.
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

/// The part of a payload that has not been parsed yet.
pub(super) struct Cursor<'a>(pub(super) &'a mut [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, len: usize) -> Option<&'a mut [u8]> {
        let (taken, rest) = std::mem::take(&mut self.0).split_at_mut_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// Takes a length of four octets and as many octets after it.
    fn counted(&mut self) -> Option<&'a mut [u8]> {
        let len = u32::from_be_bytes(self.take(4)?.try_into().ok()?);
        self.take(len as usize)
    }

    /// Takes a short string and makes it UTF-8.
    pub(super) fn text(&mut self) -> Option<()> {
        let len = self.take(1)?[0];
        to_utf8(self.take(usize::from(len))?);
        Some(())
    }

    /// Takes a table and repairs its entries.
    fn table(&mut self) -> Option<()> {
        let mut entries = Cursor(self.counted()?);
        while !entries.0.is_empty() {
            entries.text()?;
            entries.value()?;
        }
        Some(())
    }

    /// Takes a header's value, which begins with its type. Nested ones become opaque bytes.
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

/// Replaces each byte that is not UTF-8 by `?`, which keeps the length.
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
