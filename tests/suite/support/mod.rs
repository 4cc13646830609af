//! What every test stands on: real engines, and a database, a vhost and accounts of its own.

pub mod database;
pub mod engines;
pub mod facts;
<<<<<<< HEAD
pub mod gate;
pub mod invariants;
pub mod schedule;
=======
pub mod golden;
pub mod invariants;
pub mod program;
>>>>>>> 016189b7a3833c6bbf44956ef20e71cd11ee65f3
pub mod stack;
pub mod terminal;
pub mod wake;
pub mod worker;
