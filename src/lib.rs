pub mod broker;
pub mod cli;
pub mod client;
pub mod config;
mod crash;
pub mod domain;
pub mod message;
pub mod store;
pub mod worker;
