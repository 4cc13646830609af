//! Ends a silent connection.
//!
//! lapin 4.12.3 detects a silent peer only while a connection is in use. During the handshake and a
//! `close` its thread waits as long as the socket is open. A frozen broker would cost one thread
//! per attempt to connect.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::io::AsyncRead;
use futures::task::AtomicWaker;
use tokio::time::sleep;

/// The time of a stream's last read.
pub struct Pulse {
    last: Mutex<Instant>,
    silent: AtomicBool,
    reader: AtomicWaker,
}

impl Pulse {
    /// Makes reads fail after `limit` of silence. Needs a runtime.
    pub fn watch(limit: Duration) -> Arc<Self> {
        let pulse = Arc::new(Self {
            last: Mutex::new(Instant::now()),
            silent: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        });
        tokio::spawn(end_when_silent(Arc::downgrade(&pulse), limit));
        pulse
    }

    /// Reads from the stream.
    pub fn poll_read<S: AsyncRead + Unpin>(
        &self,
        stream: &mut S,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        // Before the flag is read, so that no change is missed.
        self.reader.register(cx.waker());
        if self.silent.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let read = Pin::new(stream).poll_read(cx, buffer);
        if read.is_ready() {
            *self.last() = Instant::now();
        }
        read
    }

    fn last(&self) -> MutexGuard<'_, Instant> {
        self.last.lock().expect("no panics")
    }
}

/// Ends with the stream, or after `limit` of silence.
async fn end_when_silent(pulse: Weak<Pulse>, limit: Duration) {
    let mut left = limit;
    while !left.is_zero() {
        sleep(left).await;
        let Some(pulse) = pulse.upgrade() else { return };
        left = limit.saturating_sub(pulse.last().elapsed());
    }
    if let Some(pulse) = pulse.upgrade() {
        pulse.silent.store(true, Ordering::Release);
        pulse.reader.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    /// So many bytes, then silence.
    struct Source(usize);

    impl AsyncRead for Source {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            match self.0.checked_sub(1) {
                Some(left) => {
                    self.0 = left;
                    Poll::Ready(Ok(1))
                }
                None => Poll::Pending,
            }
        }
    }

    #[tokio::test]
    async fn a_read_of_a_silent_stream_fails() {
        let (pulse, mut source) = (Pulse::watch(LIMIT), Source(3));
        let mut read = 0;
        let error = loop {
            match poll_fn(|cx| pulse.poll_read(&mut source, cx, &mut [0])).await {
                Ok(count) => read += count,
                Err(error) => break error,
            }
        };
        assert_eq!((read, error.kind()), (3, io::ErrorKind::TimedOut));
    }

    #[tokio::test]
    async fn a_stream_that_says_something_now_and_then_goes_on() {
        let (pulse, mut source) = (Pulse::watch(LIMIT), Source(20));
        while source.0 > 0 {
            let read = poll_fn(|cx| pulse.poll_read(&mut source, cx, &mut [0])).await;
            assert_eq!(read.expect("it is not silent"), 1);
            sleep(LIMIT / 10).await;
        }
    }
}
