//! Flags that set the configuration. They are texts here; the configuration checks them, together
//! with what the environment says, and knows which ones are secret.

use clap::Args;

/// Settings that every command takes.
#[derive(Args)]
#[command(next_help_heading = "Configuration")]
pub struct Flags {
    /// PostgreSQL: postgres://user:password@host:5432/database [env: DATABASE_URL]
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    database_url: Option<String>,
    /// File with that URL [env: DATABASE_URL_FILE]
    #[arg(long, global = true, hide_short_help = true, value_name = "PATH")]
    database_url_file: Option<String>,
    /// RabbitMQ, with the account to act as: amqp://account:password@host:5672/%2f [env: AMQP_URL]
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    amqp_url: Option<String>,
    /// File with that URL [env: AMQP_URL_FILE]
    #[arg(long, global = true, hide_short_help = true, value_name = "PATH")]
    amqp_url_file: Option<String>,
    /// RabbitMQ's management API, by default with the account of the AMQP URL:
    /// http://host:15672 [env: RABBITMQ_MANAGEMENT_URL]
    #[arg(long, global = true, hide_short_help = true, value_name = "URL")]
    rabbitmq_management_url: Option<String>,
    /// File with that URL [env: RABBITMQ_MANAGEMENT_URL_FILE]
    #[arg(long, global = true, hide_short_help = true, value_name = "PATH")]
    rabbitmq_management_url_file: Option<String>,
    /// What to log, such as debug or info,holdfast=debug; default info,lapin=off for a worker,
    /// otherwise warn,lapin=off [env: RUST_LOG]
    #[arg(long, global = true, hide_short_help = true, value_name = "FILTER")]
    log_filter: Option<String>,
    /// How to log: text (default) or json [env: HOLDFAST_LOG_FORMAT]
    #[arg(long, global = true, hide_short_help = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl Flags {
    /// The value of the flag of that name.
    pub fn get(&self, flag: &str) -> Option<&String> {
        let value = match flag {
            "database-url" => &self.database_url,
            "database-url-file" => &self.database_url_file,
            "amqp-url" => &self.amqp_url,
            "amqp-url-file" => &self.amqp_url_file,
            "rabbitmq-management-url" => &self.rabbitmq_management_url,
            "rabbitmq-management-url-file" => &self.rabbitmq_management_url_file,
            "log-filter" => &self.log_filter,
            "log-format" => &self.log_format,
            _ => &None,
        };
        value.as_ref()
    }
}

/// Settings of a worker.
#[derive(Args)]
#[command(next_help_heading = "Worker configuration")]
pub struct WorkerFlags {
    /// Most messages decided in one transaction; default 256 [env: HOLDFAST_BATCH_MAX]
    #[arg(long, value_name = "N")]
    batch_max: Option<String>,
    /// How long finishing may take after a signal; default 20 [env: HOLDFAST_DRAIN_GRACE_SECONDS]
    #[arg(long, value_name = "SECONDS")]
    drain_grace_seconds: Option<String>,
    /// Time between two sweeps of a partition, over all workers; default 8
    /// [env: HOLDFAST_SWEEP_INTERVAL_SECONDS]
    #[arg(long, value_name = "SECONDS")]
    sweep_interval_seconds: Option<String>,
    /// on (default) or off: whether to send wake-ups through the delay ladder. With off, deadlines
    /// are settled by the sweep alone, later [env: HOLDFAST_LADDER]
    #[arg(long, value_name = "ON|OFF")]
    ladder: Option<String>,
    /// on (default) or off: whether to sweep for what the delay ladder has missed
    /// [env: HOLDFAST_SWEEP]
    #[arg(long, value_name = "ON|OFF")]
    sweep: Option<String>,
}

impl WorkerFlags {
    /// The value of the flag of that name.
    pub fn get(&self, flag: &str) -> Option<&String> {
        let value = match flag {
            "batch-max" => &self.batch_max,
            "drain-grace-seconds" => &self.drain_grace_seconds,
            "sweep-interval-seconds" => &self.sweep_interval_seconds,
            "ladder" => &self.ladder,
            "sweep" => &self.sweep,
            _ => &None,
        };
        value.as_ref()
    }
}
