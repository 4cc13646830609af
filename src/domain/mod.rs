//! The rules as pure code: no SQL, AMQP or clock. Time is an argument.
//!
//! Read [`reservation`] (states), [`refusal`] (codes), then [`decide`].

pub mod access;
pub mod admission;
mod batch;
pub mod bounds;
mod cancel;
pub mod capacity;
pub mod deadline;
pub mod decide;
pub mod id;
pub mod input;
pub mod interval;
pub mod limit;
pub mod money;
mod note;
pub mod offer;
pub mod outcome;
pub mod query;
pub mod quota;
pub mod refusal;
mod request;
pub mod reservation;
pub mod server;
mod settle;
pub mod snapshot;
pub mod tariff;
pub mod trace;
pub mod url_template;
pub mod usage;
