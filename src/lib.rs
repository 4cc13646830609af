pub mod broker;
mod crash;
pub mod domain;
pub mod message;
pub mod store;
pub mod worker;
