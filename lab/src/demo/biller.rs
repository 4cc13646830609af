//! The billing system. It consumes the real queue and keeps the events of this run.

use std::sync::{Arc, Mutex};

use anyhow::{Result, bail};
use holdfast::broker::BrokerError;
use holdfast::broker::connection::Connection;
use holdfast::broker::consumer::QueueConsumer;
use holdfast::broker::topology::BILLING_QUEUE;
use holdfast::message::event::{CloudEvent, ConfirmedData};
use lapin::message::Delivery;

use crate::broker;
use crate::timeline::Timeline;
use crate::words::{money, short};

const PREFETCH: u16 = 100;

pub type Event = CloudEvent<ConfirmedData>;

pub struct Biller {
    events: Arc<Mutex<Vec<Event>>>,
}

impl Biller {
    /// Starts to consume. All ids of this run end with `suffix`.
    pub async fn open(
        connection: &Connection,
        suffix: &str,
        timeline: Arc<Timeline>,
    ) -> Result<Self> {
        if broker::depth(connection, BILLING_QUEUE).await?.consumers > 0 {
            bail!("somebody else consumes {BILLING_QUEUE}; the demonstration cannot share it");
        }
        let consumer = QueueConsumer::open(connection, BILLING_QUEUE, PREFETCH).await?;
        let events = Arc::new(Mutex::new(Vec::new()));
        let reader = Reader { suffix: suffix.to_owned(), timeline, events: events.clone() };
        tokio::spawn(reader.read(consumer));
        Ok(Self { events })
    }

    /// Every event of this run so far, repeats included.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().expect("no panics").clone()
    }
}

struct Reader {
    suffix: String,
    timeline: Arc<Timeline>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Reader {
    async fn read(self, mut consumer: QueueConsumer) {
        loop {
            if let Err(error) = self.take_some(&mut consumer).await {
                return self.timeline.mismatch(&format!("the biller is deaf: {error}"));
            }
        }
    }

    async fn take_some(&self, consumer: &mut QueueConsumer) -> Result<(), BrokerError> {
        for delivery in consumer.collect(PREFETCH.into()).await? {
            self.take(&delivery);
            consumer.acknowledger().ack_through(delivery.delivery_tag).await?;
        }
        Ok(())
    }

    fn take(&self, delivery: &Delivery) {
        let event: Event = match serde_json::from_slice(&delivery.data) {
            Ok(event) => event,
            Err(error) => {
                return self.timeline.mismatch(&format!("an event cannot be read: {error}"));
            }
        };
        let data = &event.data;
        if !data.server.ends_with(&self.suffix) {
            return self.timeline.did("biller", &format!("skips {}, of another run", event.id));
        }
        let words = format!(
            "{} {}, {}, entry {}",
            event.kind.trim_start_matches("reservation."),
            short(event.subject),
            money(data.amount_minor, &data.currency),
            short(event.id)
        );
        self.timeline.said("holdfast", "biller", &words);
        self.events.lock().expect("no panics").push(event);
    }
}
