//! Sanitizes a connection while it is read.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::{Runtime, Tokio};
use futures::Stream;
use futures::io::{AsyncRead, AsyncWrite};
use lapin::AsyncTcpStream;

use super::bodies::{Bodies, Cut};
use super::frame::{self, BODY, Frame};
use super::headers;
use crate::broker::silence::Pulse;

/// Growth of an incomplete frame's buffer, in bytes: a frame's length is only a claim until its
/// bytes arrive.
const READ_LEN_MAX: usize = 16 << 10;

pub(in crate::broker) type Plain = AsyncTcpStream<<Tokio as Reactor>::TcpStream>;

/// Repairs complete frames where needed; other bytes pass as they arrive.
pub struct Sanitized<S> {
    stream: S,
    /// Applies to the bytes before the next frame's head.
    cut: Cut,
    /// Set if bodies are cut and headers reduced.
    bodies: Option<Bodies>,
    /// An incomplete frame.
    held: Vec<u8>,
    /// Bytes of the complete held frame that the reader has.
    given: Option<usize>,
    pulse: Option<Arc<Pulse>>,
}

impl<S> Sanitized<S> {
    /// Repairs frames read from `stream`.
    pub fn new(stream: S) -> Self {
        let cut = Cut::default();
        Self { stream, cut, bodies: None, held: Vec::new(), given: None, pulse: None }
    }

    /// Also cuts bodies to `len_max` bytes and drops unread headers.
    pub fn cutting(stream: S, len_max: usize) -> Self {
        Self { bodies: Some(Bodies::cut_to(len_max)), ..Self::new(stream) }
    }

    /// Also fails after `limit` of silence. Needs a runtime.
    pub fn ending_when_silent(self, limit: Duration) -> Self {
        Self { pulse: Some(Pulse::watch(limit)), ..self }
    }

    /// Repairs the arrived bytes, moves an incomplete frame to `held`, and returns how many bytes
    /// the reader may have.
    fn sanitize(&mut self, arrived: &mut [u8]) -> usize {
        let (mut at, mut len) = (0, arrived.len());
        loop {
            (at, len) = self.cut.apply(arrived, at, len);
            if at == len {
                return at;
            }
            match frame::look(&arrived[at..len]) {
                Frame::Opaque(frame) => {
                    self.cut = cut(&mut self.bodies, &mut arrived[at..len], frame);
                }
                Frame::Whole(frame) => {
                    let kept = sanitize(&mut self.bodies, &mut arrived[at..at + frame]);
                    if kept < frame {
                        arrived.copy_within(at + frame..len, at + kept);
                        len -= frame - kept;
                    }
                    at += kept;
                }
                Frame::Missing(_) => {
                    self.held.extend_from_slice(&arrived[at..len]);
                    return at;
                }
            }
        }
    }

    /// Copies the held frame's rest to the reader, as far as it fits.
    fn give(&mut self, given: usize, buffer: &mut [u8]) -> usize {
        let rest = &self.held[given..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.given = Some(given + len);
        if given + len == self.held.len() {
            self.held.clear();
            self.given = None;
        }
        len
    }
}

fn poll_source<S: AsyncRead + Unpin>(
    stream: &mut S,
    pulse: Option<&Pulse>,
    cx: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    match pulse {
        Some(pulse) => pulse.poll_read(stream, cx, buffer),
        None => Pin::new(stream).poll_read(cx, buffer),
    }
}

fn sanitize(bodies: &mut Option<Bodies>, frame: &mut [u8]) -> usize {
    let kept = frame::sanitize(frame);
    let Some(bodies) = bodies else { return kept };
    bodies.announce(&mut frame[..kept]);
    headers::reduce(&mut frame[..kept])
}

fn cut(bodies: &mut Option<Bodies>, head: &mut [u8], frame: usize) -> Cut {
    match bodies {
        Some(bodies) if head[0] == BODY => bodies.cut(head),
        _ => Cut::pass(frame),
    }
}

impl<S: AsyncRead + Unpin> Sanitized<S> {
    /// Reads only the held frame's rest, until its treatment is decided. `false` at the stream's
    /// end.
    fn poll_complete(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            match frame::look(&self.held) {
                Frame::Missing(missing) => {
                    let at = self.held.len();
                    self.held.resize(at + missing.min(READ_LEN_MAX), 0);
                    let (stream, pulse) = (&mut self.stream, self.pulse.as_deref());
                    let read = poll_source(stream, pulse, cx, &mut self.held[at..]);
                    let arrived = if let Poll::Ready(Ok(arrived)) = &read { *arrived } else { 0 };
                    self.held.truncate(at + arrived);
                    if ready!(read)? == 0 {
                        return Poll::Ready(Ok(false));
                    }
                    continue;
                }
                Frame::Opaque(frame) => {
                    let len = self.held.len();
                    self.cut = cut(&mut self.bodies, &mut self.held, frame);
                    let (kept, _) = self.cut.apply(&mut self.held, 0, len);
                    self.held.truncate(kept);
                }
                Frame::Whole(_) => {
                    let kept = sanitize(&mut self.bodies, &mut self.held);
                    self.held.truncate(kept);
                }
            }
            self.given = (!self.held.is_empty()).then_some(0);
            return Poll::Ready(Ok(true));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Sanitized<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            if let Some(given) = this.given {
                return Poll::Ready(Ok(this.give(given, buffer)));
            }
            if this.held.is_empty() {
                let (stream, pulse) = (&mut this.stream, this.pulse.as_deref());
                let arrived = ready!(poll_source(stream, pulse, cx, buffer))?;
                let given = this.sanitize(&mut buffer[..arrived]);
                if given > 0 || arrived == 0 {
                    return Poll::Ready(Ok(given));
                }
            } else if !ready!(this.poll_complete(cx))? {
                return Poll::Ready(Ok(0));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Sanitized<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Tokio's reactor with sanitized streams: lapin takes its stream type from it.
#[derive(Debug, Clone)]
pub(in crate::broker) struct SanitizingReactor(pub(in crate::broker) Runtime<Tokio>);

impl Reactor for SanitizingReactor {
    type TcpStream = Sanitized<Plain>;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + AsFd + AsRawFd + Send + 'static>(
        &self,
        socket: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        self.0.register(socket)
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        address: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        let connecting = self.0.tcp_connect_addr(address);
        async move { Ok(Sanitized::new(AsyncTcpStream::Plain(connecting.await?))) }
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use futures::io::AsyncReadExt;
    use rand::Rng;

    use super::*;

    struct Portions(Vec<Vec<u8>>);

    impl AsyncRead for Portions {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buffer: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let Some(first) = self.0.first_mut() else { return Poll::Ready(Ok(0)) };
            let len = first.len().min(buffer.len());
            buffer[..len].copy_from_slice(&first[..len]);
            first.drain(..len);
            if first.is_empty() {
                self.0.remove(0);
            }
            Poll::Ready(Ok(len))
        }
    }

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&[kind, 0, 1], &len[..], payload, &[0xce]].concat()
    }

    /// Frames of all types, some to be changed, and the expected result.
    fn stream() -> (Vec<u8>, Vec<u8>) {
        let deliver = |key: &[u8]| {
            let start = [&[0, 60, 0, 60, 1, b'c'], &[0; 9][..], &[0]].concat();
            frame(1, &[&start[..], &[key.len() as u8], key].concat())
        };
        let header =
            |rest: &[u8]| frame(2, &[&[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9], rest].concat());
        let body = frame(3, b"\x01\x00\x01\x00\x00\x00\x00\xff\xfe");
        let sent = [
            deliver(b"ann.\xff"),
            header(b"\x04\x00\x02\xc3\x28"),
            body.clone(),
            header(b"\x04\x01\x02\xc3\x28"),
            body.clone(),
            frame(8, b""),
        ];
        let given = [
            deliver(b"ann.?"),
            header(b"\x04\x00\x02?("),
            body.clone(),
            header(b"\x00\x00"),
            body,
            frame(8, b""),
        ];
        (sent.concat().repeat(5), given.concat().repeat(5))
    }

    #[test]
    fn the_result_does_not_depend_on_how_bytes_arrive() {
        let (sent, expected) = stream();
        for portion in 1..sent.len() + 1 {
            let portions = sent.chunks(portion).map(<[u8]>::to_vec).collect();
            let mut given = Vec::new();
            let mut sanitized = Sanitized::new(Portions(portions));
            block_on(sanitized.read_to_end(&mut given)).unwrap();
            assert!(given == expected, "portions of {portion}");
        }
        for room in 1..64 {
            let mut sanitized = Sanitized::new(Portions(vec![sent.clone()]));
            let mut given = Vec::new();
            let mut buffer = vec![0; room];
            while let len @ 1.. = block_on(sanitized.read(&mut buffer)).unwrap() {
                given.extend_from_slice(&buffer[..len]);
            }
            assert!(given == expected, "room for {room}");
        }
    }

    #[test]
    fn noise_passes_without_a_panic_and_never_grows() {
        let mut rng = rand::rng();
        let (sent, _) = stream();
        for _ in 0..2_000 {
            let mut noisy = sent.clone();
            for _ in 0..rng.random_range(1..20) {
                let at = rng.random_range(0..noisy.len());
                noisy[at] = rng.random();
            }
            let len = noisy.len();
            let portion = rng.random_range(1..len);
            let portions = noisy.chunks(portion).map(<[u8]>::to_vec).collect();
            let mut given = Vec::new();
            block_on(Sanitized::cutting(Portions(portions), 4).read_to_end(&mut given)).unwrap();
            assert!(given.len() <= len);
        }
    }

    /// A message with `len` bytes of body in frames of `frame_len`.
    fn message(len: usize, frame_len: usize, channel: u8) -> Vec<u8> {
        let body: Vec<u8> = (0..len).map(|n| n as u8).collect();
        let size = (len as u64).to_be_bytes();
        let header = frame(2, &[&[0, 60, 0, 0], &size[..], &[0, 0]].concat());
        let parts = body.chunks(frame_len).flat_map(|part| frame(3, part));
        let mut message: Vec<u8> = header.into_iter().chain(parts).collect();
        let mut at = 0;
        while at < message.len() {
            message[at + 2] = channel;
            let payload = u32::from_be_bytes(message[at + 3..at + 7].try_into().unwrap());
            at += 8 + payload as usize;
        }
        message
    }

    #[test]
    fn a_long_body_is_cut_and_its_frames_add_up() {
        const CUT: usize = 20;
        for (len, frame_len, given_len) in [
            (0, 7, 0),
            (20, 7, 20),
            (21, 7, 20),
            (21, 21, 20),
            (22, 21, 20),
            (27, 20, 20),
            (40, 20, 20),
            (400, 7, 20),
            (400, 1, 20),
        ] {
            let heartbeat = frame(8, b"");
            let sent = [message(len, frame_len, 1), heartbeat.clone(), message(5, 9, 1)].concat();
            let cut = message(given_len, frame_len, 1);
            let expected = [cut, heartbeat, message(5, 9, 1)].concat();
            for portion in 1..sent.len() + 1 {
                let portions = sent.chunks(portion).map(<[u8]>::to_vec).collect();
                let mut given = Vec::new();
                let mut sanitized = Sanitized::cutting(Portions(portions), CUT);
                block_on(sanitized.read_to_end(&mut given)).unwrap();
                assert!(given == expected, "{len} in {frame_len}, portions of {portion}");
            }
        }
    }

    #[test]
    fn bodies_on_several_channels_are_cut_apart() {
        let parts = |message: Vec<u8>| -> (Vec<u8>, Vec<Vec<u8>>) {
            let (header, body) = message.split_at(22);
            (header.to_vec(), body.chunks(18).map(<[u8]>::to_vec).collect())
        };
        let weave = |one: Vec<u8>, two: Vec<u8>| -> Vec<u8> {
            let ((header_1, one), (header_2, two)) = (parts(one), parts(two));
            let mut stream = [header_1, header_2].concat();
            for n in 0..one.len().max(two.len()) {
                stream.extend(one.get(n).into_iter().chain(two.get(n)).flatten());
            }
            stream
        };
        let sent = weave(message(95, 10, 1), message(40, 10, 2));
        let mut given = Vec::new();
        let mut sanitized = Sanitized::cutting(Portions(vec![sent]), 20);
        block_on(sanitized.read_to_end(&mut given)).unwrap();
        assert_eq!(given, weave(message(20, 10, 1), message(20, 10, 2)));
    }

    #[test]
    fn a_protocol_header_passes_unchanged() {
        let refusal = b"AMQP\0\0\x09\x01".to_vec();
        let mut given = Vec::new();
        block_on(Sanitized::new(Portions(vec![refusal.clone()])).read_to_end(&mut given)).unwrap();
        assert_eq!(given, refusal);
    }
}
