//! What is fuzzed, and what must hold for every input. `./dev fuzz` runs it with a nightly compiler;
//! the tests include these modules and run the checked-in corpus with any (`tests/suite/fuzzed.rs`).

pub mod decode;
pub mod frames;
pub mod replies;
