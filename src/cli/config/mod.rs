//! The configuration: one table of settings, read once, before anything connects.
//!
//! Each setting is an environment variable and a flag. The flag wins; empty means unset. A secret
//! can come from a file: `<NAME>_FILE` or `--<flag>-file`; it is read again at every connect. White space
//! at the ends of values and files is cut off. Every value must be valid, even if the command does not use it. All errors are reported at once, without
//! secrets.
//!
//! clap's own `env` and value parsers stop at the first error, repeat the value and count an empty
//! variable as set. So clap takes every flag as text ([`flags`]), and [`Config::read`] parses both.
//!
//! What all replicas must share is in the database.

mod error;
pub(super) mod flags;
mod gate;
mod setting;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::broker::connection::Endpoint;
use crate::broker::management::Address;
use crate::domain::access::Secrets;
use crate::domain::id::ServerId;
use crate::gate::adapters::Adapter;
use crate::gate::settings::{self as gate_settings, ControlServer};
use crate::store::url::DatabaseUrl;
use crate::worker::settings::{Count, Settings};
pub use error::ConfigError;
use gate::{HookToken, adapter, default_name, gate_name, listen, path, server_id, stale_max};
pub use setting::{About, Scope};
use setting::{Setting, Source};
pub use values::LogFormat;
use values::{
    batch_max, drain_grace, http_listen, log_filter, log_format, on_off, operator, sweep_interval,
};

pub(super) const DATABASE_URL: &str = "DATABASE_URL";
pub(super) const AMQP_URL: &str = "AMQP_URL";
pub(super) const MANAGEMENT_URL: &str = "RABBITMQ_MANAGEMENT_URL";
pub(super) const GATE_SERVER: &str = "HOLDFAST_GATE_SERVER";
pub(super) const GATE_ADAPTER: &str = "HOLDFAST_GATE_ADAPTER";
pub(super) const GATE_CONTROL_URL: &str = "HOLDFAST_GATE_CONTROL_URL";
/// The name of the system's account, in the order of preference.
const ACCOUNT_NAMES: [&str; 2] = ["USER", "LOGNAME"];

/// Generates the values and the list of settings from the table below.
macro_rules! settings {
    ($($field:ident: $type:ty = $setting:expr;)*) => {
        /// `None`: neither set nor defaulted.
        struct Values {
            $($field: Option<$type>,)*
        }

        impl Values {
            fn read(source: &mut Source<'_>) -> Self {
                Self { $($field: source.read(&$setting),)* }
            }
        }

        /// Every setting, in the order in which errors are reported.
        pub fn settings() -> Vec<About> {
            vec![$({ let setting: Setting<$type> = $setting; setting.about },)*]
        }
    };
}

settings! {
    database: DatabaseUrl = Setting::new(
        DATABASE_URL, "database-url", "URL",
        "PostgreSQL: postgres://user:password@host:5432/database", str::parse,
    ).secret(DatabaseUrl::in_file);
    broker: Endpoint = Setting::new(
        AMQP_URL, "amqp-url", "URL",
        "RabbitMQ, with the account to act as: amqp://account:password@host:5672/%2f", str::parse,
    ).secret(Endpoint::in_file);
    management: Address = Setting::new(
        MANAGEMENT_URL, "rabbitmq-management-url", "URL",
        "RabbitMQ's management API: http://host:15672. Without an account in it, the account of the \
         AMQP URL is used", str::parse,
    ).secret(Address::in_file);
    database_read: DatabaseUrl = Setting::new(
        "DATABASE_READ_URL", "database-read-url", "URL",
        "PostgreSQL to answer queries from, such as a standby, if it is not the one above",
        str::parse,
    ).secret(DatabaseUrl::in_file).of_worker();
    access: Arc<Secrets> = Setting::new(
        "HOLDFAST_ACCESS_SECRET", "access-secret", "ID:SECRET",
        "Of what access keys are derived: a name and at least 32 characters. A file has several lines, the \
         one for new keys first. Without it confirmed reservations get no key",
        |text| Secrets::parse(text).map(Arc::new),
    ).secret(|secrets, _| secrets).lines().of_worker();
    log_filter: String = Setting::new(
        "RUST_LOG", "log-filter", "FILTER",
        "What to log, such as debug or info,holdfast=debug. The default is info,lapin=off for a \
         worker and warn,lapin=off otherwise", log_filter,
    );
    log_format: LogFormat = Setting::new(
        "HOLDFAST_LOG_FORMAT", "log-format", "text|json", "How to log", log_format,
    ).default("text");
    operator: String = Setting::new(
        "HOLDFAST_OPERATOR", "operator", "NAME",
        "Who you are: recorded with each change. The default is the name of the system's account",
        operator,
    );
    batch_max: usize = Setting::new(
        "HOLDFAST_BATCH_MAX", "batch-max", "N", "Most messages decided in one transaction", batch_max,
    ).default("256").of_worker();
    http_listen: Option<SocketAddr> = Setting::new(
        "HOLDFAST_HTTP_LISTEN", "http-listen", "ADDRESS|off",
        "Where to answer /live, /ready and /metrics over HTTP: an address and a port. Each worker and gate of a \
         machine needs a port of its own; 0 takes a free one, which the log names",
        http_listen,
    ).default("127.0.0.1:9464").of(Scope::Processes);
    drain_grace: Duration = Setting::new(
        "HOLDFAST_DRAIN_GRACE_SECONDS", "drain-grace-seconds", "SECONDS",
        "How long a worker may take to finish after a signal", drain_grace,
    ).default("20").of_worker();
    sweep_interval: Duration = Setting::new(
        "HOLDFAST_SWEEP_INTERVAL_SECONDS", "sweep-interval-seconds", "SECONDS",
        "Time between two sweeps of a partition, over all workers", sweep_interval,
    ).default("8").of_worker();
    ladder: bool = Setting::new(
        "HOLDFAST_LADDER", "ladder", "on|off",
        "Whether to send wake-ups through the delay ladder. With off, only the sweep settles \
         deadlines, which is later", on_off,
    ).default("on").of_worker();
    sweep: bool = Setting::new(
        "HOLDFAST_SWEEP", "sweep", "on|off",
        "Whether to sweep for deadlines that the delay ladder missed", on_off,
    ).default("on").of_worker();
    gate_server: ServerId = Setting::new(
        GATE_SERVER, "server", "ID", "The server whose reservations are admitted", server_id,
    ).of(Scope::Gate);
    gate_adapter: Adapter = Setting::new(
        GATE_ADAPTER, "adapter", "KIND",
        "What kind of streaming server it is: nginx-rtmp, icecast, mediamtx, srs or ovenmediaengine",
        adapter,
    ).of(Scope::Gate);
    gate_control: ControlServer = Setting::new(
        GATE_CONTROL_URL, "control-url", "URL",
        "The streaming server's own interface, where clients are listed and disconnected: \
         http://account:password@host:port", str::parse,
    ).secret(|url, _| url).of(Scope::Gate);
    gate_listen: SocketAddr = Setting::new(
        "HOLDFAST_GATE_LISTEN", "listen", "ADDRESS",
        "Where to answer the streaming server's hooks: an address and a port. Where others can reach it, set \
         a hook token", listen,
    ).default("127.0.0.1:8070").of(Scope::Gate);
    gate_hook_token: HookToken = Setting::new(
        "HOLDFAST_GATE_HOOK_TOKEN", "hook-token", "TOKEN",
        "What hooks must have as the first part of their path: http://gate:8070/TOKEN/publish", str::parse,
    ).secret(|token, _| token).of(Scope::Gate);
    gate_name: String = Setting::new(
        "HOLDFAST_GATE_NAME", "name", "NAME",
        "The gate's name in records of use, the same after a restart. The default is the machine's name and \
         the port for hooks", gate_name,
    ).of(Scope::Gate);
    gate_stale_max: Duration = Setting::new(
        "HOLDFAST_GATE_STALE_MAX_SECONDS", "stale-max-seconds", "SECONDS",
        "How long to admit from what is known while the database is away. What was cancelled meanwhile is \
         admitted, too", stale_max,
    ).default("3600").of(Scope::Gate);
    gate_plan_file: PathBuf = Setting::new(
        "HOLDFAST_GATE_PLAN_FILE", "plan-file", "PATH",
        "Where to keep the plan, so that a gate admits that is started while the database is away. It has \
         no keys, only their hashes", path,
    ).of(Scope::Gate);
}

/// The configuration. `Debug` hides it: most of it is secret.
pub struct Config {
    values: Values,
    account: Option<String>,
    /// A valid filter for `tracing`.
    pub log_filter: String,
    /// How many log lines could not be written. Whoever writes the log sets it.
    pub log_lines_lost: Count,
}

/// The error for a needed setting without a value.
fn missing(variable: &str) -> ConfigError {
    let about = settings().into_iter().find(|about| about.variable == variable);
    let named = about.map_or_else(|| variable.to_owned(), |about| about.to_string());
    ConfigError(vec![format!("{named}: is not set")])
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").finish_non_exhaustive()
    }
}

impl Config {
    /// Reads every setting. `flag` and `environment` look up a value by name. The variables in
    /// `needed` must be set. `log_default` is the default filter.
    pub(super) fn read(
        flag: impl Fn(&str) -> Option<String>,
        environment: impl Fn(&str) -> Option<OsString>,
        needed: &[&str],
        log_default: &str,
    ) -> Result<Self, ConfigError> {
        let mut source = Source::new(&flag, &environment, needed);
        let mut values = Values::read(&mut source);
        source.finish()?;
        if values.ladder == Some(false) && values.sweep == Some(false) {
            return Err(ConfigError(vec![
                "HOLDFAST_LADDER (--ladder) and HOLDFAST_SWEEP (--sweep): are both off; then nothing \
                 settles deadlines. Turn one of them on"
                    .to_owned(),
            ]));
        }
        let log_filter = values.log_filter.take();
        Ok(Self {
            values,
            account: ACCOUNT_NAMES
                .iter()
                .find_map(|name| operator(&environment(name)?.into_string().ok()?).ok()),
            log_filter: log_filter.unwrap_or_else(|| values::with_defaults(log_default)),
            log_lines_lost: Arc::new(|| 0),
        })
    }

    pub(super) fn database(&self) -> Result<&DatabaseUrl, ConfigError> {
        self.values.database.as_ref().ok_or_else(|| missing(DATABASE_URL))
    }

    pub(super) fn broker(&self) -> Result<&Endpoint, ConfigError> {
        self.values.broker.as_ref().ok_or_else(|| missing(AMQP_URL))
    }

    pub(super) fn management(&self) -> Result<&Address, ConfigError> {
        self.values.management.as_ref().ok_or_else(|| missing(MANAGEMENT_URL))
    }

    /// How log lines are written.
    pub fn log_format(&self) -> LogFormat {
        or_default(self.values.log_format)
    }

    /// Who makes changes; `None` if neither set nor known to the system.
    pub(super) fn operator(&self) -> Option<&str> {
        self.values.operator.as_deref().or(self.account.as_deref())
    }

    pub(super) fn worker(&self) -> Result<Settings, ConfigError> {
        Ok(Settings {
            database: self.database()?.clone(),
            database_read: self.values.database_read.clone(),
            broker: self.broker()?.clone(),
            access: self.values.access.clone(),
            // Shells set HOSTNAME and do not export it; services have none.
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            http_listen: or_default(self.values.http_listen),
            log_lines_lost: self.log_lines_lost.clone(),
            batch_max: or_default(self.values.batch_max),
            drain_grace: or_default(self.values.drain_grace),
            sweep_interval: or_default(self.values.sweep_interval),
            ladder: or_default(self.values.ladder),
            sweep: or_default(self.values.sweep),
        })
    }

    /// What a gate runs with.
    pub(super) fn gate(&self) -> Result<gate_settings::Settings, ConfigError> {
        let values = &self.values;
        let listen = or_default(values.gate_listen);
        let token = values.gate_hook_token.as_ref().map(|token| token.0.clone());
        if !listen.ip().is_loopback() && token.is_none() {
            return Err(ConfigError(vec![format!(
                "HOLDFAST_GATE_LISTEN (--listen): others can reach {listen}; set HOLDFAST_GATE_HOOK_TOKEN \
                 (--hook-token), and put the token into the hooks' paths"
            )]));
        }
        let control = values.gate_control.as_ref().ok_or_else(|| missing(GATE_CONTROL_URL))?;
        Ok(gate_settings::Settings {
            database: self.database()?.clone(),
            server: values.gate_server.clone().ok_or_else(|| missing(GATE_SERVER))?,
            adapter: values.gate_adapter.ok_or_else(|| missing(GATE_ADAPTER))?,
            control: control.clone(),
            listen,
            hook_token: token,
            http_listen: or_default(values.http_listen),
            name: values.gate_name.clone().unwrap_or_else(|| default_name(listen)),
            stale_max: or_default(values.gate_stale_max),
            plan_file: values.gate_plan_file.clone(),
        })
    }
}

fn or_default<T>(value: Option<T>) -> T {
    value.expect("the default applies where nothing is set")
}
