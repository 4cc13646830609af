//! What every test stands on: real engines, and a database, a vhost and accounts of its own.

pub mod database;
pub mod engines;
pub mod facts;
pub mod gate;
pub mod golden;
pub mod http;
pub mod invariants;
pub mod link;
pub mod pgbouncer;
pub mod program;
pub mod schedule;
pub mod secret;
pub mod stack;
pub mod streaming;
pub mod terminal;
pub mod wake;
pub mod worker;
