//! A real Prometheus that scrapes the workers, and what it has seen at the end.
//!
//! A worker that ends takes what it has counted since the last scrape with it, so what was scraped equals what
//! happened only where none does. It never exceeds it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast_lab::ports;
use serde_json::Value;
use tokio::time::{Instant, sleep};

/// Time between two scrapes of a worker, in milliseconds.
const SCRAPE_INTERVAL_MS: u64 = 250;

/// Bound on Prometheus's start, and on a scrape of every worker.
const PATIENCE: Duration = Duration::from_secs(60);

const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Bound on one question.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest run.
const SPAN: &str = "1d";

/// Labels that Prometheus adds.
const ADDED: [&str; 3] = ["__name__", "instance", "job"];

/// A metric that each worker has once.
const STARTED: &str = "holdfast_start_time_seconds";

/// Prometheus, with one worker at each port. Dropped, it ends.
pub struct Prometheus {
    child: Child,
    api: String,
    client: reqwest::Client,
    ports: Vec<u16>,
}

/// Counters by name and labels, summed over all workers that there were.
pub type Counted = BTreeMap<String, u64>;

impl Prometheus {
    /// Starts the program that `./dev` has found, with its data in `dir`.
    pub async fn start(dir: &Path, ports: Vec<u16>) -> Result<Self> {
        let program = std::env::var_os("HOLDFAST_PROMETHEUS")
            .context("HOLDFAST_PROMETHEUS is not set: run this with `./dev soak`")?;
        let dir = dir.join("prometheus");
        std::fs::create_dir_all(&dir)?;
        let config = dir.join("prometheus.yml");
        std::fs::write(&config, configuration(&ports))?;
        let own = ports::free(1)?[0];
        let log = File::create(dir.join("prometheus.log"))?;
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{own}"))
            .arg("--log.level=warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("cannot start Prometheus")?;
        // reqwest asks for one even where there is no TLS.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder().timeout(QUESTION_TIMEOUT).build()?;
        let prometheus = Self { child, api: format!("http://127.0.0.1:{own}"), client, ports };
        let until = Instant::now() + PATIENCE;
        while prometheus.ask("up").await.is_err() {
            ensure!(Instant::now() < until, "Prometheus does not answer; see {}", dir.display());
            sleep(LOOK_INTERVAL).await;
        }
        Ok(prometheus)
    }

    /// Waits until every worker was scraped after this call.
    pub async fn caught_up(&self) -> Result<()> {
        let (since, until) = (now(), Instant::now() + PATIENCE);
        loop {
            let scraped = self.ask(&format!("timestamp({STARTED})")).await?;
            let later = scraped.iter().filter_map(|series| series["value"][1].as_str());
            let later = later.filter(|at| at.parse::<f64>().is_ok_and(|at| at > since));
            if later.count() == self.ports.len() {
                return Ok(());
            }
            ensure!(Instant::now() < until, "not every worker is scraped: {scraped:?}");
            sleep(LOOK_INTERVAL).await;
        }
    }

    /// What all workers have counted of some metrics, those that have ended included.
    pub async fn counted(&self, names: &[&str]) -> Result<Counted> {
        let mut counted = Counted::new();
        for name in names {
            for series in self.ask(&format!("{name}[{SPAN}]")).await? {
                let samples = series["values"].as_array().context("samples")?;
                let value = |sample: &Value| sample[1].as_str()?.parse::<f64>().ok();
                let values: Vec<u64> =
                    samples.iter().filter_map(value).map(|value| value as u64).collect();
                ensure!(values.len() == samples.len(), "not all are numbers: {series}");
                let count = over_restarts(&values);
                if count > 0 {
                    *counted.entry(labelled(name, &series["metric"])).or_default() += count;
                }
            }
        }
        Ok(counted)
    }

    async fn ask(&self, query: &str) -> Result<Vec<Value>> {
        let url = format!("{}/api/v1/query", self.api);
        let request = self.client.post(url).form(&[("query", query)]);
        let answer: Value = request.send().await?.json().await?;
        let result = answer["data"]["result"].as_array();
        Ok(result.with_context(|| format!("{query}: {answer}"))?.clone())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// What was counted in the samples of a counter that begins at zero with each start of its worker.
fn over_restarts(samples: &[u64]) -> u64 {
    let mut before = 0;
    let grown = samples.iter().map(|&now| {
        let grown = if now < before { now } else { now - before };
        before = now;
        grown
    });
    grown.sum()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Name and labels, in the order of the labels' names.
fn labelled(name: &str, labels: &Value) -> String {
    let labels = labels.as_object().into_iter().flatten();
    let own = labels.filter(|(label, _)| !ADDED.contains(&label.as_str()));
    let own: BTreeMap<String, String> =
        own.map(|(label, value)| (label.clone(), text(value))).collect();
    series(name, &own)
}

/// The key of a series.
pub fn series(name: &str, labels: &BTreeMap<String, String>) -> String {
    let mut key = name.to_owned();
    for (label, value) in labels {
        write!(key, " {label}={value}").expect("a string takes it");
    }
    key
}

fn configuration(ports: &[u16]) -> String {
    let targets: Vec<String> = ports.iter().map(|port| format!("'127.0.0.1:{port}'")).collect();
    format!(
        "global: {{ scrape_interval: {SCRAPE_INTERVAL_MS}ms, scrape_timeout: {SCRAPE_INTERVAL_MS}ms }}\n\
         scrape_configs:\n- job_name: holdfast\n  static_configs: [{{ targets: [{}] }}]\n",
        targets.join(", ")
    )
}

fn now() -> f64 {
    chrono::Utc::now().timestamp_millis() as f64 / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::over_restarts;

    #[test]
    fn a_counter_goes_on_after_a_restart() {
        assert_eq!(over_restarts(&[]), 0);
        assert_eq!(over_restarts(&[3, 3, 7]), 7);
        assert_eq!(over_restarts(&[3, 7, 0, 2, 5]), 12);
        assert_eq!(over_restarts(&[7, 1, 2, 1]), 10);
    }
}
