//! What operators ask and change: only the command line uses it.
//!
//! `list_*` reads many rows for people; the rest is named as in [`store`](crate::store).

pub(crate) mod closures;
pub(crate) mod ledger;
pub(crate) mod policy;
pub(crate) mod reservations;
pub mod roles;
pub mod servers;
pub mod terminals;
pub mod users;
