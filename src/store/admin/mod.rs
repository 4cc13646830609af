//! Operators' queries and changes, for the command line only.
//!
//! `list_*` reads many rows for people; other names follow [`store`](crate::store).

pub(crate) mod audit;
pub(crate) mod closures;
pub mod conditions;
pub(crate) mod dead_letters;
pub(crate) mod events;
pub(crate) mod installation;
pub(crate) mod ledger;
pub mod moves;
pub(crate) mod pauses;
pub mod policy;
pub(crate) mod reconcile;
pub mod recount;
pub(crate) mod reservations;
pub mod roles;
pub mod servers;
pub mod status;
pub mod terminals;
pub mod topology;
pub mod users;
pub mod worker_accounts;
