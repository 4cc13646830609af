//! A host's addresses: each gets its own time, so that a silent one does not use up that of the others.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;

/// Bound on asking for a name's addresses. It comes before the time of the addresses.
pub(crate) const RESOLVE_TIMEOUT: Duration = Duration::from_secs(2);

/// The address that answered last. It is tried first: otherwise each connection would wait for a silent
/// one before it.
#[derive(Clone, Default)]
pub(crate) struct Recent(Arc<Mutex<Option<SocketAddr>>>);

impl Recent {
    /// What answered last.
    pub fn get(&self) -> Option<SocketAddr> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of what answered; `None` if it answers no longer.
    pub fn set(&self, address: Option<SocketAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = address;
    }
}

/// The addresses of a name, in the resolver's order, each once.
pub(crate) async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let asked = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port))).await;
    let found = asked.map_err(|_| {
        let late = format!("no answer about the name within {} s", RESOLVE_TIMEOUT.as_secs());
        io::Error::new(io::ErrorKind::TimedOut, late)
    })??;
    let mut addresses = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match addresses.is_empty() {
        true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
        false => Ok(addresses),
    }
}

/// The time of each of `count` attempts that have `whole` together.
pub(crate) fn share(whole: Duration, count: usize) -> Duration {
    whole / u32::try_from(count.max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_share_the_time() {
        let whole = Duration::from_secs(6);
        assert_eq!(share(whole, 0), whole);
        assert_eq!(share(whole, 3) * 3, whole);
    }

    #[tokio::test]
    async fn a_literal_is_its_own_address() {
        let found = resolve("127.0.0.2", 5).await.unwrap();
        assert_eq!(found, ["127.0.0.2:5".parse().unwrap()]);
    }
}
