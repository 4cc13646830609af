//! The socket of a connection, which does not wait for a silent server for ever.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep, sleep};
use tokio_postgres::Config;

/// A connection to a server, without TLS.
pub struct Socket {
    wire: Wire,
    silence: Option<Silence>,
}

enum Wire {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The server answers everything that it is sent. A kernel acknowledges for a frozen process, so TCP does not
/// notice.
struct Silence {
    limit: Duration,
    /// Whether something was sent since the last read.
    awaited: bool,
    until: Pin<Box<Sleep>>,
}

impl Socket {
    pub async fn tcp(address: std::net::SocketAddr, config: &Config) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_user_timeout(config.get_tcp_user_timeout().copied())?;
        if config.get_keepalives() {
            let mut keepalive = TcpKeepalive::new().with_time(config.get_keepalives_idle());
            if let Some(interval) = config.get_keepalives_interval() {
                keepalive = keepalive.with_interval(interval);
            }
            if let Some(retries) = config.get_keepalives_retries() {
                keepalive = keepalive.with_retries(retries);
            }
            socket.set_tcp_keepalive(&keepalive)?;
        }
        Ok(Self { wire: Wire::Tcp(stream), silence: None })
    }

    pub async fn unix(path: &Path) -> io::Result<Self> {
        Ok(Self { wire: Wire::Unix(UnixStream::connect(path).await?), silence: None })
    }

    /// Makes reads fail after `limit` without an answer.
    pub fn ending_when_silent(mut self, limit: Duration) -> Self {
        let until = Box::pin(sleep(limit));
        self.silence = Some(Silence { limit, awaited: false, until });
        self
    }

    fn read_wire(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }

    fn write_wire(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Wire::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }
}

impl Silence {
    /// The task that writes also reads, so this wakes the reader.
    fn sent(&mut self, cx: &mut Context<'_>) {
        if !self.awaited {
            self.awaited = true;
            self.until.as_mut().reset(Instant::now() + self.limit);
            // Registers the task. Not yet due.
            let _pending = self.until.as_mut().poll(cx);
        }
    }

    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.awaited || self.until.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let late = format!("no answer from the database within {} s", self.limit.as_secs());
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, late)))
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = this.read_wire(cx, buffer);
        match &mut this.silence {
            Some(silence) if read.is_pending() => silence.poll_due(cx),
            Some(silence) => {
                silence.awaited = false;
                read
            }
            None => read,
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = this.write_wire(cx, bytes);
        if let Some(silence) = &mut this.silence {
            silence.sent(cx);
        }
        written
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(50);

    async fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ours = Socket::tcp(address, &Config::new()).await.unwrap().ending_when_silent(LIMIT);
        (ours, listener.accept().await.unwrap().0)
    }

    #[tokio::test]
    async fn a_question_without_an_answer_ends_the_connection() {
        let (mut ours, mut theirs) = pair().await;
        let mut buffer = [0; 1];
        for _ in 0..3 {
            ours.write_all(b"?").await.unwrap();
            theirs.write_all(b"!").await.unwrap();
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 1);
        }
        ours.write_all(b"?").await.unwrap();
        let error = ours.read(&mut buffer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn nothing_is_expected_from_a_server_that_was_asked_nothing() {
        let (mut ours, _theirs) = pair().await;
        assert!(timeout(LIMIT * 4, ours.read(&mut [0; 1])).await.is_err());
    }
}
