//! The integration tests, one target so that they link once. Each module holds one subject; run
//! them with `./dev test`, which starts the engines.

mod chaos;
mod cli;
mod clients;
mod contract;
mod crash;
mod deadlines;
mod docker;
mod flood;
mod guard;
mod input;
mod isolation;
mod layers;
mod lifecycle;
mod model;
mod operator;
mod order;
mod plans;
mod privileges;
mod queries;
mod readme;
mod reminders;
mod replicas;
mod retention;
mod ring;
mod rules;
mod standby;
mod states;
mod support;
mod tls;
