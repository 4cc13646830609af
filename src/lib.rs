//! Holdfast, a reservation control service.
//!
//! Terminals reserve time on processing servers by message. An accepted reservation is a hold: it
//! has to be reconfirmed before its deadline, and at the deadline it is confirmed and billed, or
//! cancelled. Commands, answers, deadlines and events travel through RabbitMQ; PostgreSQL keeps
//! what was decided.
//!
//! # Layers
//!
//! ```text
//! cli -> worker, client -> engine -> store, broker -> message -> domain
//! ```
//!
//! A layer uses only layers to its right, and `broker` and `store` do not know each other. Files of a
//! layer do not import each other in circles. Tests (`tests/suite/layers.rs`) check both. [`tls`] and
//! [`backoff`] stand below `broker` and `store`.
//! `docs/architecture.md` follows a request and a deadline through the code, function by function.
//!
//! # What always holds
//!
//! - **The order of a partition's queue is the order of decision.** Commands of a server and the
//!   wake-ups of its deadlines stand in one queue, which has one consumer at a time. A
//!   reconfirmation is in time because it stands before the wake-up, whatever any clock says.
//! - **A message is acknowledged only after its decision is committed and its answer is
//!   published.** So a delivery that is not acknowledged is its own outbox entry: delivered again,
//!   it finds its stored answer.
//! - **A message id is decided once** per terminal, and repeats get the same answer byte for byte.
//! - **The database refuses** overbooking, quota overrun, illegal changes of state and rewriting
//!   of history, whoever tries (`schema/migrations/V2__guard.sql`).
//! - **The clock of record is the database's.** No replica's clock decides anything.
//! - **A terminal is who the broker says it is**: the validated `user_id`, never a field.
//! - **Events are written with the decision that caused them** and published at least once, always
//!   with the same id, time and bytes.
//!
//! # Absent on purpose
//!
//! - Leader election, fencing tokens and locks between replicas: the broker keeps a partition's
//!   consumer single, the database arbitrates the rest.
//! - Automatic recovery of broker connections: what breaks is dropped and made anew.
//! - Timers in the process: a deadline is a message, and a sweep finds those that got lost.
//! - Settling by the sweep: it only sends wake-ups, so it cannot run ahead of the queue.
//! - Clocks, SQL and AMQP in `domain`.
//!
//! # Modules, in reading order
//!
//! 1. [`domain`]: the rules as pure code. States, codes, then `decide`.
//! 2. [`message`]: the contract. What comes in, strictly, and what goes out.
//! 3. [`engine`]: one transaction per batch of commands.
//! 4. [`store`]: its statements.
//! 5. [`broker`]: topology, the delay ladder, publishing and consuming.
//! 6. [`worker`]: from a partition's queue to answers, and what keeps that going.
//! 7. [`client`]: a typed terminal.
//! 8. [`cli`]: what operators see.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod backoff;
pub mod broker;
pub mod cli;
pub mod client;
mod crash;
pub mod domain;
pub mod engine;
pub mod message;
pub mod store;
pub mod tls;
pub mod worker;
