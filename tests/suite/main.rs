//! The integration tests, one target so that they link once. Each module holds one subject; run
//! them with `./dev test`, which starts the engines.

mod contract;
mod guard;
mod isolation;
mod lifecycle;
mod model;
mod states;
mod support;
