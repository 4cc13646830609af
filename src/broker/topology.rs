//! The broker's durable objects as data. [`declare`](super::declare) makes them.
//!
//! The broker cannot change arguments of queues and exchanges, so names carry a version. How commands
//! reach the partitions stands in [`routes`](super::routes).

use lapin::ExchangeKind;
use lapin::types::{AMQPValue, FieldTable};

use super::delay::{self, DUE_EXCHANGE};
use crate::message::shape::Shape;

/// Terminals' commands. A topic exchange: the broker checks each account's routing keys.
pub const COMMANDS_EXCHANGE: &str = "reservation.commands.v2";
/// Answers and notices. The routing key is the terminal id.
pub const REPLIES_EXCHANGE: &str = "reservation.replies.v1";
/// Events for any consumer.
pub const EVENTS_EXCHANGE: &str = "reservation.events.v1";
/// Bills: charges and credits, a second time, for the billing queue alone. What others bind to the events'
/// exchange cannot refuse them.
pub const BILLING_EXCHANGE: &str = "billing.entries.v1";
/// Queue of the billing system.
pub const BILLING_QUEUE: &str = "billing.entries.v1";
/// Queries, which every worker answers.
pub const QUERIES_QUEUE: &str = "reservation.queries.v2";
/// Dead letters: exchange and queue.
pub const DEAD: &str = "reservation.dead.v1";

pub(crate) const BILLING_PATTERNS: [&str; 2] =
    ["reservation.confirmed.#", "reservation.credited.#"];

/// Routing keys of queries.
const QUERY_PATTERNS: [&str; 3] = ["*.show", "*.list", "*.availability"];

/// How long a query waits for an answer, in milliseconds. Its sender has given up by then.
pub const QUERY_TTL_MS: i64 = 30_000;
/// Most waiting queries; further ones are refused by the broker.
const QUERIES_LEN_MAX: i64 = 50_000;
/// Most bytes of waiting queries.
const QUERIES_BYTES_MAX: i64 = 256 << 20;
/// A query that crashes its workers is dropped: it asked for nothing that must not be lost.
const QUERY_DELIVERY_LIMIT: i64 = 5;

/// Messages per partition: workers could not catch up with more.
const PARTITION_LEN_MAX: i64 = 1_000_000;
/// Bytes per partition: large bodies must not fill the disk.
const PARTITION_BYTES_MAX: i64 = 4 << 30;
/// Messages per ladder level. Wake-ups are few: one per partition and timestamp.
const DELAY_LEN_MAX: i64 = 1_000_000;
/// Bills for an absent billing system. Further ones stay in the outbox. No queue of ours may be longer.
pub(super) const BILLING_LEN_MAX: i64 = 10_000_000;
/// The queue drops the oldest.
const DEAD_LEN_MAX: i64 = 100_000;
/// Practically no limit: a billing system, or an operator with a dead letter, may fail repeatedly.
/// RabbitMQ 4 drops a message after 20 deliveries by default; RabbitMQ 3 has no value for "none".
const UNLIMITED_DELIVERIES: i64 = 1_000_000_000;
/// Backstop against a message that crashes every worker. Workers park it long before.
const DELIVERY_LIMIT: i64 = 1_000;

/// Prefetch window of every partition consumer, in messages: twice the largest batch.
///
/// Never lower it while a worker runs. A quorum queue requeues a lost consumer's messages *behind*
/// those requeued before; the next consumer must have taken all of these, or order is lost
/// (RabbitMQ 3.10: windows of 512, then 128 deliver 128 to 511, 0 to 127, 512 and so on).
/// See `docs/decisions/0021-prefetch-window-is-a-constant.md`.
pub const PREFETCH: u16 = 512;

/// A reply queue drops the oldest beyond this. Repeating the message id repeats an answer.
pub(crate) const REPLY_LEN_MAX: i64 = 10_000;

/// Name of a partition's queue.
pub fn partition_queue(partition: i32) -> String {
    format!("reservation.commands.v2.{partition}")
}

/// The partition of a queue; `None` if it is not a partition's.
pub(super) fn partition_of(queue: &str) -> Option<i32> {
    queue.strip_prefix("reservation.commands.v2.")?.parse().ok()
}

/// Name of a terminal's reply queue.
pub fn reply_queue(terminal: &str) -> String {
    format!("reservation.replies.v1.{terminal}")
}

pub(super) struct Exchange {
    pub(super) name: String,
    pub(super) kind: ExchangeKind,
    pub(super) arguments: FieldTable,
}

pub(super) struct Queue {
    pub(super) name: String,
    pub(super) arguments: FieldTable,
}

pub(super) struct Binding {
    pub(super) source: String,
    pub(super) target: Target,
    pub(super) pattern: String,
}

pub(super) enum Target {
    Exchange(String),
    Queue(String),
}

/// In order of declaration.
pub(super) struct Topology {
    pub(super) exchanges: Vec<Exchange>,
    pub(super) queues: Vec<Queue>,
    pub(super) bindings: Vec<Binding>,
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

/// Every quorum queue states its overflow behaviour.
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
    pub(super) fn of(shape: Shape) -> Self {
        let mut topology = Self { exchanges: vec![], queues: vec![], bindings: vec![] };
        topology.commands(shape.partitions);
        topology.queries();
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

    /// The servers' bindings are not part of it. The commands' exchange has no alternate exchange: a
    /// publisher confirm of a routed message means that it stands in its server's queue (R9), and what
    /// names no known server is returned.
    fn commands(&mut self, partitions: i32) {
        self.exchange(COMMANDS_EXCHANGE, ExchangeKind::Topic, FieldTable::default());
        for partition in 0..partitions {
            let name = partition_queue(partition);
            let arguments = add(
                quorum(PARTITION_LEN_MAX, "reject-publish"),
                table([
                    // With one consumer at a time, queue order is decision order.
                    ("x-single-active-consumer", AMQPValue::Boolean(true)),
                    ("x-max-length-bytes", number(PARTITION_BYTES_MAX)),
                    ("x-delivery-limit", number(DELIVERY_LIMIT)),
                    ("x-dead-letter-exchange", text(DEAD)),
                    // Explicit: the default is the sender's key.
                    ("x-dead-letter-routing-key", text("delivery_limit")),
                    ("x-dead-letter-strategy", text("at-least-once")),
                ]),
            );
            self.queue(&name, arguments);
            self.bind_queue(DUE_EXCHANGE, &name, &delay::partition_pattern(partition));
        }
    }

    /// Without a dead-letter exchange: what is too old or harmful is dropped, and asked again.
    fn queries(&mut self) {
        let arguments = add(
            quorum(QUERIES_LEN_MAX, "reject-publish"),
            table([
                ("x-max-length-bytes", number(QUERIES_BYTES_MAX)),
                ("x-message-ttl", number(QUERY_TTL_MS)),
                ("x-delivery-limit", number(QUERY_DELIVERY_LIMIT)),
            ]),
        );
        self.queue(QUERIES_QUEUE, arguments);
        for pattern in QUERY_PATTERNS {
            self.bind_queue(COMMANDS_EXCHANGE, QUERIES_QUEUE, pattern);
        }
    }

    fn answers_and_events(&mut self) {
        self.exchange(REPLIES_EXCHANGE, ExchangeKind::Direct, FieldTable::default());
        self.exchange(EVENTS_EXCHANGE, ExchangeKind::Topic, FieldTable::default());
        let unlimited = table([("x-delivery-limit", number(UNLIMITED_DELIVERIES))]);
        // Declared early, so that the first billing system misses no event.
        let arguments = add(quorum(BILLING_LEN_MAX, "reject-publish"), unlimited.clone());
        self.queue(BILLING_QUEUE, arguments);
        self.exchange(BILLING_EXCHANGE, ExchangeKind::Fanout, FieldTable::default());
        self.bind_queue(BILLING_EXCHANGE, BILLING_QUEUE, "");
        self.exchange(DEAD, ExchangeKind::Fanout, FieldTable::default());
        self.queue(DEAD, add(quorum(DEAD_LEN_MAX, "drop-head"), unlimited));
        self.bind_queue(DEAD, DEAD, "");
    }

    fn ladder(&mut self, shape: Shape) {
        // A wake-up for a missing partition must not block the ladder.
        let alternate = table([("alternate-exchange", text(DEAD))]);
        self.exchange(DUE_EXCHANGE, ExchangeKind::Topic, alternate);
        for level in 0..shape.delay_levels {
            let name = delay::level_name(level);
            let below = delay::below(level);
            self.exchange(&name, ExchangeKind::Topic, FieldTable::default());
            let arguments = add(
                // Any other overflow silently makes dead-lettering at-most-once.
                quorum(DELAY_LEN_MAX, "reject-publish"),
                table([
                    ("x-message-ttl", number(delay::level_ttl_ms(level))),
                    // No dead-letter routing key: the message's own spells the next levels.
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

/// Names of exchanges and queues, without the terminals' reply queues.
pub fn names(shape: Shape) -> (Vec<String>, Vec<String>) {
    let Topology { exchanges, queues, .. } = Topology::of(shape);
    (
        exchanges.into_iter().map(|exchange| exchange.name).collect(),
        queues.into_iter().map(|queue| queue.name).collect(),
    )
}
