//! The integration tests, one target so that they link once. Each module holds one subject; run
//! them with `./dev test`, which starts the engines.

mod cli;
mod crash;
mod deadlines;
mod layers;
mod lifecycle;
mod model;
mod order;
mod readme;
mod support;
