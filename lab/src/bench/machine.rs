//! Describes the machine and the circumstances of a run.

use anyhow::Result;
use serde_json::{Value, json};

use crate::site::Site;

/// Machine, versions, date and command.
pub struct Setting {
    pub processors: usize,
    processor: String,
    memory_mib: u64,
    kernel: String,
    postgresql: String,
    rabbitmq: String,
    date: String,
    command: String,
}

impl Setting {
    pub async fn of(site: &Site) -> Result<Self> {
        let (postgresql, rabbitmq) = site.versions().await?;
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
                .unwrap_or_default()
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
        Ok(Self {
            processors: std::thread::available_parallelism().map_or(1, usize::from),
            processor: field(&read("/proc/cpuinfo"), "model name"),
            memory_mib: kib.unwrap_or_default() / 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            // Without the distribution's suffix.
            postgresql: postgresql.split(' ').next().unwrap_or_default().to_owned(),
            rabbitmq,
            date: chrono::Utc::now().format("%Y-%m-%d %H:%M UTC").to_string(),
            command: ["./dev bench", &arguments.join(" ")].join(" ").trim().to_owned(),
        })
    }

    pub fn json(&self) -> Value {
        json!({
            "date": self.date,
            "command": self.command,
            "machine": {
                "processors": self.processors,
                "processor": self.processor,
                "memory_mib": self.memory_mib,
                "kernel": self.kernel,
            },
            "versions": {
                "holdfast": env!("CARGO_PKG_VERSION"),
                "postgresql": self.postgresql,
                "rabbitmq": self.rabbitmq,
            },
        })
    }

    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "{} · {} · {} processors, {} MiB · Linux {} · PostgreSQL {}, RabbitMQ {}",
            self.command,
            self.date,
            self.processors,
            self.memory_mib,
            self.kernel,
            self.postgresql,
            self.rabbitmq
        )
    }
}
