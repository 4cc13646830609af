//! What every test stands on: real engines, and a database, a vhost and accounts of its own.

pub mod engines;
pub mod facts;
pub mod golden;
pub mod invariants;
pub mod program;
pub mod stack;
pub mod terminal;
pub mod wake;
pub mod worker;
