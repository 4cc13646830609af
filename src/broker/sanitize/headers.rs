//! Drops headers that nothing reads from messages with many.
//!
//! A header of five bytes takes a hundred in lapin. A prefetch window of messages with full frames
//! would take gigabytes.

use std::ops::Range;

use super::frame::{CONTENT_LEN, Cursor, HEAD_LEN, HEADER, TAIL_LEN};
use crate::domain::trace;
use crate::message::dead_letter::header;
use crate::message::envelope::{
    BROKER_HEADERS, ENQUEUED_HEADER, TRACEPARENT, TRACESTATE, is_forbidden_header,
};

/// Content headers up to this length pass unchanged; legitimate ones have a few hundred bytes.
const PLAIN_LEN_MAX: usize = 1_024;

/// Longer values are cut. Valid ones are shorter; a cut one stays invalid, also if it is cut before a
/// character of four bytes.
const VALUE_LEN_MAX: usize = trace::STATE_LEN_MAX + 4;

/// Headers that workers read, besides the broker's own and forbidden ones.
const READ: [&str; 3] = [TRACEPARENT, TRACESTATE, ENQUEUED_HEADER];

/// Whether anything reads a header: a worker, or who takes dead letters.
fn is_read(name: &str) -> bool {
    READ.contains(&name) || BROKER_HEADERS.contains(&name) || header::ALL.contains(&name)
}

/// Reduces a complete, readable content header in place. Returns its new length.
pub(super) fn reduce(frame: &mut [u8]) -> usize {
    if frame[0] != HEADER || frame.len() <= PLAIN_LEN_MAX {
        return frame.len();
    }
    let Some(table) = table(frame) else { return frame.len() };
    let Some(kept) = kept(&frame[table.clone()]) else { return frame.len() };
    let end = table.start + kept.len();
    let len = frame.len() - (table.len() - kept.len());
    frame[table.start - 4..table.start].copy_from_slice(&(kept.len() as u32).to_be_bytes());
    frame[table.start..end].copy_from_slice(&kept);
    frame.copy_within(table.end.., end);
    let payload = (len - HEAD_LEN - TAIL_LEN) as u32;
    frame[3..HEAD_LEN].copy_from_slice(&payload.to_be_bytes());
    len
}

/// The headers' place: after content type and encoding.
fn table(frame: &[u8]) -> Option<Range<usize>> {
    let mut at = HEAD_LEN + CONTENT_LEN;
    let flags = u16::from_be_bytes(frame.get(at..at + 2)?.try_into().ok()?);
    at += 2;
    for bit in [15, 14] {
        if flags & (1 << bit) != 0 {
            at += 1 + usize::from(*frame.get(at)?);
        }
    }
    if flags & (1 << 13) == 0 {
        return None;
    }
    let len = u32::from_be_bytes(frame.get(at..at + 4)?.try_into().ok()?) as usize;
    let table = at + 4..at + 4 + len;
    (table.end < frame.len()).then_some(table)
}

/// Entries to keep: those that are read, and one forbidden one.
fn kept(table: &[u8]) -> Option<Vec<u8>> {
    let mut copy = table.to_vec();
    let mut cursor = Cursor(&mut copy);
    let mut kept = Vec::new();
    let mut forbidden = false;
    while !cursor.0.is_empty() {
        let start = table.len() - cursor.0.len();
        cursor.text()?;
        let value = table.len() - cursor.0.len();
        cursor.value()?;
        let end = table.len() - cursor.0.len();
        let name = std::str::from_utf8(&table[start + 1..value]).ok()?;
        let another = is_forbidden_header(name) && !std::mem::replace(&mut forbidden, true);
        if another || is_read(name) {
            kept.extend_from_slice(&table[start..value]);
            push_value(&mut kept, &table[value..end]);
        }
    }
    Some(kept)
}

/// Appends a value, cut to [`VALUE_LEN_MAX`].
fn push_value(kept: &mut Vec<u8>, value: &[u8]) {
    match value {
        [kind @ (b'S' | b'x'), _, _, _, _, bytes @ ..] if bytes.len() > VALUE_LEN_MAX => {
            // Between characters, so that a text stays a text.
            let inside = |at: &usize| bytes[*at] & 0xc0 == 0x80;
            let len = (1..=VALUE_LEN_MAX).rev().find(|at| !inside(at)).unwrap_or(VALUE_LEN_MAX);
            kept.push(*kind);
            kept.extend_from_slice(&(len as u32).to_be_bytes());
            kept.extend_from_slice(&bytes[..len]);
        }
        _ => kept.extend_from_slice(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(bytes: &[u8]) -> Vec<u8> {
        [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
    }

    fn entry(name: &str, value: &[u8]) -> Vec<u8> {
        [&[name.len() as u8], name.as_bytes(), b"S", &long(value)[..]].concat()
    }

    fn frame(entries: &[Vec<u8>]) -> Vec<u8> {
        let flags = (1u16 << 15 | 1 << 13 | 1 << 10).to_be_bytes();
        let table = long(&entries.concat());
        let properties = [&b"\x04json"[..], &table, b"\x02id"].concat();
        let payload = [&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], &flags[..], &properties].concat();
        [&[2, 0, 1], &long(&payload)[..], &[0xce]].concat()
    }

    fn reduced(mut frame: Vec<u8>) -> Vec<u8> {
        let len = reduce(&mut frame);
        frame.truncate(len);
        frame
    }

    #[test]
    fn few_headers_stay_unchanged() {
        let few = frame(&[entry("traceparent", b"00"), entry("note", &[b'n'; 900])]);
        assert_eq!(reduced(few.clone()), few);
    }

    #[test]
    fn of_many_headers_only_those_that_matter_stay() {
        let many = (0..1_000).map(|n| entry(&format!("h{n}"), b"v"));
        let forbidden = (0..1_000).map(|n| entry(&format!("X-{n}"), b"v"));
        let matter = [
            entry("traceparent", b"00"),
            entry("tracestate", b"a=1"),
            entry("x-delivery-count", b"1"),
            entry("X-0", b"v"),
        ];
        let sent: Vec<Vec<u8>> = many.chain(matter[..3].to_vec()).chain(forbidden).collect();
        assert_eq!(reduced(frame(&sent)), frame(&matter));
        let doubled = vec![entry("traceparent", b"00"); 200];
        assert_eq!(reduced(frame(&doubled)), frame(&doubled));
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        for (sent, kept) in [
            ("c".repeat(100_000), "c".repeat(516)),
            (format!("c{}", "é".repeat(50_000)), format!("c{}", "é".repeat(257))),
        ] {
            let sent = frame(&[entry("traceparent", sent.as_bytes())]);
            assert_eq!(reduced(sent), frame(&[entry("traceparent", kept.as_bytes())]));
        }
        let note = [entry("note", &[b'n'; 100_000]), entry("traceparent", b"00")];
        assert_eq!(reduced(frame(&note)), frame(&note[1..]));
    }

    #[test]
    fn a_frame_without_headers_stays_unchanged() {
        let mut bare = frame(&[]);
        bare[HEAD_LEN + CONTENT_LEN..][..2].fill(0);
        bare.resize(2_000, 0);
        assert_eq!(reduced(bare.clone()), bare);
    }
}
