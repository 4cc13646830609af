//! The billing system. It stores an entry before it acknowledges it, drops repeats by their id, and
//! sometimes loses its connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast::broker::BrokerError;
use holdfast::broker::connection::Endpoint;
use holdfast::broker::consumer::QueueConsumer;
use holdfast::broker::topology::BILLING_QUEUE;
use holdfast::message::event::{CloudEvent, ConfirmedData, CreditedData};
use lapin::message::Delivery;
use serde_json::json;
use tokio::time::sleep;
use uuid::Uuid;

use crate::history::text;
use crate::pick::Pick;
use crate::terminal::Setting;

/// The stream of random choices for this purpose.
const PURPOSE: u64 = u64::MAX - 2;

const PREFETCH: u16 = 50;

/// Longest time without a new entry before it looks at the queue.
const TURN: Duration = Duration::from_secs(5);

/// Pause before the next try to connect, or the next check whether to go on.
const PAUSE: Duration = Duration::from_millis(500);

/// An entry as received.
#[derive(Debug, Clone)]
pub struct Billed {
    pub kind: String,
    pub reservation: Uuid,
    pub amount_minor: i64,
    pub currency: String,
    bytes: Vec<u8>,
    /// Deliveries that were stored or dropped as repeats.
    pub times: usize,
}

#[derive(Default)]
pub struct Ledger {
    pub entries: HashMap<Uuid, Billed>,
    /// Repeats with other bytes, and events that could not be read.
    pub wrong: Vec<String>,
}

#[derive(Clone)]
pub struct Biller {
    endpoint: Endpoint,
    ledger: Arc<Mutex<Ledger>>,
    /// Whether it pauses.
    asleep: Arc<AtomicBool>,
    setting: Setting,
}

/// How a batch ends.
#[derive(Clone, Copy)]
enum End {
    Acknowledged,
    LostBeforeStoring,
    LostBeforeAcknowledging,
}

impl Biller {
    pub fn new(endpoint: Endpoint, setting: Setting) -> Self {
        Self { endpoint, ledger: Arc::default(), asleep: Arc::default(), setting }
    }

    /// Pauses or resumes it.
    pub fn sleep(&self, asleep: bool) {
        self.asleep.store(asleep, Ordering::Relaxed);
    }

    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panics")
    }

    /// Consumes until it is dropped.
    pub async fn run(self, seed: u64) {
        let mut pick = Pick::new(seed, PURPOSE);
        loop {
            if let Err(error) = self.bill_until_lost(&mut pick).await {
                if !self.setting.patient {
                    return self.setting.tally.failed(format!("the biller is deaf: {error:#}"));
                }
                sleep(PAUSE).await;
            }
            self.setting.tally.biller_losses.add();
        }
    }

    /// Consumes over one connection until that is lost.
    async fn bill_until_lost(&self, pick: &mut Pick) -> Result<()> {
        let connection = self.endpoint.connect("holdfast soak: biller").await?;
        let mut consumer = QueueConsumer::open(&connection, BILLING_QUEUE, PREFETCH).await?;
        while self.bill_some(&mut consumer, pick).await? {}
        // Without acknowledging anything more. Closed and not just dropped, so that the broker knows
        // at once.
        connection.close().await.context("losing the connection")
    }

    /// Returns whether the connection still works.
    async fn bill_some(
        &self,
        consumer: &mut QueueConsumer,
        pick: &mut Pick,
    ) -> Result<bool, BrokerError> {
        while self.asleep.load(Ordering::Relaxed) {
            sleep(PAUSE).await;
        }
        let collected = tokio::time::timeout(TURN, consumer.collect(PREFETCH.into())).await;
        let Ok(batch) = collected else { return Ok(true) };
        let batch = batch?;
        let end = pick.weighted(&[
            (94, End::Acknowledged),
            (3, End::LostBeforeStoring),
            (3, End::LostBeforeAcknowledging),
        ]);
        if matches!(end, End::LostBeforeStoring) {
            return Ok(false);
        }
        for delivery in &batch {
            self.store(delivery);
        }
        if matches!(end, End::LostBeforeAcknowledging) {
            return Ok(false);
        }
        if let Some(last) = batch.last() {
            consumer.acknowledger().ack_through(last.delivery_tag).await?;
        }
        Ok(true)
    }

    fn store(&self, delivery: &Delivery) {
        let body = text(&delivery.data);
        self.setting.history.note("event", json!({"body": body}));
        let mut ledger = self.ledger();
        let (id, billed) = match read(&delivery.data) {
            Ok(read) => read,
            Err(error) => {
                let text = String::from_utf8_lossy(&delivery.data).into_owned();
                return ledger.wrong.push(format!("cannot be read: {error:#}: {text}"));
            }
        };
        let told = delivery.properties.message_id().as_ref().map(|id| id.as_str());
        if told != Some(id.to_string().as_str()) {
            ledger.wrong.push(format!("entry {id} came as message {told:?}"));
        }
        match ledger.entries.get_mut(&id) {
            None => {
                self.setting.tally.billed.add();
                ledger.entries.insert(id, billed);
            }
            Some(known) => {
                known.times += 1;
                if known.bytes != billed.bytes {
                    ledger.wrong.push(format!("entry {id} was told in two ways"));
                }
            }
        }
    }
}

fn read(bytes: &[u8]) -> Result<(Uuid, Billed)> {
    let event: CloudEvent<serde_json::Value> = serde_json::from_slice(bytes)?;
    let billed = |reservation, amount_minor, currency| Billed {
        kind: event.kind.clone(),
        reservation,
        amount_minor,
        currency,
        bytes: bytes.to_vec(),
        times: 1,
    };
    let billed = match event.kind.as_str() {
        holdfast::message::event::CREDITED => {
            let data: CreditedData = serde_json::from_value(event.data)?;
            billed(data.reservation, data.amount_minor, data.currency)
        }
        holdfast::message::event::CONFIRMED => {
            let data: ConfirmedData = serde_json::from_value(event.data)?;
            billed(data.reservation, data.amount_minor, data.currency)
        }
        other => anyhow::bail!("nothing to bill: {other}"),
    };
    Ok((event.id, billed))
}
