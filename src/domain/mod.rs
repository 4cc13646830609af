//! The rules, as pure code: no SQL, no AMQP and no clock. Time is an argument.
//!
//! Read [`reservation`] for the states, [`refusal`] for the codes, then [`decide`], where the
//! rules meet.

pub mod cancel;
pub mod capacity;
pub mod deadline;
pub mod decide;
pub mod id;
pub mod interval;
pub mod query;
pub mod quota;
pub mod refusal;
pub mod reservation;
pub mod server;
pub mod settle;
pub mod snapshot;
pub mod tariff;
