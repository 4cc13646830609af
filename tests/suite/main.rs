//! The integration tests, one target so that they link once. Each module holds one subject; run
//! them with `./dev test`, which starts the engines.

mod crash;
mod deadlines;
mod input;
mod lifecycle;
mod model;
mod order;
mod replicas;
mod rules;
mod support;
