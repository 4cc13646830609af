//! The whole configuration, read once, before anything connects.
//!
//! Every setting is an environment variable and a flag; the flag wins. An empty value means unset.
//! A secret can also be named by a file (`<NAME>_FILE`), whose trailing newline is dropped. What is
//! set must be right, whether or not a command uses it, and all that is wrong is reported at once;
//! the value of a secret is never repeated.
//!
//! | variable | flag | default |
//! |---|---|---|
//! | `DATABASE_URL`, `DATABASE_URL_FILE` (secret) | `--database-url`, `--database-url-file` | |
//! | `AMQP_URL`, `AMQP_URL_FILE` (secret) | `--amqp-url`, `--amqp-url-file` | |
//! | `RABBITMQ_MANAGEMENT_URL`, `RABBITMQ_MANAGEMENT_URL_FILE` (secret) | `--rabbitmq-management-url`, `--rabbitmq-management-url-file` | |
//! | `RUST_LOG` | `--log-filter` | `info,lapin=off` for a worker, otherwise `warn,lapin=off` |
//! | `HOLDFAST_LOG_FORMAT` | `--log-format` | `text` |
//! | `HOLDFAST_BATCH_MAX` | `--batch-max` | 256 |
//! | `HOLDFAST_DRAIN_GRACE_SECONDS` | `--drain-grace-seconds` | 20 |
//! | `HOLDFAST_SWEEP_INTERVAL_SECONDS` | `--sweep-interval-seconds` | 8 |
//! | `HOLDFAST_LADDER` | `--ladder` | `on` |
//! | `HOLDFAST_SWEEP` | `--sweep` | `on` |
//!
//! Whatever has to be the same on all replicas is not here but in the database.

use std::fmt;
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use crate::broker::connection::Endpoint;
use crate::broker::management::Address;
use crate::store::{self, error::StoreError};
use crate::worker::settings::{BATCH_MAX as BATCH_LIMIT, Settings};

/// A setting: the environment variable and the flag that set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Name in the environment.
    pub name: &'static str,
    /// Name on the command line, without the dashes.
    pub flag: &'static str,
    /// For secrets: the variable and the flag that name a file instead.
    file: Option<(&'static str, &'static str)>,
}

/// PostgreSQL.
pub const DATABASE_URL: Variable = Variable {
    name: "DATABASE_URL",
    flag: "database-url",
    file: Some(("DATABASE_URL_FILE", "database-url-file")),
};
/// RabbitMQ, with the account to act as.
pub const AMQP_URL: Variable =
    Variable { name: "AMQP_URL", flag: "amqp-url", file: Some(("AMQP_URL_FILE", "amqp-url-file")) };
/// RabbitMQ's management API.
pub const MANAGEMENT_URL: Variable = Variable {
    name: "RABBITMQ_MANAGEMENT_URL",
    flag: "rabbitmq-management-url",
    file: Some(("RABBITMQ_MANAGEMENT_URL_FILE", "rabbitmq-management-url-file")),
};
const LOG_FILTER: Variable = plain("RUST_LOG", "log-filter");
const LOG_FORMAT: Variable = plain("HOLDFAST_LOG_FORMAT", "log-format");
const BATCH_MAX: Variable = plain("HOLDFAST_BATCH_MAX", "batch-max");
const DRAIN_GRACE: Variable = plain("HOLDFAST_DRAIN_GRACE_SECONDS", "drain-grace-seconds");
const SWEEP_INTERVAL: Variable = plain("HOLDFAST_SWEEP_INTERVAL_SECONDS", "sweep-interval-seconds");
const LADDER: Variable = plain("HOLDFAST_LADDER", "ladder");
const SWEEP: Variable = plain("HOLDFAST_SWEEP", "sweep");

/// Every setting.
pub const VARIABLES: [Variable; 10] = [
    DATABASE_URL,
    AMQP_URL,
    MANAGEMENT_URL,
    LOG_FILTER,
    LOG_FORMAT,
    BATCH_MAX,
    DRAIN_GRACE,
    SWEEP_INTERVAL,
    LADDER,
    SWEEP,
];

impl Variable {
    /// The variable and its flag, then, for a secret, those that name a file.
    pub fn names(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        std::iter::once((self.name, self.flag)).chain(self.file)
    }
}

const fn plain(name: &'static str, flag: &'static str) -> Variable {
    Variable { name, flag, file: None }
}

/// Seconds; an hour is longer than any supervisor waits, and than a missed deadline may.
const SECONDS_LIMIT: f64 = 3_600.0;
/// Seconds; sweeping more often is work for nothing.
const SWEEP_SECONDS_MIN: f64 = 0.1;

/// The client library logs returned messages with their whole body at `warn`. This is put before
/// the filter, so that only one that names the target brings them back.
const NO_BODIES: &str = "lapin::returned_messages=error";

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The configuration. Its `Debug` shows nothing, since most of it is secret.
pub struct Config {
    database_url: Option<String>,
    broker: Option<Endpoint>,
    management: Option<Address>,
    /// A filter for `tracing`, known to be right.
    pub log_filter: String,
    /// How log lines are written.
    pub log_format: LogFormat,
    batch_max: Option<usize>,
    drain_grace: Option<Duration>,
    sweep_interval: Option<Duration>,
    ladder: Option<bool>,
    sweep: Option<bool>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is wrong:\n  {}", .0.join("\n  "))]
pub struct ConfigError(pub Vec<String>);

impl Config {
    /// Reads everything. `flag` finds the value of a flag, `environment` that of a variable, each
    /// by name. What is in `needed` has to be set; `log_default` is the filter unless one is.
    pub fn read(
        flag: impl Fn(&str) -> Option<String>,
        environment: impl Fn(&str) -> Option<String>,
        needed: &[Variable],
        log_default: &str,
    ) -> Result<Self, ConfigError> {
        let mut reader =
            Reader { flag: &flag, environment: &environment, needed, wrong: Vec::new() };
        let config = Self {
            database_url: reader.parsed(DATABASE_URL, database_url),
            broker: reader.parsed(AMQP_URL, |text| text.parse()),
            management: reader.parsed(MANAGEMENT_URL, |text| text.parse()),
            log_filter: reader
                .parsed(LOG_FILTER, log_filter)
                .unwrap_or_else(|| format!("{NO_BODIES},{log_default}")),
            log_format: reader.parsed(LOG_FORMAT, log_format).unwrap_or(LogFormat::Text),
            batch_max: reader.parsed(BATCH_MAX, batch_max),
            drain_grace: reader.parsed(DRAIN_GRACE, |text| seconds(text, 0.0)),
            sweep_interval: reader.parsed(SWEEP_INTERVAL, |text| seconds(text, SWEEP_SECONDS_MIN)),
            ladder: reader.parsed(LADDER, on_off),
            sweep: reader.parsed(SWEEP, on_off),
        };
        if reader.wrong.is_empty() { Ok(config) } else { Err(ConfigError(reader.wrong)) }
    }

    /// The database's URL, which contains a password.
    pub fn database_url(&self) -> Result<&str, ConfigError> {
        self.database_url.as_deref().ok_or_else(|| missing(DATABASE_URL))
    }

    /// The broker's address.
    pub fn broker(&self) -> Result<&Endpoint, ConfigError> {
        self.broker.as_ref().ok_or_else(|| missing(AMQP_URL))
    }

    /// The address of the broker's management API.
    pub fn management(&self) -> Result<&Address, ConfigError> {
        self.management.as_ref().ok_or_else(|| missing(MANAGEMENT_URL))
    }

    /// What a worker is started with.
    pub fn worker(&self) -> Result<Settings, ConfigError> {
        let defaults = Settings::new(self.database_url()?.to_owned(), self.broker()?.clone());
        Ok(Settings {
            batch_max: self.batch_max.unwrap_or(defaults.batch_max),
            drain_grace: self.drain_grace.unwrap_or(defaults.drain_grace),
            sweep_interval: self.sweep_interval.unwrap_or(defaults.sweep_interval),
            ladder: self.ladder.unwrap_or(defaults.ladder),
            sweep: self.sweep.unwrap_or(defaults.sweep),
            ..defaults
        })
    }
}

fn missing(variable: Variable) -> ConfigError {
    ConfigError(vec![format!("{variable}: is not set")])
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (--{})", self.name, self.flag)
    }
}

/// Looks values up and collects what is wrong.
struct Reader<'a> {
    flag: &'a dyn Fn(&str) -> Option<String>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    needed: &'a [Variable],
    wrong: Vec<String>,
}

impl Reader<'_> {
    fn parsed<T>(
        &mut self,
        variable: Variable,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(text) = self.text(variable) else {
            // A file that cannot be read has been reported already.
            let reported = self.wrong.iter().any(|line| line.starts_with(&format!("{variable}:")));
            if self.needed.contains(&variable) && !reported {
                self.wrong.extend(missing(variable).0);
            }
            return None;
        };
        match parse(&text) {
            Ok(value) => Some(value),
            Err(reason) => {
                // Some parsers quote their input, and the input may be a secret.
                let reason = match variable.file {
                    Some(_) => reason.replace(&text, "(not shown)"),
                    None => reason,
                };
                self.wrong.push(format!("{variable}: {reason}"));
                None
            }
        }
    }

    /// The value from where it is set: a flag, else the environment; in each, itself or a file.
    fn text(&mut self, variable: Variable) -> Option<String> {
        let set = |value: Option<String>| value.filter(|text| !text.is_empty());
        let layers = [
            (set((self.flag)(variable.flag)), variable.file.and_then(|f| set((self.flag)(f.1)))),
            (
                set((self.environment)(variable.name)),
                variable.file.and_then(|f| set((self.environment)(f.0))),
            ),
        ];
        match layers.into_iter().find(|(value, file)| value.is_some() || file.is_some())? {
            (Some(value), None) => Some(value),
            (None, Some(path)) => self.contents(variable, &path),
            _ => {
                self.wrong.push(format!("{variable}: is set both by value and by file"));
                None
            }
        }
    }

    fn contents(&mut self, variable: Variable, path: &str) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                Some(text.to_owned()).filter(|text| !text.is_empty())
            }
            Err(error) => {
                // Not the path: it might be the secret itself, set under the wrong name.
                self.wrong.push(format!("{variable}: cannot read the file that is named: {error}"));
                None
            }
        }
    }
}

fn database_url(text: &str) -> Result<String, String> {
    let scheme = text.starts_with("postgres://") || text.starts_with("postgresql://");
    // The parser's own message may quote parts of a password.
    match store::pool::settings(text) {
        Ok(_) if scheme => Ok(text.to_owned()),
        Err(StoreError::Url(reason)) => Err(reason),
        _ => Err("must look like postgres://user:password@host:5432/database".to_owned()),
    }
}

fn log_filter(text: &str) -> Result<String, String> {
    let filter = format!("{NO_BODIES},{text}");
    match EnvFilter::try_new(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => Err(format!("{text:?} is no filter: {error}")),
    }
}

fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("{text:?} is neither text nor json")),
    }
}

fn batch_max(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| (1..=BATCH_LIMIT).contains(number))
        .ok_or_else(|| format!("{text:?} is no whole number from 1 to {BATCH_LIMIT}"))
}

fn seconds(text: &str, min: f64) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|number| (min..=SECONDS_LIMIT).contains(number))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("{text:?} is no number of seconds from {min} to {SECONDS_LIMIT}"))
}

fn on_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{text:?} is neither on nor off")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://me:s3cret@db/x");
    const BROKER: (&str, &str) = ("AMQP_URL", "amqp://worker:s3cret@mq/%2f");

    fn read(flags: Pairs, environment: Pairs, needed: &[Variable]) -> Result<Config, ConfigError> {
        let lookup = |pairs: Pairs| -> HashMap<String, String> {
            pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
        };
        let (flags, environment) = (lookup(flags), lookup(environment));
        Config::read(
            |name| flags.get(name).cloned(),
            |name| environment.get(name).cloned(),
            needed,
            "info",
        )
    }

    fn worker(flags: Pairs, environment: Pairs) -> Settings {
        let environment = [&[DATABASE, BROKER], environment].concat();
        read(flags, &environment, &[]).unwrap().worker().unwrap()
    }

    #[test]
    fn flag_before_environment_before_default_and_empty_is_unset() {
        const NAME: &str = "HOLDFAST_BATCH_MAX";
        for (flags, environment, expected) in [
            (&[] as Pairs, &[] as Pairs, 256),
            (&[], &[(NAME, "7")], 7),
            (&[("batch-max", "9")], &[(NAME, "7")], 9),
            (&[("batch-max", "")], &[(NAME, "7")], 7),
            (&[("batch-max", "")], &[(NAME, "")], 256),
        ] {
            let settings = worker(flags, environment);
            assert_eq!(settings.batch_max, expected, "{flags:?} {environment:?}");
        }
    }

    #[test]
    fn every_setting_of_a_worker_can_be_set() {
        let settings = worker(
            &[],
            &[
                ("HOLDFAST_DRAIN_GRACE_SECONDS", "3"),
                ("HOLDFAST_SWEEP_INTERVAL_SECONDS", "0.5"),
                ("HOLDFAST_LADDER", "off"),
                ("HOLDFAST_SWEEP", "off"),
            ],
        );
        assert_eq!(settings.database_url, DATABASE.1);
        assert_eq!(settings.broker.account(), "worker");
        assert_eq!(settings.drain_grace, Duration::from_secs(3));
        assert_eq!(settings.sweep_interval, Duration::from_millis(500));
        assert!(!settings.ladder && !settings.sweep);
    }

    #[test]
    fn a_secret_can_come_from_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("url");
        let path = path.to_str().unwrap();
        for ending in ["", "\n", "\r\n"] {
            std::fs::write(path, format!("{}{ending}", DATABASE.1)).unwrap();
            for (flags, environment) in [
                (&[] as Pairs, &[("DATABASE_URL_FILE", path)] as Pairs),
                (&[("database-url-file", path)], &[("DATABASE_URL", "postgres://other/x")]),
            ] {
                let config = read(flags, environment, &[DATABASE_URL]).unwrap();
                assert_eq!(config.database_url().unwrap(), DATABASE.1);
            }
        }
        let both = read(&[], &[DATABASE, ("DATABASE_URL_FILE", path)], &[]).unwrap_err();
        assert!(both.to_string().contains("both"), "{both}");
        std::fs::write(path, "\n").unwrap();
        let empty = read(&[], &[("DATABASE_URL_FILE", path)], &[DATABASE_URL]).unwrap_err();
        assert!(empty.to_string().contains("is not set"), "{empty}");
        let gone =
            read(&[], &[("AMQP_URL_FILE", "amqp://me:s3cret@mq/x")], &[AMQP_URL]).unwrap_err();
        assert_eq!(gone.0.len(), 1, "{gone}");
        assert!(!gone.to_string().contains("s3cret"), "{gone}");
    }

    #[test]
    fn only_what_a_command_needs_has_to_be_set() {
        let config = read(&[], &[], &[]).unwrap();
        assert_eq!(config.log_filter, "lapin::returned_messages=error,info");
        assert!(config.database_url().is_err());
        let error = read(&[], &[BROKER], &[DATABASE_URL, AMQP_URL, MANAGEMENT_URL]).unwrap_err();
        assert_eq!(error.0.len(), 2, "{error}");
    }

    #[test]
    fn all_errors_are_reported_at_once_and_secrets_are_not() {
        let environment = [
            ("DATABASE_URL", "postgre://me:s3cret@db/x?s3cret=1"),
            ("AMQP_URL", "amqp:me:s3cret@mq"),
            ("RABBITMQ_MANAGEMENT_URL", "s3cret"),
            ("RUST_LOG", "a=b=c"),
            ("HOLDFAST_LOG_FORMAT", "xml"),
            ("HOLDFAST_BATCH_MAX", "0"),
            ("HOLDFAST_DRAIN_GRACE_SECONDS", "-1"),
            ("HOLDFAST_SWEEP_INTERVAL_SECONDS", "NaN"),
            ("HOLDFAST_LADDER", "yes"),
            ("HOLDFAST_SWEEP", "1"),
        ];
        let error = read(&[], &environment, &[]).unwrap_err();
        assert_eq!(error.0.len(), environment.len(), "{error}");
        for ((name, _), line) in environment.iter().zip(&error.0) {
            assert!(line.starts_with(name), "{line}");
        }
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }

    #[test]
    fn bodies_are_logged_only_on_request() {
        let config = read(&[], &[("RUST_LOG", "debug")], &[]).unwrap();
        assert_eq!(config.log_filter, "lapin::returned_messages=error,debug");
    }
}
