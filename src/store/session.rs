//! Settings of a session: sent when it starts, and read back.
//!
//! Decisions rest on them. A pooler in between may drop what is sent. See
//! `docs/decisions/0031-session-settings-are-read-back.md`.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::error::StoreError;
use super::sql;

/// A setting and its value, as PostgreSQL prints it.
pub(super) type Setting = (&'static str, &'static str);

/// Bounds on a stuck batch; a healthy one takes milliseconds. An idle transaction belongs to a frozen
/// worker: its locks must end soon after the takeover.
pub(super) const LIMITS: &[Setting] = &[
    ("statement_timeout", "20s"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "10s"),
    ("TimeZone", "UTC"),
    ("default_transaction_isolation", "read committed"),
];

/// Bounds for operators' commands, which may count millions of rows. They wait no longer for a lock than
/// workers do: a change that waits makes decisions queue behind it. The server notices within two seconds
/// that the program was interrupted, and rolls back.
pub(super) const OPERATOR: &[Setting] = &[
    ("statement_timeout", "1h"),
    ("lock_timeout", "5s"),
    ("idle_in_transaction_session_timeout", "1min"),
    ("client_connection_check_interval", "2s"),
    ("TimeZone", "UTC"),
    ("default_transaction_isolation", "read committed"),
];

/// Each statement is planned once per connection, for any array, and statistics of a young table cannot
/// cause a sequential scan. Otherwise planning took as long as executing. See
/// `docs/decisions/0022-statements-are-planned-once.md`.
pub(super) const PLANNER: &[Setting] = &[
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// Later lock requests queue behind a waiting migration, so its `lock_timeout` is shorter than the workers'.
pub(super) const MIGRATION: &[Setting] = &[("lock_timeout", "2s"), ("TimeZone", "UTC")];

/// The startup parameter `options`. What the URL gives comes last, and wins.
pub(super) fn options(settings: &[Setting], given: Option<&str>) -> String {
    let ours = settings.iter().map(|(name, value)| {
        let value = value.replace(' ', "\\ ");
        format!("-c {name}={value}")
    });
    ours.chain(given.map(str::to_owned)).collect::<Vec<_>>().join(" ")
}

/// The settings whose values the URL does not give itself.
pub(super) fn expected(settings: &[Setting], given: Option<&str>) -> Vec<Setting> {
    let given: Vec<String> = given
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(name, _)| name.trim_start_matches("-c").trim_start_matches('-').replace('-', "_"))
        .collect();
    let is_ours = |(name, _): &Setting| !given.iter().any(|given| given.eq_ignore_ascii_case(name));
    settings.iter().copied().filter(is_ours).collect()
}

/// Reads back what was sent. Fails if it is different, or if the session is read-only but must write.
pub(super) async fn check(
    client: &Client,
    expected: &[Setting],
    writable: bool,
) -> Result<(), StoreError> {
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    // One round trip: a pooler of transactions might send the next one to another server process.
    let rows = client.query_typed(sql!("load_session"), &[(&names, Type::TEXT_ARRAY)]).await?;
    if writable && rows.iter().any(|row| row.get("read_only")) {
        return Err(StoreError::ReadOnly);
    }
    let mut wrong = Vec::new();
    for (name, value) in expected {
        let row = rows.iter().find(|row| row.get::<_, &str>("name") == *name);
        let found = row.and_then(|row| row.get::<_, Option<String>>("value"));
        if found.as_deref() != Some(*value) {
            let found = found.unwrap_or_else(|| "unknown".to_owned());
            wrong.push(format!("{name} is {found:?} instead of {value:?}"));
        }
    }
    match wrong.is_empty() {
        true => Ok(()),
        false => Err(StoreError::Session(wrong.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urls_options_win_and_are_not_read_back() {
        let some = &[("lock_timeout", "5s"), ("default_transaction_isolation", "read committed")];
        assert_eq!(
            options(some, Some("-c lock_timeout=1s")),
            "-c lock_timeout=5s -c default_transaction_isolation=read\\ committed -c lock_timeout=1s"
        );
        assert_eq!(expected(some, None), some);
        for given in ["-c lock_timeout=1s", "-clock_timeout=1s", "--lock-timeout=1s"] {
            assert_eq!(expected(some, Some(given)), some[1..], "{given}");
        }
    }
}
