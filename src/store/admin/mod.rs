//! Operators' queries and changes, for the command line only.
//!
//! `list_*` reads many rows for people; other names follow [`store`](crate::store).

pub(crate) mod audit;
pub(crate) mod closures;
pub(crate) mod ledger;
pub mod moves;
pub mod policy;
pub mod recount;
pub(crate) mod reservations;
pub mod roles;
pub mod servers;
pub mod terminals;
pub mod topology;
pub mod users;
pub mod worker_accounts;
