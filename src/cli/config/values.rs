//! Value parsers. An error says what was expected.

use std::net::SocketAddr;
use std::time::Duration;

use strum::EnumString;
use tracing_subscriber::EnvFilter;

use crate::worker::settings::BATCH_MAX;

/// No supervisor waits longer than an hour, and no missed deadline may.
const SECONDS_MAX: f64 = 3_600.0;
/// More frequent sweeps only cost queries.
const SWEEP_SECONDS_MIN: f64 = 0.1;

/// lapin logs returned messages with their body at `warn`. This precedes the configured filter, so
/// only a filter that names the target shows bodies.
const NO_BODIES: &str = "lapin::returned_messages=error";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString)]
#[strum(serialize_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Hides bodies unless `filter` asks for them.
pub(super) fn with_defaults(filter: &str) -> String {
    format!("{NO_BODIES},{filter}")
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let filter = with_defaults(text);
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(format!("{text:?} is no filter: {error}")),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    text.parse().map_err(|_| format!("{text:?} is neither text nor json"))
}

pub(super) fn batch_max(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=BATCH_MAX).contains(number))
        .ok_or_else(|| format!("{text:?} is no whole number from 1 to {BATCH_MAX}"))
}

pub(super) fn http_listen(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        "off" => Ok(None),
        _ => text.parse().map(Some).map_err(|_| {
            format!(
                "{text:?} is neither off nor an IP address and a port, such as 127.0.0.1:9464 or \
                 [::]:9464"
            )
        }),
    }
}

pub(super) fn drain_grace(text: &str) -> Result<Duration, String> {
    seconds(text, 0.0)
}

pub(super) fn sweep_interval(text: &str) -> Result<Duration, String> {
    seconds(text, SWEEP_SECONDS_MIN)
}

fn seconds(text: &str, min: f64) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|number| (min..=SECONDS_MAX).contains(number))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("{text:?} is no number of seconds from {min} to {SECONDS_MAX}"))
}

/// Longest name of an operator, in characters: some are e-mail addresses.
const OPERATOR_LEN_MAX: usize = 254;

pub(super) fn operator(text: &str) -> Result<String, String> {
    let name = text.trim();
    match (1..=OPERATOR_LEN_MAX).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
    {
        true => Ok(name.to_owned()),
        false => Err(format!("expected 1 to {OPERATOR_LEN_MAX} characters on one line")),
    }
}

pub(super) fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    }
}
