//! Holdfast, a reservation control service.
//!
//! Terminals reserve time on processing servers by message. An accepted reservation is a hold. It
//! must be reconfirmed before its deadline, when it is confirmed and billed, or cancelled. RabbitMQ
//! carries commands, answers, deadlines and events; PostgreSQL stores decisions.
//!
//! # Layers
//!
//! ```text
//! cli -> worker, client -> engine -> store, broker -> message -> domain
//! cli -> gate -> store -> message -> domain
//! ```
//!
//! A layer uses only layers to its right; `broker` and `store` do not know each other. A layer's
//! files do not import each other in circles. `tests/suite/layers.rs` checks both. `parts` and `live` (URLs and
//! where they come from), [`tls`], [`backoff`] and `addresses` stand below `broker` and `store`; `endpoint` (HTTP)
//! stands below `worker` and `gate`.
//! `docs/architecture.md` follows a request and a
//! deadline through the code.
//!
//! # Invariants
//!
//! - **Queue order is decision order.** One queue, with one consumer at a time, holds a server's commands
//!   and deadline wake-ups. A reconfirmation ahead of the wake-up is in time, whatever clocks say.
//! - **A message is acknowledged only after its decision is committed and its answer published.**
//!   So an unacknowledged delivery is its own outbox entry: redelivered, it finds its stored answer.
//! - **A message id is decided once** per terminal. Repeats get the same bytes.
//! - **The database refuses** overbooking, quota overrun, illegal changes of state and rewritten
//!   history, from any client (`schema/migrations/V2__guard.sql`).
//! - **The database's clock decides**, never a replica's.
//! - **The broker identifies terminals** by the validated `user_id`, never by a field.
//! - **Events are written with their decision** and published at least once, with the same id, time
//!   and bytes.
//!
//! # Absent on purpose
//!
//! - Leader election, fencing tokens and locks between replicas: the broker keeps one consumer per
//!   partition, the database arbitrates the rest.
//! - Automatic recovery of broker connections: broken ones are replaced.
//! - In-process timers: a deadline is a message, and a sweep finds lost ones.
//! - Settling by the sweep: it only sends wake-ups, so it cannot overtake the queue.
//! - Clocks, SQL and AMQP in `domain`.
//!
//! # Reading order
//!
//! [`domain`], [`message`], [`engine`], [`store`], [`broker`], [`worker`], [`gate`], [`client`], [`cli`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]
// They panic when nobody reads.
#![warn(clippy::print_stderr, clippy::print_stdout)]

mod addresses;
pub mod backoff;
pub mod broker;
pub mod cli;
pub mod client;
mod crash;
pub mod domain;
mod endpoint;
pub mod engine;
pub mod gate;
mod live;
pub mod message;
mod parts;
pub mod store;
pub mod tls;
pub mod worker;
