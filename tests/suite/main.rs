//! The integration tests, one target so that they link once. Each module holds one subject; run
//! them with `./dev test`, which starts the engines.

mod guard;
mod isolation;
mod lifecycle;
mod model;
mod support;
