//! The integration tests, one target so that they link once. Each module holds one subject; run
//! them with `./dev test`, which starts the engines.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests are set up by `./dev` through the environment, and play clients with clocks"
)]

mod access;
mod accounts;
mod audit;
mod bounds;
mod cli;
mod clients;
mod connections;
mod contract;
mod crash;
mod dead_letters;
mod deadlines;
mod docker;
mod doctor;
mod events;
#[cfg(feature = "otel")]
mod exported;
mod flood;
mod fuzzed;
mod gate;
mod guard;
mod health;
mod house;
mod input;
mod installation;
mod invariants;
mod isolation;
mod layers;
mod lifecycle;
mod logging;
mod migrations;
mod model;
mod money;
mod moves;
mod offered;
mod operator;
mod order;
mod packaging;
mod pause;
mod plans;
mod policies;
mod pooler;
mod privileges;
mod queries;
mod readme;
mod recovery;
mod reminders;
mod replicas;
mod retention;
mod routing;
mod rules;
mod secrets;
mod sql;
mod standby;
mod states;
mod status;
mod support;
mod tls;
mod traces;
mod waits;
mod zones;
