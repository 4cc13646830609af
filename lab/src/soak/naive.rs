//! The tests' model of the rules: written naively and independent of the service. The soak decides
//! everything again with it.

#![allow(dead_code, reason = "the tests use more of it")]
#![allow(clippy::unwrap_used, reason = "as in the tests")]

#[path = "../../../tests/suite/model/edges.rs"]
mod edges;
#[path = "../../../tests/suite/model/request.rs"]
mod request;
#[path = "../../../tests/suite/model/rules.rs"]
mod rules;
#[path = "../../../tests/suite/model/said.rs"]
pub mod said;
#[path = "../../../tests/suite/model/sums.rs"]
pub mod sums;
#[path = "../../../tests/suite/model/tally.rs"]
pub mod tally;
#[path = "../../../tests/suite/model/truth.rs"]
pub mod truth;
