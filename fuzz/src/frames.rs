//! Fuzz target: sanitizing what the broker sends.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::executor::block_on;
use futures::io::{AsyncRead, AsyncReadExt};
use holdfast::broker::consumer;
use holdfast::broker::sanitize::Sanitized;
use holdfast::message::envelope::Received;
use lapin::message::Delivery;
use lapin::protocol::basic::{self, AMQPMethod};
use lapin::protocol::{AMQPClass, parse_class};
use lapin::types::{AMQPValue, FieldTable};

use super::decode;

type Properties = basic::AMQPProperties;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEAD_LEN: usize = 7;
/// Length of the shortest content header: class, weight, size and flags.
const HEADER_LEN_MIN: usize = 14;
/// Most bytes that may be requested at once, by a reader or for a held frame.
const READ_LEN_MAX: usize = 16 << 10;

/// More nested tables than a real message has.
const NESTED_MAX: usize = 64;

/// The first octet of an input, times this, is the length to which bodies are cut.
const CUT_STEP: usize = 4;

/// The input is one octet that says how bodies are cut (0: they are not), one that says how the
/// bytes arrive, and the stream.
pub fn run(input: &[u8]) {
    let [cut, slicing, stream @ ..] = input else { return };
    let cut = (*cut > 0).then(|| usize::from(*cut) * CUT_STEP);
    let given = sanitized(stream, cut, Slicing::NONE);
    assert_eq!(
        sanitized(stream, cut, Slicing::drawn(*slicing)),
        given,
        "it depends on how the bytes arrive"
    );
    assert!(given.len() <= stream.len(), "it grows");
    assert_eq!(sanitized(&given, cut, Slicing::NONE), given, "sanitizing twice differs from once");
    match cut {
        None => check_each(stream, &given),
        Some(len_max) => check_bodies(stream, &given, len_max as u64),
    }
    check_readable(&given);
}

/// In which portions the bytes arrive, and how much room the reader offers.
#[derive(Clone, Copy)]
struct Slicing {
    state: u64,
    /// Most bytes that arrive or are requested at a time.
    len_max: usize,
}

impl Slicing {
    const NONE: Self = Self { state: 0, len_max: usize::MAX };

    fn drawn(seed: u8) -> Self {
        let state = 0x9e37_79b9_7f4a_7c15 ^ u64::from(seed);
        Self { state, len_max: 1 << (seed % 11) }
    }

    /// The next portion: at most `len_max`, and 0 for "not ready".
    fn next(&mut self) -> usize {
        if self.state == 0 {
            return self.len_max;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 32).expect("64 bits") % (self.len_max + 1)
    }
}

/// A stream that delivers its bytes in portions and is not always ready.
struct Portions<'a> {
    bytes: &'a [u8],
    slicing: Slicing,
    room_max: usize,
}

impl AsyncRead for Portions<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        assert!(buffer.len() <= self.room_max, "room for {} at once", buffer.len());
        let len = self.slicing.next().min(buffer.len()).min(self.bytes.len());
        if len == 0 && !self.bytes.is_empty() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let (portion, rest) = self.bytes.split_at(len);
        buffer[..len].copy_from_slice(portion);
        self.bytes = rest;
        Poll::Ready(Ok(len))
    }
}

/// The bytes that a reader of the sanitized stream gets.
fn sanitized(bytes: &[u8], cut: Option<usize>, slicing: Slicing) -> Vec<u8> {
    let mut room = slicing;
    let mut buffer = vec![0; room.len_max.min(4 * READ_LEN_MAX)];
    let portions = Portions { bytes, slicing, room_max: buffer.len().max(READ_LEN_MAX) };
    let mut sanitized = match cut {
        Some(len_max) => Sanitized::cutting(portions, len_max),
        None => Sanitized::new(portions),
    };
    let mut given = Vec::new();
    loop {
        let room = room.next().clamp(1, buffer.len());
        match block_on(sanitized.read(&mut buffer[..room])).expect("no error") {
            0 => return given,
            len => given.extend_from_slice(&buffer[..len]),
        }
    }
}

/// Iterates over complete frames; what is left is an incomplete one.
struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let [kind, _, _, a, b, c, d, ..] = self.0 else { return None };
        let len = HEAD_LEN + u32::from_be_bytes([*a, *b, *c, *d]) as usize + 1;
        if *kind == b'A' || len > self.0.len() {
            return None;
        }
        let (frame, rest) = self.0.split_at(len);
        self.0 = rest;
        Some(frame)
    }
}

fn payload(frame: &[u8]) -> &[u8] {
    &frame[HEAD_LEN..frame.len() - 1]
}

/// Without cuts, each frame is sanitized independently of the others.
fn check_each(stream: &[u8], given: &[u8]) {
    let mut frames = Frames(stream);
    let mut apart = Vec::new();
    for frame in &mut frames {
        let alone = sanitized(frame, None, Slicing::NONE);
        check_sanitized(frame, &alone);
        apart.extend(alone);
    }
    apart.extend(sanitized(frames.0, None, Slicing::NONE));
    assert_eq!(apart, given, "one frame changes another");
}

/// A frame is changed only where that is needed.
fn check_sanitized(frame: &[u8], sanitized: &[u8]) {
    if frame == sanitized {
        return;
    }
    // The client library would overflow the stack on deep nesting, so do not let it parse that.
    let shallow = frame.iter().filter(|b| matches!(b, b'A' | b'F')).count() < NESTED_MAX;
    let before = if shallow { properties(frame) } else { None };
    if let ([kept @ .., 0, 0], HEADER) = (payload(sanitized), frame[0])
        && kept.len() == HEADER_LEN_MIN - 2
    {
        assert!(before.is_none() && payload(frame).starts_with(kept), "dropped: {frame:?}");
        return;
    }
    assert_eq!(sanitized.len(), frame.len(), "{frame:?} became {sanitized:?}");
    for (old, new) in frame.iter().zip(sanitized).filter(|(old, new)| old != new) {
        let allowed = matches!((old, new), (0x80.., b'?') | (b'A' | b'F', b'x'));
        assert!(allowed, "{frame:?} became {sanitized:?}");
    }
    match frame[0] {
        METHOD => assert!(method(frame).is_none(), "{frame:?}"),
        _ => {
            let after = properties(sanitized).expect("readable properties");
            before.iter().for_each(|before| check_opaque(before, &after));
        }
    }
}

/// Readable properties stay, except nested values, which become opaque.
fn check_opaque(before: &Properties, after: &Properties) {
    let apart = |properties: &Properties| {
        let headers = properties.headers().clone().unwrap_or_default();
        (format!("{:?}", properties.clone().with_headers(FieldTable::default())), headers)
    };
    let ((before, nested), (after, opaque)) = (apart(before), apart(after));
    assert_eq!(before, after);
    assert_eq!(nested.inner().len(), opaque.inner().len());
    for ((name, old), (_, new)) in nested.inner().iter().zip(opaque.inner()) {
        match (old, new) {
            (AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_), AMQPValue::ByteArray(_)) => {}
            _ => assert_eq!(format!("{old:?}"), format!("{new:?}"), "{name}"),
        }
    }
}

/// A method's frame as the client library parses it.
fn method(frame: &[u8]) -> Option<AMQPClass> {
    let (rest, class) = parse_class(payload(frame)).ok()?;
    rest.is_empty().then_some(class)
}

/// A content header's properties as the client library parses them.
fn properties(frame: &[u8]) -> Option<Properties> {
    let properties = payload(frame).get(HEADER_LEN_MIN - 2..)?;
    // The two lowest flags announce further flags, which the library does not support.
    if properties.get(1)? & 0b11 != 0 {
        return None;
    }
    let (rest, read) = basic::parse_properties(properties).ok()?;
    rest.is_empty().then_some(read)
}

/// The client library can parse every message of the sanitized stream, and the decoder handles it.
fn check_readable(given: &[u8]) {
    let mut key = String::new();
    let mut message = None;
    for frame in Frames(given) {
        match frame[0] {
            METHOD if is_delivery(payload(frame)) => match method(frame) {
                Some(AMQPClass::Basic(AMQPMethod::Deliver(deliver))) => {
                    key = deliver.routing_key.to_string();
                }
                Some(AMQPClass::Basic(AMQPMethod::GetOk(_))) => {}
                other => panic!("{frame:?} is read as {other:?}"),
            },
            HEADER if payload(frame).len() >= HEADER_LEN_MIN => {
                let read = properties(frame).unwrap_or_else(|| panic!("not read: {frame:?}"));
                message = Some(read);
            }
            BODY => {
                if let Some(properties) = message.take() {
                    decode::check(&received(&key, properties, payload(frame)));
                }
            }
            _ => {}
        }
    }
}

fn received(key: &str, properties: Properties, body: &[u8]) -> Received {
    let mut delivery = Delivery::mock(1, "".into(), key.into(), true, body.to_vec());
    delivery.properties = properties;
    consumer::received(delivery)
}

/// Whether a method is a delivery whose parts have the lengths that they claim.
fn is_delivery(payload: &[u8]) -> bool {
    let text = |rest: &[u8]| -> Option<usize> {
        let len = 1 + usize::from(*rest.first()?);
        (len <= rest.len()).then_some(len)
    };
    let sound = |texts_before: usize, behind: usize| -> Option<bool> {
        let mut at = 4;
        for _ in 0..texts_before {
            at += text(payload.get(at..)?)?;
        }
        at += 9;
        for _ in 0..2 {
            at += text(payload.get(at..)?)?;
        }
        Some(at + behind == payload.len())
    };
    match payload {
        [0, 60, 0, 60, ..] => sound(1, 0),
        [0, 60, 0, 71, ..] => sound(0, 4),
        _ => None,
    }
    .unwrap_or(false)
}

/// A body's announced length, and how much of it arrived.
#[derive(Debug, PartialEq, Eq)]
struct Carried {
    announced: u64,
    came: u64,
}

/// The bodies in a stream, in the order of their headers. `None` if more arrives than is announced,
/// or a header is too short to announce anything.
fn bodies(stream: &[u8]) -> Option<Vec<Carried>> {
    let mut bodies: Vec<Carried> = Vec::new();
    let mut last = HashMap::new();
    for frame in Frames(stream) {
        let channel = [frame[1], frame[2]];
        match frame[0] {
            HEADER => {
                let size = payload(frame).get(4..12)?.try_into().expect("eight");
                last.insert(channel, bodies.len());
                bodies.push(Carried { announced: u64::from_be_bytes(size), came: 0 });
            }
            BODY => {
                let body = &mut bodies[*last.get(&channel)?];
                body.came += payload(frame).len() as u64;
                if body.came > body.announced {
                    return None;
                }
            }
            _ => {}
        }
    }
    Some(bodies)
}

/// Bodies that are longer than `len_max` have that length in the sanitized stream.
fn check_bodies(stream: &[u8], given: &[u8], len_max: u64) {
    let Some(sent) = bodies(stream) else { return };
    let cut = |body: Carried| Carried {
        announced: body.announced.min(len_max),
        came: body.came.min(len_max),
    };
    let expected: Vec<Carried> = sent.into_iter().map(cut).collect();
    assert_eq!(bodies(given).expect("no more than announced"), expected);
}
