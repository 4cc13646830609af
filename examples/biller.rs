//! A billing system: appends each event of the billing queue to a file, once. It acknowledges an
//! event that is on the disk, so it can be stopped, killed, and started again at any time.
#![expect(clippy::disallowed_methods, reason = "a program of its own reads its environment")]
use std::{collections::HashSet, fs::File, io::Write, path::PathBuf, time::Duration};

use anyhow::{Context, Error, Result};
use holdfast::broker::{connection::Endpoint, consumer::QueueConsumer, topology::BILLING_QUEUE};
use holdfast::message::event::{CONFIRMED, CREDITED};
use serde_json::{Deserializer, Value, from_slice};
use tokio::signal::unix::{SignalKind, signal};

const PAUSES: [u64; 5] = [1, 2, 4, 8, 16]; // seconds before it connects again; then it gives up

/// Stores billing events; AMQP_URL has the account.
#[derive(clap::Parser)]
struct Args {
    ledger: PathBuf, // made if there is none; only one biller may write to it
    #[arg(long, help = "stop after so many new events")]
    count: Option<usize>,
}

struct Ledger(File, HashSet<String>);

impl Ledger {
    fn open(path: &PathBuf) -> Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        File::open(path.canonicalize()?.parent().context("no folder")?)?.sync_all()?; // its name
        let mut lines = std::fs::read(path)?;
        lines.truncate(lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        file.set_len(lines.len() as u64)?; // a crash cut off the rest: that event comes again
        let events = Deserializer::from_slice(&lines).into_iter::<Value>();
        Ok(Self(file, events.map(|event| Ok(event?["id"].to_string())).collect::<Result<_>>()?))
    }

    fn add_if_new(&mut self, event: &Value) -> Result<()> {
        let known = event["type"] == CONFIRMED || event["type"] == CREDITED; // a charge; taken back
        if known && self.1.insert(event["id"].to_string()) {
            self.0.write_all(format!("{event}\n").as_bytes())?;
            self.0.sync_all()?;
            let text = |field: &str| event[field].as_str().unwrap_or_default();
            println!("{} {} {}", text("id"), text("type"), event["data"]["amount_minor"]);
        }
        Ok(())
    }

    async fn fill(&mut self, broker: &Endpoint, enough: usize) -> Result<()> {
        let connection = broker.connect("biller").await?;
        let mut consumer = QueueConsumer::open(&connection, BILLING_QUEUE, 100).await?;
        while self.1.len() < enough {
            for delivery in consumer.collect(1).await? {
                self.add_if_new(&from_slice(&delivery.data)?)?;
                consumer.acknowledger().ack_through(delivery.delivery_tag).await?;
            }
        }
        Ok(consumer.close().await?) // so the last acknowledgement has arrived
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let Args { ledger, count } = clap::Parser::parse();
    let url = std::env::var("AMQP_URL").context("AMQP_URL is not set")?;
    let broker: Endpoint = url.parse().map_err(Error::msg)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ledger = Ledger::open(&ledger)?;
    let (mut stored, mut pauses) = (ledger.1.len(), PAUSES.iter());
    let enough = stored.saturating_add(count.unwrap_or(usize::MAX));
    while let Some(error) = tokio::select! {
        filled = ledger.fill(&broker, enough) => filled.err(),
        _ = terminate.recv() => None,
    } {
        eprintln!("connecting again after {error:#}");
        if ledger.1.len() > stored {
            (stored, pauses) = (ledger.1.len(), PAUSES.iter()); // all was well again
        }
        tokio::time::sleep(Duration::from_secs(*pauses.next().context("gave up")?)).await;
    }
    Ok(())
}
