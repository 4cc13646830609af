//! Ports for programs that are started.

use std::io;
use std::net::TcpListener;

/// Free ports of the loopback interface. Another process may take one before it is used.
pub fn free(count: usize) -> io::Result<Vec<u16>> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    listeners.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}
