//! Everything durable on the broker. Arguments are immutable there, so names carry a version. What is
//! not durable is in [`ring`].

use lapin::options::{
    ExchangeBindOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

use super::connection::Connection;
use super::delay::{self, DUE_EXCHANGE};
use super::ring::{self, PARTITIONS_EXCHANGE};
use super::{BrokerError, bounded};

/// Terminals publish their commands here; a topic exchange, so that the broker checks each
/// account's routing keys.
pub const COMMANDS_EXCHANGE: &str = "reservation.commands.v1";
/// Answers and notices; the routing key is the terminal.
pub const REPLIES_EXCHANGE: &str = "reservation.replies.v1";
/// Events to the world.
pub const EVENTS_EXCHANGE: &str = "reservation.events.v1";
/// What the billing system consumes.
pub const BILLING_QUEUE: &str = "billing.entries.v1";
/// Dead letters: exchange and queue.
pub const DEAD: &str = "reservation.dead.v1";

/// Events that a billing system must see.
pub const BILLING_PATTERNS: [&str; 2] = ["reservation.confirmed.#", "reservation.credited.#"];

/// A partition's last resort: no backlog that anybody could work off is longer.
const PARTITION_LEN_MAX: i64 = 1_000_000;
/// And in bytes, so that large bodies cannot fill the disk.
const PARTITION_BYTES_MAX: i64 = 4 << 30;
/// Wake-ups are few: one per partition and instant.
const DELAY_LEN_MAX: i64 = 1_000_000;
/// What a biller that is away for long may leave behind; past it events wait in the outbox.
const BILLING_LEN_MAX: i64 = 10_000_000;
/// Dead letters kept for operators; the oldest are dropped.
const DEAD_LEN_MAX: i64 = 100_000;
/// A biller, or an operator with a dead letter, may fail for as long as they like. Without a limit of
/// its own a queue has one of 20 on RabbitMQ 4.x, past which it drops the message; 3.x knows no value
/// for "none".
const PATIENT_DELIVERY_LIMIT: i64 = 1_000_000_000;
/// Backstop against a message that kills every worker. Workers isolate such a message long before.
const DELIVERY_LIMIT: i64 = 1_000;

/// The prefetch window of every consumer of a partition: twice the largest batch.
///
/// The same for all workers, and never to be lowered while any run. A quorum queue puts what a lost
/// consumer had in hand *behind* what was put back before: with equal windows the next consumer has
/// taken all of that, but a smaller window in between leaves some behind, and the queue's order is
/// lost (measured on 3.10: windows of 512 and then 128 give 128 to 511, 0 to 127, 512 and so on).
pub const PREFETCH: u16 = 512;

/// Answers kept for a terminal that does not read; the oldest are dropped, and can be had again by
/// sending the same message id.
pub const REPLY_LEN_MAX: i64 = 10_000;
/// How long an unread answer is kept, in milliseconds: a week.
pub const REPLY_TTL_MS: i64 = 7 * 24 * 3_600 * 1_000;

/// A partition's queue.
pub fn partition_queue(partition: i32) -> String {
    format!("reservation.commands.v1.{partition}")
}

/// A terminal's queue of answers and notices.
pub fn reply_queue(terminal: &str) -> String {
    format!("reservation.replies.v1.{terminal}")
}

/// The shape that can differ between installations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of partitions.
    pub partitions: i32,
    /// Levels of the delay ladder.
    pub delay_levels: u32,
}

/// An exchange to declare.
struct Exchange {
    name: String,
    kind: ExchangeKind,
    arguments: FieldTable,
}

/// A queue to declare.
struct Queue {
    name: String,
    arguments: FieldTable,
}

/// A binding to declare.
struct Binding {
    source: String,
    target: Target,
    pattern: String,
}

enum Target {
    Exchange(String),
    Queue(String),
}

/// The whole topology as data.
struct Topology {
    exchanges: Vec<Exchange>,
    queues: Vec<Queue>,
    bindings: Vec<Binding>,
}

fn table<const N: usize>(entries: [(&str, AMQPValue); N]) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in entries {
        table.insert(key.into(), value);
    }
    table
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn number(value: i64) -> AMQPValue {
    AMQPValue::LongLongInt(value)
}

/// Arguments of every quorum queue: explicit about what happens when it is full.
fn quorum(max_len: i64, overflow: &str) -> FieldTable {
    table([
        ("x-queue-type", text("quorum")),
        ("x-overflow", text(overflow)),
        ("x-max-length", number(max_len)),
    ])
}

fn add(mut arguments: FieldTable, more: FieldTable) -> FieldTable {
    for (key, value) in more.inner() {
        arguments.insert(key.clone(), value.clone());
    }
    arguments
}

impl Topology {
    fn of(shape: Shape) -> Self {
        let mut topology = Self { exchanges: vec![], queues: vec![], bindings: vec![] };
        topology.commands(shape.partitions);
        topology.answers_and_events();
        topology.ladder(shape);
        topology
    }

    fn exchange(&mut self, name: &str, kind: ExchangeKind, arguments: FieldTable) {
        self.exchanges.push(Exchange { name: name.to_owned(), kind, arguments });
    }

    fn queue(&mut self, name: &str, arguments: FieldTable) {
        self.queues.push(Queue { name: name.to_owned(), arguments });
    }

    fn bind_queue(&mut self, source: &str, queue: &str, pattern: &str) {
        let target = Target::Queue(queue.to_owned());
        self.bindings.push(Binding {
            source: source.to_owned(),
            target,
            pattern: pattern.to_owned(),
        });
    }

    fn bind_exchange(&mut self, source: &str, exchange: &str, pattern: &str) {
        let target = Target::Exchange(exchange.to_owned());
        self.bindings.push(Binding {
            source: source.to_owned(),
            target,
            pattern: pattern.to_owned(),
        });
    }

    fn commands(&mut self, partitions: i32) {
        self.exchange(COMMANDS_EXCHANGE, ExchangeKind::Topic, FieldTable::default());
        for partition in 0..partitions {
            let name = partition_queue(partition);
            let arguments = add(
                quorum(PARTITION_LEN_MAX, "reject-publish"),
                table([
                    // One consumer at a time and redelivery in order: queue order is decision order.
                    ("x-single-active-consumer", AMQPValue::Boolean(true)),
                    ("x-max-length-bytes", number(PARTITION_BYTES_MAX)),
                    ("x-delivery-limit", number(DELIVERY_LIMIT)),
                    ("x-dead-letter-exchange", text(DEAD)),
                    // Explicit: the original key would be a terminal's to choose.
                    ("x-dead-letter-routing-key", text("delivery_limit")),
                    ("x-dead-letter-strategy", text("at-least-once")),
                ]),
            );
            self.queue(&name, arguments);
            self.bind_queue(DUE_EXCHANGE, &name, &delay::partition_pattern(partition));
        }
    }

    fn answers_and_events(&mut self) {
        self.exchange(REPLIES_EXCHANGE, ExchangeKind::Direct, FieldTable::default());
        self.exchange(EVENTS_EXCHANGE, ExchangeKind::Topic, FieldTable::default());
        // From the start, so that no confirmation precedes the first biller.
        let patient = table([("x-delivery-limit", number(PATIENT_DELIVERY_LIMIT))]);
        self.queue(BILLING_QUEUE, add(quorum(BILLING_LEN_MAX, "reject-publish"), patient.clone()));
        for pattern in BILLING_PATTERNS {
            self.bind_queue(EVENTS_EXCHANGE, BILLING_QUEUE, pattern);
        }
        self.exchange(DEAD, ExchangeKind::Fanout, FieldTable::default());
        self.queue(DEAD, add(quorum(DEAD_LEN_MAX, "drop-head"), patient));
        self.bind_queue(DEAD, DEAD, "");
    }

    fn ladder(&mut self, shape: Shape) {
        // What finds no partition must not block the ladder: it becomes a dead letter.
        let alternate = table([("alternate-exchange", text(DEAD))]);
        self.exchange(DUE_EXCHANGE, ExchangeKind::Topic, alternate);
        for level in 0..shape.delay_levels {
            let name = delay::level_name(level);
            let below = delay::below(level);
            self.exchange(&name, ExchangeKind::Topic, FieldTable::default());
            let arguments = add(
                // Anything but reject-publish silently makes dead-lettering at-most-once.
                quorum(DELAY_LEN_MAX, "reject-publish"),
                table([
                    ("x-message-ttl", number(delay::level_ttl_ms(level))),
                    // No dead-letter routing key: the key is the rest of the way.
                    ("x-dead-letter-exchange", text(&below)),
                    ("x-dead-letter-strategy", text("at-least-once")),
                ]),
            );
            self.queue(&name, arguments);
            let held = delay::level_pattern(shape.delay_levels, level, 1);
            self.bind_queue(&name, &name, &held);
            let passed = delay::level_pattern(shape.delay_levels, level, 0);
            self.bind_exchange(&name, &below, &passed);
        }
    }
}

/// The names of what [`apply`] declares: exchanges, then queues. What a terminal has is not in it.
pub fn names(shape: Shape) -> (Vec<String>, Vec<String>) {
    let Topology { exchanges, queues, .. } = Topology::of(shape);
    let exchanges = exchanges.into_iter().map(|exchange| exchange.name);
    (
        exchanges.chain([PARTITIONS_EXCHANGE.to_owned()]).collect(),
        queues.into_iter().map(|queue| queue.name).collect(),
    )
}

/// Declares everything, and makes the ring anew. Doing so again is harmless, but for commands that
/// are unroutable for some milliseconds; a thing that exists with other arguments is an error that
/// names it.
pub async fn apply(connection: &Connection, shape: Shape) -> Result<(), BrokerError> {
    let topology = Topology::of(shape);
    let channel = connection.create_channel().await?;
    for exchange in &topology.exchanges {
        declare_exchange(&channel, exchange, false).await?;
    }
    for queue in &topology.queues {
        declare_queue(&channel, queue, false).await?;
    }
    for binding in &topology.bindings {
        bind(&channel, binding).await?;
    }
    bounded("closing the channel", channel.close(200, "done".into())).await?;
    // Also a ring that is complete: where a partition had been deleted, the rest has moved up.
    ring::rebuild(connection, shape.partitions).await
}

/// Names what is missing of what is durable. Arguments cannot be asked for over AMQP; [`apply`] compares them.
pub async fn missing(connection: &Connection, shape: Shape) -> Result<Vec<String>, BrokerError> {
    let topology = Topology::of(shape);
    let mut missing = Vec::new();
    let open = || connection.create_channel();
    let mut channel = open().await?;
    for exchange in &topology.exchanges {
        if declare_exchange(&channel, exchange, true).await.is_err() {
            missing.push(format!("exchange {}", exchange.name));
            channel = open().await?; // a refusal closes the channel
        }
    }
    for queue in &topology.queues {
        if declare_queue(&channel, queue, true).await.is_err() {
            missing.push(format!("queue {}", queue.name));
            channel = open().await?;
        }
    }
    bounded("closing the channel", channel.close(200, "done".into())).await?;
    Ok(missing)
}

async fn declare_exchange(
    channel: &Channel,
    exchange: &Exchange,
    passive: bool,
) -> Result<(), BrokerError> {
    let options =
        ExchangeDeclareOptions { passive, durable: true, ..ExchangeDeclareOptions::default() };
    bounded(
        format!("declaring exchange {}", exchange.name),
        channel.exchange_declare(
            exchange.name.as_str().into(),
            exchange.kind.clone(),
            options,
            exchange.arguments.clone(),
        ),
    )
    .await
}

async fn declare_queue(channel: &Channel, queue: &Queue, passive: bool) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions { passive, durable: true, ..QueueDeclareOptions::default() };
    bounded(
        format!("declaring queue {}", queue.name),
        channel.queue_declare(queue.name.as_str().into(), options, queue.arguments.clone()),
    )
    .await?;
    Ok(())
}

async fn bind(channel: &Channel, binding: &Binding) -> Result<(), BrokerError> {
    let source = binding.source.as_str().into();
    let pattern = binding.pattern.as_str().into();
    let none = FieldTable::default();
    match &binding.target {
        Target::Queue(queue) => {
            let options = QueueBindOptions::default();
            let work = channel.queue_bind(queue.as_str().into(), source, pattern, options, none);
            bounded(format!("binding queue {queue} to {}", binding.source), work).await
        }
        Target::Exchange(exchange) => {
            let options = ExchangeBindOptions::default();
            let work =
                channel.exchange_bind(exchange.as_str().into(), source, pattern, options, none);
            bounded(format!("binding exchange {exchange} to {}", binding.source), work).await
        }
    }
}
