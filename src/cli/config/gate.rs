//! Settings of a gate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use strum::VariantNames;

use crate::domain::id::ServerId;
use crate::gate::adapters::Adapter;

/// Longest name of a gate, in bytes. The database keeps no longer ones.
const NAME_LEN_MAX: usize = 64;

/// Longest time without a database, in seconds: the plan covers little more than a day.
const STALE_SECONDS_MAX: u64 = 86_400;

/// Shortest hook token, in characters: some 95 bits if they are random.
const TOKEN_LEN_MIN: usize = 16;

/// The first part of hooks' paths.
pub struct HookToken(pub String);

impl FromStr for HookToken {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        match plain && text.len() >= TOKEN_LEN_MIN {
            true => Ok(Self(text.to_owned())),
            false => Err(format!(
                "expected at least {TOKEN_LEN_MIN} characters of a-z, A-Z, 0-9, '-' and '_', such as from \
                 `openssl rand -hex 16`"
            )),
        }
    }
}

pub(super) fn server_id(text: &str) -> Result<ServerId, String> {
    text.parse().map_err(|error| format!("{text:?}: {error}"))
}

pub(super) fn adapter(text: &str) -> Result<Adapter, String> {
    text.parse().map_err(|_| format!("{text:?} is none of {}", Adapter::VARIANTS.join(", ")))
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{text:?} is no IP address and port, such as 127.0.0.1:8070"))
}

pub(super) fn gate_name(text: &str) -> Result<String, String> {
    match text.len() <= NAME_LEN_MAX {
        true => Ok(text.to_owned()),
        false => Err(format!("expected at most {NAME_LEN_MAX} bytes")),
    }
}

pub(super) fn stale_max(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (1..=STALE_SECONDS_MAX).contains(seconds))
        .map(Duration::from_secs)
        .ok_or_else(|| {
            format!("{text:?} is no whole number of seconds from 1 to {STALE_SECONDS_MAX}")
        })
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

/// The machine's name and the port.
pub(super) fn default_name(listen: SocketAddr) -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let port = format!(":{}", listen.port());
    let host: String =
        host.chars().filter(char::is_ascii).take(NAME_LEN_MAX - port.len()).collect();
    host + &port
}
